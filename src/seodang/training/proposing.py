"""A recipe from the name of a model and somebody's data: every setting is picked from the data, and says why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from math import log2
from typing import Any, NamedTuple

import torch
from torch import nn

from seodang.core.errors import ConfigError, DataError, SeodangError
from seodang.core.inputs import ImageInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import LENGTHS, Choice
from seodang.data.dataset import datasets
from seodang.data.decoding import Header
from seodang.data.finding import shown
from seodang.data.folder import FolderConfig, read_layout
from seodang.data.picture_loading import guess_size, headers
from seodang.models.base import architectures

SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299)
"""Sides that are tried when a model cannot take the one that suits the pictures."""
SMALL_SIDE = 64
"""Up to this side a stem that keeps the size is taken, where the model has one."""
SHOWN_PICTURES, SHOWN_AFTER_TRANSFER = 40_000, 15_000
"""How many pictures a run on a small data set is shown in all."""
UNEVEN = 3
"""Ratio of the largest class to the smallest from which rare classes are drawn more often."""
TINY = 16
"""Side from which pictures are moved and mirrored."""


class Picked(str):
    """A sentence on one setting that was picked: its path, its value, and why."""

    setting: str
    value: Any
    why: str

    @classmethod
    def of(cls, setting: str, value: Any, why: str) -> Picked:
        names = (
            [item["name"] if isinstance(item, Mapping) else item for item in value] if isinstance(value, list) else None
        )
        written = json.dumps(names) if names is not None else value
        picked = cls(say("Picked {setting}={value}: {why}.", setting=setting, value=written, why=why))
        picked.setting, picked.value, picked.why = setting, value, why
        return picked


class Seen(NamedTuple):
    """What decides the picks."""

    examples: int
    """Examples that are trained on."""
    classes: tuple[str, ...]
    sizes: Mapping[str, int]
    """Examples of each class."""
    several: bool
    """Whether an example may have several classes, or none."""
    picture: ImageInputs | None
    fits: tuple[int, int] | None
    """The size that suits the pictures, where it may be chosen."""
    quantities: bool = False


def propose(
    model: str, settings: Mapping[str, Any], data: Mapping[str, Any], transfer: bool
) -> tuple[dict[str, Any], list[Picked]]:
    """Return the sections of a recipe for an architecture with `settings` on `data`, and what was picked.

    Raises: DataError, ConfigError if the data cannot be read, or is none the model can learn.
    """
    seen = _look_at_folder(data) if data["name"] == "folder" else _look_at(data)
    picks: list[Picked] = []

    def pick(setting: str, value: Any, why: str) -> Any:
        picks.append(Picked.of(setting, value, why))
        return value

    sections: dict[str, Any] = {"model": {"name": model}, "data": dict(data), "task": {}, "optimizer": {}, "train": {}}
    side = _pick_size(model, settings, seen, data, sections, pick) if seen.picture else 0
    if seen.quantities:
        task, why = "regression", say("the data has quantities, no classes")
    elif seen.several:
        task, why = "multilabel", say("a picture may have several labels, or none")
    else:
        task, why = "classification", say("{count} classes, one for each example", count=len(seen.classes))
    sections["task"]["name"] = pick("task.name", task, why)
    if task == "classification" and not transfer and len(seen.classes) > 2:
        sections["task"]["smoothing"] = pick(
            "task.smoothing", 0.1, say("labels of one's own pictures are seldom all right")
        )
    if (
        seen.picture
        and min(side, seen.picture.height) >= TINY
        and "augment" in type(datasets[data["name"]].settings).model_fields
    ):
        sections["data"]["augment"] = pick("data.augment", *_changes(seen.picture.channels, side))
    batch = _batch(seen.examples, side)
    sections["train"]["batch_size"] = pick("train.batch_size", batch, say(
        "{count:,} training examples of this size make {updates:,} updates an epoch", count=seen.examples,
        updates=max(1, seen.examples // batch)))  # fmt: skip
    shown_in_all = SHOWN_AFTER_TRANSFER if transfer else SHOWN_PICTURES
    epochs = min(max(shown_in_all // max(seen.examples, 1), 3 if transfer else 5), 30 if transfer else 60)
    sections["train"]["epochs"] = pick("train.epochs", epochs, say(
        "{count:,} examples are seen {shown:,} times in all", count=seen.examples, shown=epochs * seen.examples))  # fmt: skip
    sections["optimizer"] = _optimizer(model, settings, transfer, seen, pick)
    counts = [count for count in seen.sizes.values() if count]
    if task == "classification" and len(counts) > 1 and max(counts) > UNEVEN * min(counts):
        sections["train"]["balance"] = pick("train.balance", 0.5, say(
            "the largest class has {most:,} examples, the smallest {least:,}", most=max(counts), least=min(counts)))  # fmt: skip
    return sections, picks


def overridden(picks: list[Picked], given: set[str]) -> list[Picked]:
    """Return the picks that hold where `given` settings were written by the user."""
    if any(f"train.{name}" in given for name in LENGTHS):
        given = given | {f"train.{name}" for name in LENGTHS}
    return [pick for pick in picks if pick.setting not in given]


def recipe_name(model: str, data: Mapping[str, Any]) -> str:
    last = expanded(str(data["path"])).absolute().name if data.get("path") else str(data["name"])
    return f"{model}-{re.sub(r'[^0-9A-Za-z가-힣_-]+', '-', last).strip('-') or 'data'}"


# --------------------------------------------------------------------------------------------- looking


def _look_at_folder(data: Mapping[str, Any]) -> Seen:
    """Look at the names and headers in a folder of pictures; no picture is decoded."""
    settings = FolderConfig.of({key: value for key, value in data.items() if key != "name"}, where="data")
    root = expanded(settings.path)
    layout = read_layout(root, settings)
    files = [file for file in layout.files if file.split in (None, "train")]
    found = [item for item in headers([file.path for file in files]) if isinstance(item, Header)]
    if not found:
        raise DataError("{path}: none of its {count} pictures can be read.", path=shown(root), count=len(files))
    if layout.classes is None:
        raise ConfigError("{path}: has no folders of classes, so there is nothing to learn from the pictures alone. Make a folder for "
                          "each class, or name a CSV of paths and labels: data.labels=labels.csv", path=shown(root))  # fmt: skip
    held = (0 if "valid" in layout.splits else settings.valid) + (0 if layout.splits else settings.test)
    channels = settings.channels if settings.channels != "auto" else 1 if all(item.grey for item in found) else 3
    sizes = Counter(
        label for file in files for label in (file.labels if file.labels is not None else (file.label or "",))
    )
    height, width = guess_size(found)
    if settings.image_size is not None:
        height, width = (settings.image_size,) * 2 if isinstance(settings.image_size, int) else settings.image_size
    inputs = ImageInputs(channels=channels, height=height, width=width, mean=(0.0,) * channels, std=(1.0,) * channels)
    fits = (height, width) if settings.image_size is None else None
    return Seen(max(1, round(len(found) * (1 - held))), layout.classes, dict(sizes), layout.several, inputs, fits)


def _look_at(data: Mapping[str, Any]) -> Seen:
    """Read other data, and take what it says of itself."""
    made = datasets.make(Choice.of(data), None, 0)
    made.prepare()
    facts = made.facts
    if facts.inputs.kind not in ("image", "table", "vector") or "train" not in facts.sizes:
        raise ConfigError("A recipe is picked for pictures, rows and arrays only; the data '{data}' gives {kind}. Take a shipped recipe: "
                          "seodang list recipes", data=data["name"], kind=facts.inputs.kind)  # fmt: skip
    picture = facts.inputs if isinstance(facts.inputs, ImageInputs) else None
    return Seen(facts.sizes["train"], facts.classes or (), {}, facts.several, picture, None, bool(facts.targets))


# --------------------------------------------------------------------------------------------- picking


def _pick_size(
    model: str, settings: Mapping[str, Any], seen: Seen, data: Mapping[str, Any], sections: dict[str, Any], pick: Any
) -> int:
    """Pick the size of pictures the model can take, and a stem that fits it; return the shorter side."""
    assert seen.picture is not None
    height, width = seen.picture.height, seen.picture.width
    if seen.fits is not None:
        first = seen.fits
        tried = [first, *((side, side) for side in SIZES if side > min(first))]
        refusal = None
        for size in tried:
            refusal = refusal or _refused(model, settings, seen, size)
            if _refused(model, settings, seen, size) is None:
                height, width = size
                break
        why = say("what suits most of the pictures, at most 224") if (height, width) == first else say(
            "the smallest this model takes; the pictures are smaller")  # fmt: skip
        sections["data"]["image_size"] = pick("data.image_size", [height, width], why)
    if "channels" not in data and data["name"] == "folder":
        grey = seen.picture.channels == 1
        sections["data"]["channels"] = pick("data.channels", seen.picture.channels, say("all pictures are grey") if grey else say(
            "there are pictures in colour"))  # fmt: skip
    fields = type(architectures[model].settings).model_fields
    if min(height, width) <= SMALL_SIDE and "stem" in fields and "stem" not in settings and _takes_small_stem(model):
        sections["model"]["stem"] = pick(
            "model.stem", "small", say("pictures this small lose too much in a stem that quarters them")
        )
    return min(height, width)


def _takes_small_stem(model: str) -> bool:
    entry = architectures[model]
    try:
        type(entry.settings).of({**entry.settings.values(), "stem": "small"})
    except ConfigError:
        return False
    return True


def _refused(model: str, settings: Mapping[str, Any], seen: Seen, size: tuple[int, int]) -> SeodangError | None:
    """Return why the model takes no pictures of this size; None if it does."""
    try:
        _sketch(model, settings, {"image_size": size})
    except SeodangError as error:
        return error
    return None


def _sketch(model: str, settings: Mapping[str, Any], known: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return architectures.make(Choice.of({"name": model, **settings}), known)


def _changes(channels: int, side: int) -> tuple[list[Any], str]:
    if channels == 1:
        return ["shift"], say("grey pictures are often characters or scans: they are moved, never mirrored")
    if side <= SMALL_SIDE:
        return ["flip", "shift"], say("small pictures in colour are mirrored and moved by an eighth")
    return ["flip", {"name": "resized-crop", "least": 0.35}], say(
        "pictures in colour are mirrored, and parts of them enlarged"
    )


def _batch(count: int, side: int) -> int:
    """Return a power of two: 64, or 32 for large pictures, and fewer where an epoch would have less than 16 updates."""
    largest = 64 if side <= 96 else 32
    return int(max(8, min(largest, 2 ** int(log2(max(count / 16, 1))))))


def _optimizer(model: str, settings: Mapping[str, Any], transfer: bool, seen: Seen, pick: Any) -> dict[str, Any]:
    pick("optimizer.name", "adamw", say("it needs the least tuning"))
    if transfer:
        rate, why = 5e-4, say("the weights are good already")
    elif _has_batch_norm(model, settings):
        rate, why = 1e-3, say("the model normalises over batches")
    else:
        rate, why = 3e-4, say("nothing in the model normalises over batches")
    chosen: dict[str, Any] = {"name": "adamw", "lr": pick("optimizer.lr", rate, why)}
    if transfer:
        chosen["layer_decay"] = pick(
            "optimizer.layer_decay", 0.8, say("lower layers hold what is the same in all pictures")
        )
    return {**chosen, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05}


def _has_batch_norm(model: str, settings: Mapping[str, Any]) -> bool:
    try:
        made = _sketch(model, settings, {"in_features": 8, "out_features": 8})
    except (SeodangError, RuntimeError):
        return False
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in made.modules())
