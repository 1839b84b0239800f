"""Import: weights from elsewhere into a bundle that every command here takes.

A ``.safetensors`` file is read as it is; a ``.pt``, ``.pth``, ``.th``, ``.bin`` or ``.ckpt`` file is a pickle, and is only
ever opened by `sandbox`. Names may be ours or those of a library `key_maps` knows; names and shapes must be those of the
architecture, all of them; nothing is skipped. Official files are known again by their SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DataError, DiskError, WeightsError
from seodang.core.files import file_digest, make_folders
from seodang.core.inputs import Facts, ImageInputs, Inputs, TokenInputs, VectorInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import Choice
from seodang.core.registry import Entry
from seodang.core.strict import LARGE_BYTES, read_regular
from seodang.deploy.sandbox import convert
from seodang.models.base import architectures
from seodang.models.bundle import Bundle, BundleRecord, load_weights, read_tensors, ties
from seodang.models.key_maps import translate
from seodang.models.published import (
    IMAGENET_MEAN,
    IMAGENET_RESIZE,
    IMAGENET_STD,
    PUBLISHED,
    Published,
    imagenet_classes,
    recognize,
)
from seodang.task.base import tasks

PICKLES = (".pt", ".pth", ".th", ".bin", ".ckpt")
IMAGENET = "imagenet"
"""As `classes`: the thousand of ILSVRC 2012, and the usual mean and std of such pictures."""
ABOUT_DATA = (
    "classes",
    "image_size",
    "in_channels",
    "in_features",
    "vocab_size",
    "max_len",
    "mean",
    "std",
    "resize",
    "tokenizer",
    "task",
)
"""Settings that say what the model was trained on: they become facts, and fill the model's blanks."""


def import_weights(file: Path, name: str, to: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Write a bundle at `to` with the weights of `file` in the architecture `name`; return notes for people.

    `settings` are the model's own, and what is known of its data: classes (names, or how many), image_size,
    in_channels, mean and std (per channel, of pixels in 0…1), resize (to what the shorter side of a picture is scaled before its
    middle is cut out), tokenizer (a ``tokenizer.json``), task. `name` may be an
    address of published weights, for the official file of them alone.

    Raises: WeightsError listing every missing, unexpected and misshapen name; ConfigError, DataError, DiskError
    """
    if to.exists():
        raise DiskError("{path}: is there already. Name a folder that does not exist yet.", path=to)
    settings = {**settings, **dict(settings.get("model", {}))}
    settings.pop("model", None)
    name, known_notes, settings = with_published(file, name, settings)
    entry = architectures[name]
    facts = facts_from(entry, settings)
    known = facts.known()
    choice = Choice.of(
        {"name": name, **{key: value for key, value in settings.items() if not told_by_data(key, known)}}
    )
    config = architectures.settings(choice, known)
    task = Choice.of(settings.get("task", default_task(facts)))
    tasks.settings(task)
    weights, notes = read_weights(file)
    model = architectures[name].maker(config)
    translated = translate(model, weights, file)
    load_weights(model, untied(model, translated.weights, file), file)
    make_folders(to.parent)
    record = BundleRecord(model=Choice.of({"name": name, **config.values()}), task=task, facts=facts)
    Bundle(model.eval(), record).write(to)
    return (*notes, *translated.notes, *known_notes, *unsaid(facts, settings))


def with_published(file: Path, name: str, settings: Mapping[str, Any]) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return the architecture's name, notes, and the settings with what is known of an official file or of ImageNet.

    Raises: WeightsError if `name` is an address, and the file is not that of the address.
    """
    asked = PUBLISHED.get(name)
    found = recognize(file_digest(file)) if file.is_file() else None
    if asked is not None and file.is_file() and found != name:
        raise WeightsError("{path}: is not the official file of {address}. Its SHA-256 is {digest}, it should be {expected}. For other "
                           "weights of the same kind: --as {model} classes=imagenet", path=file, address=name,
                           digest=file_digest(file), expected=shown_digest(asked), model=asked.model)  # fmt: skip
    model = asked.model if asked is not None else name
    notes: list[str] = []
    settings = dict(settings)
    official = PUBLISHED[found] if found is not None else None
    if official is not None and official.model == model:
        settings = {**without_resize(official.settings(), settings), **settings}
        notes.append(say("{path}: is the official file {address} (SHA-256 {digest}). It should name {top1:.1%} of the validation "
                         "pictures right, {top5:.1%} among five. Licence: {licence}.", path=file, address=found,
                         digest=shown_digest(official), top1=official.top1, top5=official.top5,
                         licence=official.licence))  # fmt: skip
    if settings.get("classes") == IMAGENET:
        usual = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD), "resize": IMAGENET_RESIZE}
        settings = {**without_resize(usual, settings), **settings, "classes": list(imagenet_classes())}
    return model, tuple(notes), settings


def without_resize(usual: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usual settings; how pictures are scaled is only known for pictures of the usual size."""
    return {key: value for key, value in usual.items() if key != "resize" or "image_size" not in given}


def shown_digest(official: Published) -> str:
    """Return what is known of the digest: all of it, or how it begins."""
    return official.sha256 if official.whole_digest else f"{official.sha256}…"


def unsaid(facts: Facts, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was not said of the pictures the model was trained on, and what stands in for it."""
    if not isinstance(facts.inputs, ImageInputs) or {"mean", "std"} & settings.keys():
        return ()
    return (
        say(
            "No mean and std were given: pixels go in from 0 to 1. Networks trained on ImageNet need classes=imagenet."
        ),
    )


def told_by_data(key: str, known: Mapping[str, Any]) -> bool:
    """Return whether a setting is about the data, and reaches the model through its facts."""
    return key in ABOUT_DATA and (key in known or key in ("classes", "mean", "std", "resize", "tokenizer", "task"))


def read_weights(file: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a file by name, and what there is to say about reading it.

    Raises: DataError, WeightsError
    """
    if not file.is_file():
        raise DataError("{path}: there is no such file.", path=file)
    if file.suffix == ".safetensors":
        return read_tensors(file.read_bytes(), file), ()
    if file.suffix not in PICKLES:
        raise DataError("{path}: weights are read from .safetensors, {others}; not from '{suffix}'.", path=file,
                        others=", ".join(PICKLES), suffix=file.suffix)  # fmt: skip
    converted = convert(file)
    return read_tensors(converted.data, file), converted.notes


def untied(model: nn.Module, weights: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Return the weights with one name for tensors the model shares; other programs store both.

    Raises: WeightsError if two names of one tensor have different values.
    """
    kept = dict(weights)
    for dropped, name in ties(model).items():
        if dropped not in kept:
            continue
        value = kept.pop(dropped)
        if name in kept and not torch.equal(kept[name], value):
            raise WeightsError("{path}: {dropped} and {kept} are one tensor in this model, and differ in the file.",
                               path=file, dropped=dropped, kept=name)  # fmt: skip
        kept.setdefault(name, value)
    return kept


# ------------------------------------------------------------------------------------------------- facts


def facts_from(entry: Entry, settings: Mapping[str, Any]) -> Facts:
    """Return the facts of the data the model was trained on, from what the user says and the architecture's preset.

    Raises: ConfigError if they do not suffice.
    """
    known = {**entry.settings.values(), **settings}
    inputs = inputs_from(entry, settings, known)
    if isinstance(inputs, TokenInputs):
        return Facts(inputs=inputs, sizes={})
    classes = settings.get("classes", known.get("num_classes", known.get("out_features")))
    return Facts(inputs=inputs, classes=class_names(classes), sizes={})


def inputs_from(entry: Entry, settings: Mapping[str, Any], known: Mapping[str, Any]) -> Inputs:
    if "vocab_size" in known:
        return TokenInputs(
            vocab_size=known["vocab_size"], length=known.get("max_len", 1024), tokenizer=read_text(settings)
        )
    if "image_size" in known and "image" in getattr(entry.maker, "takes", ()):
        channels = int(known.get("in_channels", 1))
        height, width = pair(known["image_size"])
        mean, std = (per_channel(settings, name, channels, default) for name, default in (("mean", 0.0), ("std", 1.0)))
        return ImageInputs.of({"channels": channels, "height": height, "width": width, "mean": mean, "std": std,
                               "resize": settings.get("resize", 0)})  # fmt: skip
    if "in_features" in known:
        mean, std = (numbers(settings.get(name, default)) for name, default in (("mean", 0.0), ("std", 1.0)))
        return VectorInputs(size=known["in_features"], mean=mean, std=std)
    raise ConfigError("Say what the inputs of '{name}' are: image_size=28 (and in_channels=1) for pictures, in_features=4 for "
                      "numbers.", name=entry.name)  # fmt: skip


def read_text(settings: Mapping[str, Any]) -> str:
    if "tokenizer" not in settings:
        return ""
    path = expanded(str(settings["tokenizer"]))
    try:
        return read_regular(path, LARGE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("{path}: cannot be read as a tokenizer.json ({reason}).", path=path, reason=error) from None


def pair(value: Any) -> tuple[int, int]:
    """Return height and width from one number or two."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(values) != 2 or not all(isinstance(item, int) and item > 0 for item in values):
        raise ConfigError("image_size={value}: write one number, or [height, width].", value=value)
    return values[0], values[1]


def numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not values or not all(isinstance(item, (int, float)) for item in values):
        raise ConfigError("mean and std are numbers, one or several, not {value}.", value=value)
    return tuple(float(item) for item in values)


def per_channel(settings: Mapping[str, Any], name: str, channels: int, default: float) -> tuple[float, ...]:
    values = numbers(settings.get(name, default))
    values = values * channels if len(values) == 1 else values
    if len(values) != channels:
        raise ConfigError("{name} has {count} numbers, but the pictures have {channels} channels.", name=name,
                          count=len(values), channels=channels)  # fmt: skip
    return values


def class_names(value: Any) -> tuple[str, ...] | None:
    """Return names from names, from a text with commas, or from a count."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return tuple(map(str, range(value)))
    names: Sequence[Any] = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    )
    found = tuple(str(name).strip() for name in names)
    if not found or not all(found):
        raise ConfigError("classes={value}: write how many there are, or their names: classes=cat,dog", value=value)
    return found


def default_task(facts: Facts) -> str:
    return "language-modeling" if isinstance(facts.inputs, TokenInputs) else "classification"
