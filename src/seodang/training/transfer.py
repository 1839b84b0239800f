"""Transfer: begin with weights that were trained before, under a new head; hold layers, and let go of them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from seodang.core.errors import ConfigError, WeightsError, nearest
from seodang.core.files import file_digest, read_folder
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import Choice, Train
from seodang.core.run import RunFolder
from seodang.data.download import bundle_folder
from seodang.data.finding import listed
from seodang.models.base import architectures
from seodang.models.bundle import SETTINGS, WEIGHTS, BundleRecord, load_weights, read_record, read_tensors, ties
from seodang.models.published import PUBLISHED
from seodang.training.groups import trained_weights

CLASSES = ("num_classes", "out_features")
"""Settings of architectures that say how many answers there are."""
DECIDED = (*CLASSES, "in_channels", "image_size", "in_features", "vocab_size", "max_len", "num_actions")
"""Settings of architectures that the data decides."""
SHOWN = 4
"""Names of weights that are spelled out in a sentence."""


class Source(NamedTuple):
    """Where weights come from: a bundle, what it says of itself, and the digest of its weights."""

    folder: Path
    record: BundleRecord
    digest: str

    def settings(self) -> dict[str, object]:
        """Return the settings of the architecture that are not as in its preset, without those the data decides."""
        choice = self.record.model
        preset = architectures[choice.name].settings.values()
        return {key: value for key, value in choice.settings.items() if key not in DECIDED and preset.get(key) != value}


def find_source(start: str) -> Source:
    """Return what `start` stands for: a run (its best checkpoint), a checkpoint, a bundle, or an address of published weights.

    Raises: WeightsError if there are no weights there.
    """
    folder = expanded(start)
    if start in PUBLISHED and not folder.exists():
        folder = bundle_folder(start)
        if not (folder / SETTINGS).is_file():
            raise WeightsError("train.start={start}: these weights are not here yet. Fetch them: seodang import {start} --to {folder}",
                               start=start, folder=folder)  # fmt: skip
    if not (folder / SETTINGS).is_file():
        best = RunFolder(folder).best if folder.is_dir() else None
        if best is None:
            suggestion = nearest(start, PUBLISHED) if "/" not in start else ""
            raise WeightsError("train.start={start}: is no run with a checkpoint, no bundle, and no address of published weights."
                               "{suggestion}", start=start, suggestion=suggestion)  # fmt: skip
        folder = best
    if not (folder / WEIGHTS).is_file():
        raise WeightsError("{path}: is not a bundle: it needs {weights} and {settings}.", path=folder, weights=WEIGHTS,
                           settings=SETTINGS)  # fmt: skip
    record = read_record(
        {name: (folder / name).read_bytes() if name == SETTINGS else b"" for name in (WEIGHTS, SETTINGS)}, folder
    )
    return Source(folder, record, file_digest(folder / WEIGHTS))


def begin(model: nn.Module, choice: Choice, facts: Facts, train: Train) -> str:
    """Put the weights `train.start` names into `model`, all but those of its head; return what was done, for people.

    The head is what changes its shape with the number of classes. It keeps its new weights, unless the classes of the
    data are those the source was trained on, by name and in order.

    Raises: WeightsError listing every weight that is missing, left over, or of another shape; ConfigError if the weights
    are no longer those the run was begun with.
    """
    assert train.start is not None
    source = find_source(train.start)
    if train.start_digest not in (None, source.digest):
        raise ConfigError("train.start={start}: its weights have changed since this recipe was written: their SHA-256 is {found}, not "
                          "{expected}. Remove train.start_digest to begin with them all the same.", start=train.start,
                          found=source.digest, expected=train.start_digest)  # fmt: skip
    theirs = source.record.model.name
    if theirs != choice.name:
        raise ConfigError("train.start={start}: holds a {theirs}, but model.name={ours}. Take the same model.", start=train.start,
                          theirs=theirs, ours=choice.name)  # fmt: skip
    weights = read_tensors(read_folder(source.folder)[WEIGHTS], source.folder / WEIGHTS)
    same = facts.classes is not None and facts.classes == source.record.facts.classes
    head = [] if same else head_names(choice, facts)
    own = {name: value for name, value in model.state_dict().items() if name in head and name not in ties(model)}
    kept = {name: value for name, value in weights.items() if name not in own}
    load_weights(model, {**kept, **own}, source.folder / WEIGHTS)
    if not own:
        return say("All {count} tensors are those of {path} (SHA-256 {digest}…).", count=len(kept), path=source.folder,
                   digest=source.digest[:12])  # fmt: skip
    return say("{count} tensors are those of {path} (SHA-256 {digest}…); new: {head}.", count=len(kept), path=source.folder,
               digest=source.digest[:12], head=listed(list(own), SHOWN))  # fmt: skip


def head_names(choice: Choice, facts: Facts) -> list[str]:
    """Return the names of the weights whose shapes depend on the number of classes."""
    known = facts.known()
    free = Choice.of({key: value for key, value in choice.values().items() if key not in CLASSES})
    shapes: list[Mapping[str, torch.Size]] = []
    for more in (0, 1):
        other = {key: value + more if key in CLASSES else value for key, value in known.items()}
        with torch.device("meta"):
            shapes.append({name: value.shape for name, value in architectures.make(free, other).state_dict().items()})
    return [name for name, shape in shapes[0].items() if shapes[1].get(name) != shape]


class Freezing:
    """Which weights of a model are not trained at an update.

    A frozen layer's normalisation also keeps its running statistics. With `thaw` the last frozen layer is let go first,
    one more every so many epochs: a function of the update alone, so a resumed run goes on as if it had not stopped.

    Source: Howard & Ruder 2018, "Universal language model fine-tuning", arXiv:1801.06146, sec. 3.3 ("gradual unfreezing").
    Differs: there a layer comes free at every epoch; here at every `thaw` epochs, and what is free at first is a setting.
    """

    def __init__(self, model: nn.Module, train: Train, per_epoch: int = 1) -> None:
        self.model, self.every, self.thawed = model, train.thaw * per_epoch, -1
        self.layers = frozen_layers(model, train.freeze) if train.freeze else {}
        """Path of each frozen weight, and the number of its layer."""
        self.order = sorted(set(self.layers.values()), reverse=True)
        self.norms = {path: module for path, module in model.named_modules()
                      if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{path}.weight" in self.layers}  # fmt: skip

    def at(self, step: int) -> None:
        """Make the model ready for update `step` (1 = the first)."""
        if not self.layers:
            return
        thawed = int((step - 1) / self.every) if self.every else 0
        free = set(self.order[:thawed])
        if thawed != self.thawed:
            self.thawed = thawed
            for path, weight in self.model.named_parameters():
                if path in self.layers:
                    weight.requires_grad_(self.layers[path] in free)
        for path, module in self.norms.items():
            module.train(self.layers[f"{path}.weight"] in free)


def frozen_layers(model: nn.Module, freeze: int | str | tuple[str, ...]) -> dict[str, int]:
    """Return the paths of the weights that are not trained, each with the number of its layer.

    Layers are counted as `optimizer.layer_decay` counts them.
    Raises: ConfigError if there are fewer layers, no weight is called so, or nothing would be left to train.
    """
    asleep = [weight for weight in model.parameters() if not weight.requires_grad]
    for weight in asleep:  # frozen when the run was put together
        weight.requires_grad_(True)
    named = trained_weights(model)
    for weight in asleep:
        weight.requires_grad_(False)
    count = 1 + max((item.layer for item in named), default=-1)
    if isinstance(freeze, int):
        if abs(freeze) >= count:
            raise ConfigError("train.freeze={freeze}: the model has {count} layers, and one at least must be trained.", freeze=freeze,
                              count=count)  # fmt: skip
        last = freeze % count
        return {item.path: item.layer for item in named if item.layer < last}
    prefixes = (freeze,) if isinstance(freeze, str) else freeze
    for prefix in prefixes:
        if not any(_is_below(item.path, prefix) for item in named):
            names = sorted({part for item in named for part in _beginnings(item.path)})
            tops = dict.fromkeys(item.path.partition(".")[0] for item in named)
            raise ConfigError("train.freeze={prefix}: no layer of the model is called so.{suggestion} Its parts: {tops}.", prefix=prefix,
                              suggestion=nearest(prefix, names), tops=listed(list(tops), 20))  # fmt: skip
    found = {item.path: item.layer for item in named if any(_is_below(item.path, prefix) for prefix in prefixes)}
    if len(found) == len(named):
        raise ConfigError("train.freeze={freeze}: nothing would be left to train.", freeze=", ".join(prefixes))
    return found


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def _beginnings(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def hold(model: nn.Module, train: Train, devices: int, examples: int | None) -> None:
    """Freeze what stays frozen for good, and refuse what cannot be done, before there is a run.

    Raises: ConfigError
    """
    if train.thaw and devices > 1:
        raise ConfigError("train.thaw={thaw}: layers come free on one device only; here are {devices}. Take train.devices=1, or "
                          "freeze without thaw.", thaw=train.thaw, devices=devices)  # fmt: skip
    if train.thaw and not examples:
        raise ConfigError("train.thaw={thaw}: is counted in epochs, and this data has none.", thaw=train.thaw)
    if not train.freeze:
        return
    frozen = frozen_layers(model, train.freeze)
    if not train.thaw:
        for path, weight in model.named_parameters():
            if path in frozen:
                weight.requires_grad_(False)
