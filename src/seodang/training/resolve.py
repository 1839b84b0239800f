"""From what a user typed to one recipe: shipped or own, other data, changed settings.

Everything that needs torch is imported inside the functions  # lazy: 1 s
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seodang.core.config import override, parse_override
from seodang.core.errors import ConfigError, DataError, UnknownName, nearest
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import LENGTHS, Choice, Recipe
from seodang.core.shipped import recipe_names, recipe_path, recipe_values

if TYPE_CHECKING:
    from seodang.training.proposing import Picked
    from seodang.training.transfer import Source

SECTIONS = ("model", "data", "task", "optimizer")
OWN_DATA = ("folder", "table", "arrays", "text")
"""Datasets that read what lies at a path of the user's."""


def read_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    data: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> tuple[Recipe, list[str]]:
    """Return the recipe after overrides, and notes on what was left out when a name was exchanged.

    `data` is a path, the name of a dataset, or a mapping of settings of the data section.
    `overrides` are written ``section.key=value``; `settings` are the same as Python values. One length
    (steps, epochs or minutes) that is given replaces the recipe's own.
    """
    changes = [parse_override(text) for text in overrides] + [
        (key.split("."), item) for key, item in flat(settings or {})
    ]
    picks: list[Picked] = []
    if isinstance(recipe, Recipe):
        values: dict[str, Any] = recipe.written()
    elif isinstance(recipe, Mapping):
        values = copy.deepcopy(dict(recipe))
    elif (model := _named_model(str(recipe))) is not None:
        values, picks = _picked(model, data, changes)
    else:
        values = recipe_values(str(recipe))
    original = {section: dict(Choice.of({"name": item} if isinstance(item, str) else item).values())
                for section in SECTIONS if (item := values.get(section)) is not None}  # fmt: skip
    values |= {section: dict(original[section]) for section in original}
    if isinstance(data, Mapping):
        changes += [(["data", *key.split(".")], item) for key, item in flat(data)]
    elif data is not None:
        changes = [(["data", key], item) for key, item in data_source(str(data)).items()] + changes
        values.pop("expected", None)
    given = [keys[1] for keys, _ in changes if keys[0] == "train" and len(keys) == 2 and keys[1] in LENGTHS]
    if given:
        values["train"] = {key: item for key, item in values.get("train", {}).items() if key not in LENGTHS}
    for keys, item in changes:
        if len(keys) == 1 and keys[0] in Recipe.model_fields and isinstance(item, str) and keys[0] in SECTIONS:
            keys = [keys[0], "name"]
        override(values, keys, item)
    notes: list[str] = [*_drop_foreign_settings(values, original, {tuple(keys) for keys, _ in changes})]
    if picks:
        from seodang.training.proposing import overridden  # lazy: 1 s

        notes += overridden(picks, {".".join(keys) for keys, _ in changes})
    _make_absolute(values)
    notes += _take_source(values, {tuple(keys) for keys, _ in changes})
    return Recipe.of(values), notes


def _named_model(name: str) -> str | None:
    """Return the model a recipe is to be picked for: the name of one, or an address of its published weights; else None."""
    try:
        recipe_path(name)
        return None
    except UnknownName:
        from seodang.models.base import architectures  # lazy: 1 s
        from seodang.models.published import PUBLISHED

        if name in architectures or name in PUBLISHED:
            return name
        similar = nearest(name, [*recipe_names(), *architectures.names()])
        if not similar or nearest(name, recipe_names()):
            raise
        raise UnknownName("There is neither a recipe nor a model called '{name}'.{suggestion} See them all: seodang list", name=name,
                          suggestion=similar) from None  # fmt: skip


def _picked(
    name: str, data: str | Path | Mapping[str, Any] | None, changes: Sequence[tuple[list[str], Any]]
) -> tuple[dict[str, Any], list[Picked]]:
    """Return a recipe for a model on `data`, and what was picked from the data.

    Raises: ConfigError where no data is named.
    """
    from seodang.models.published import PUBLISHED  # lazy: 1 s
    from seodang.training.proposing import propose, recipe_name
    from seodang.training.transfer import find_source

    start = name if name in PUBLISHED else None
    model = PUBLISHED[name].model if name in PUBLISHED else name
    written: dict[str, Any] = {}
    for keys, item in changes:
        override(written, ["data", "name"] if keys == ["data"] else keys, item)
    section = dict(written.get("data", {}))
    if isinstance(data, Mapping):
        section = {**data, **section}
    elif data is not None:
        section = {**data_source(str(data)), **section}
    if "name" not in section:
        raise ConfigError("{name}: is a model, not a recipe. Name the data, and a recipe is picked for it: seodang train {name} --data "
                          "photos/", name=name)  # fmt: skip
    start = written.get("train", {}).get("start", start)
    settings = {key: item for key, item in written.get("model", {}).items() if key != "name"} if isinstance(
        written.get("model"), dict) else {}  # fmt: skip
    given = section
    if start is not None:
        source = find_source(str(start))
        settings = {**source.settings(), **settings}
        given = {**_as_source(source, section), **section}
    sections, picks = propose(model, settings, given, start is not None)
    sections["model"] = {**sections["model"], **settings}
    if start is not None:
        sections["train"]["start"] = str(start)
    about = say("{model}, every setting picked from the data.", model=model)
    return {"name": recipe_name(model, section), "about": about, **sections}, picks


def _as_source(source: Source, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return how pictures of a folder are read so that they look as those the weights were trained on."""
    inputs = source.record.facts.inputs
    if section.get("name") != "folder" or inputs.kind != "image":
        return {}
    return {
        "channels": inputs.channels,
        "image_size": (inputs.height, inputs.width),
        "mean": inputs.mean,
        "std": inputs.std,
    }


def _take_source(values: dict[str, Any], changed: set[tuple[str, ...]]) -> list[str]:
    """Fill in what follows from `train.start`: the model's settings, how pictures are read, and the digest of the weights.

    Raises: WeightsError, ConfigError
    """
    train = values.get("train")
    start = train.get("start") if isinstance(train, dict) else None
    if not isinstance(start, str) or not isinstance(train, dict):
        return []
    from seodang.models.published import PUBLISHED  # lazy: 1 s
    from seodang.training.transfer import find_source

    if start not in PUBLISHED or expanded(start).exists():
        train["start"] = str(expanded(start).absolute())
    if train.get("start_digest") is not None and ("train", "start") not in changed:
        return []  # a recipe of a run: what followed stands there, and the weights may be gone when it is resumed
    source = find_source(train["start"])
    theirs, model = source.record.model.name, values.get("model")
    if not isinstance(model, dict) or model.get("name") != theirs:
        raise ConfigError("train.start={start}: holds a {theirs}, but model.name={ours}. Take the same model.", start=start,
                          theirs=theirs, ours=model.get("name") if isinstance(model, dict) else model)  # fmt: skip
    kept = {key: item for key, item in model.items() if ("model", key) in changed}
    values["model"] = {"name": theirs, **source.settings(), **kept}
    train["start_digest"] = source.digest
    data = values.get("data")
    if isinstance(data, dict):
        data.update({key: item for key, item in _as_source(source, data).items() if ("data", key) not in changed})
    return [say("Begins with the weights of {path} ({model}, SHA-256 {digest}…).", path=source.folder, model=theirs,
                digest=source.digest[:12])]  # fmt: skip


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ("train.steps", 200) for {"train": {"steps": 200}} and for {"train.steps": 200}."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def data_source(text: str) -> dict[str, Any]:
    """Return the data section for what a user typed after ``--data``: a path, or the name of a dataset.

    Raises: UnknownName, DataError
    """
    path = expanded(text)
    if path.is_dir():
        return {"name": "folder", "path": str(path)}
    if path.is_file():
        from seodang.data.sources import dataset_for_file  # lazy: 1 s

        return {"name": dataset_for_file(path), "path": str(path)}
    from seodang.data.dataset import datasets  # lazy: 1 s

    if text in datasets:
        return {"name": text}
    if path.suffix or "/" in text:
        raise DataError("{path}: there is no such file or folder.", path=text)
    raise UnknownName("'{name}' is neither a file, a folder nor a dataset.{suggestion} See them all: seodang list datasets",
                      name=text, suggestion=nearest(text, datasets.names()))  # fmt: skip


def _make_absolute(values: Mapping[str, Any]) -> None:
    """Write where the user's own data lies so that a run finds it again from another folder."""
    section = values.get("data")
    if isinstance(section, dict) and isinstance(section.get("name"), str) and section["name"] in OWN_DATA:
        path = section.get("path")
        if isinstance(path, str) and path:
            section["path"] = str(expanded(path).absolute())


def _drop_foreign_settings(
    values: dict[str, Any], original: Mapping[str, Mapping[str, Any]], changed: set[tuple[str, ...]]
) -> list[str]:
    """Where the user exchanged a name, keep those settings of the recipe that the new one has; say which went."""
    notes = []
    for section, before in original.items():
        now = values[section]
        name = now.get("name") if isinstance(now, dict) else None
        if not isinstance(name, str) or name == before.get(
            "name"
        ):  # what is no name is refused with the other settings
            continue
        known = type(registry_of(section)[now["name"]].settings).fields()
        gone = [key for key in before if key != "name" and key not in known and (section, key) not in changed]
        for key in gone:
            del now[key]
        if gone:
            notes.append(say("{section}.name={name} has no {gone}: left out.", section=section, name=now["name"],
                             gone=", ".join(gone)))  # fmt: skip
    return notes


def registry_of(section: str) -> Any:
    """Return the registry a section of the recipe is looked up in."""
    from seodang.data.dataset import datasets  # lazy: 1 s
    from seodang.models.base import architectures
    from seodang.task.base import tasks
    from seodang.training.optim import optimizers

    return {"model": architectures, "data": datasets, "task": tasks, "optimizer": optimizers}[section]
