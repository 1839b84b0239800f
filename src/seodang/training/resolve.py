"""From what a user typed to one recipe: shipped or own, other data, changed settings.

Everything that needs torch is imported inside the functions  # lazy: 1 s
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seodang.core.config import override, parse_override
from seodang.core.errors import DataError, UnknownName, nearest
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import LENGTHS, Choice, Recipe
from seodang.core.shipped import recipe_values

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
    if isinstance(recipe, Recipe):
        values: dict[str, Any] = recipe.written()
    else:
        values = copy.deepcopy(dict(recipe)) if isinstance(recipe, Mapping) else recipe_values(str(recipe))
    original = {section: dict(Choice.of({"name": item} if isinstance(item, str) else item).values())
                for section in SECTIONS if (item := values.get(section)) is not None}  # fmt: skip
    values |= {section: dict(original[section]) for section in original}
    changes = [parse_override(text) for text in overrides] + [
        (key.split("."), item) for key, item in flat(settings or {})
    ]
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
    notes = _drop_foreign_settings(values, original, {tuple(keys) for keys, _ in changes})
    _make_absolute(values)
    return Recipe.of(values), notes


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
