"""From what a user typed to variants: a grid, settings side by side, or whole combinations."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from seodang.core.config import parse_override
from seodang.core.errors import ConfigError
from seodang.core.recipe import LENGTHS

RANGE = re.compile(r"([-+.\de]+?)\.\.([-+.\de]+)")
"""A range of numbers, as a search has it: 1e-4..1e-1"""
MOST = 200
"""Variants one comparison may have."""


class Variant(NamedTuple):
    """One thing to compare: what it is called, and the settings that make it."""

    name: str
    settings: Mapping[str, Any]
    against: str | None = None
    """The variant it is compared with; without one, the first."""


def variants_of(words: Sequence[str], paired: bool, wholes: Sequence[str]) -> tuple[list[Variant], dict[str, Any]]:
    """Return the variants, and the settings that all of them share.

    words    ``key=value`` is for all; ``key=a,b,c`` is compared: several such make a grid
    paired   the first values of all such lists together, then the second…, in place of a grid
    wholes   ``NAME: key=value key=value``: whole combinations, each a variant
    """
    shared: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for key, values, many in words_of(words):
        if not many and isinstance(values[0], str) and RANGE.fullmatch(values[0]):
            raise ConfigError(
                "{key}={value}: is a range, and ranges are searched: add --search", key=key, value=values[0]
            )
        if many:
            lists[key] = values
        else:
            shared[key] = values[0]
    if wholes:
        if lists:
            raise ConfigError("--variant: stands for whole combinations; with it no setting has a list ({keys}).",
                              keys=", ".join(lists))  # fmt: skip
        return checked([_whole(text) for text in wholes]), shared
    return from_lists(lists, paired), shared


def words_of(words: Sequence[str]) -> list[tuple[str, list[Any], bool]]:
    """Return key, values, and whether they are a list, for each word; no key twice.

    Raises: ConfigError
    """
    found: list[tuple[str, list[Any], bool]] = []
    for word in words:
        key, values, many = _split(word)
        if any(key == other for other, _, _ in found):
            raise ConfigError("{key}: is given twice. Values to compare stand in one list: {key}=a,b,c", key=key)
        found.append((key, values, many))
    return found


def from_lists(lists: Mapping[str, Sequence[Any]], paired: bool = False) -> list[Variant]:
    """Return the grid of lists of values, or with `paired` their values side by side."""
    if not lists:
        raise ConfigError("There is nothing to compare: write the values of a setting with commas between them, for example "
                          "optimizer.name=sgd,adam")  # fmt: skip
    for key, values in lists.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
            raise ConfigError(
                "{key}: should be a list of values to compare (got {value}).", key=key, value=repr(values)
            )
        if not values:
            raise ConfigError("{key}: is an empty list; there is nothing to compare.", key=key)
        for place, value in enumerate(values):
            if any(_same(value, other) for other in values[:place]):
                raise ConfigError("{key}: has {value} twice.", key=key, value=_text(value))
        if key == "seed":
            raise ConfigError("seed: every variant is trained with the same seeds: --seeds 3. The first is seed=…")
    if not paired:
        return checked([named(dict(zip(lists, values, strict=True))) for values in product(*lists.values())])
    counts = {key: len(values) for key, values in lists.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError("--paired: the lists should be equally long: {counts}.",
                          counts=", ".join(f"{key} {count}" for key, count in counts.items()))  # fmt: skip
    return checked([named(dict(zip(lists, values, strict=True))) for values in zip(*lists.values(), strict=True)])


def from_wholes(combinations: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> list[Variant]:
    """Return variants for whole combinations, named by the mapping or by their settings."""
    if isinstance(combinations, Mapping):
        return checked([Variant(str(name), dict(settings)) for name, settings in combinations.items()])
    return checked([named(dict(settings)) for settings in combinations])


def checked(variants: list[Variant]) -> list[Variant]:
    """Return the variants if each is there once.

    Raises: ConfigError
    """
    for place, variant in enumerate(variants):
        for other in variants[:place]:
            if variant.name == other.name:
                raise ConfigError("Two variants are called '{name}'.", name=variant.name)
            if dict(variant.settings) == dict(other.settings):
                raise ConfigError("The variants '{first}' and '{second}' are the same.",
                                  first=other.name, second=variant.name)  # fmt: skip
    if len(variants) > MOST:
        raise ConfigError("{count} variants are too many to compare: at most {most}.", count=len(variants), most=MOST)
    return variants


def over(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `own` settings over `shared` ones; a length of a run replaces another."""
    lengths = {f"train.{name}" for name in LENGTHS}
    kept = {key: value for key, value in shared.items() if key not in lengths or not lengths & set(own)}
    return {**kept, **own}


def slug(name: str) -> str:
    """Return a name as part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "variant"


# --------------------------------------------------------------------------------------------- details


def _split(word: str) -> tuple[str, list[Any], bool]:
    """Return key, values, and whether they are a list: commas between brackets or quotes do not part values."""
    key, equals, text = word.partition("=")
    parts = _parts(text)
    if not equals or len(parts) < 2:
        keys, value = parse_override(word)
        if value == "":
            raise ConfigError("{key}: is an empty list; there is nothing to compare.", key=".".join(keys))
        return ".".join(keys), [value], False
    if not all(part.strip() for part in parts):
        raise ConfigError("'{word}': has a comma with nothing beside it. A list is written {key}=a,b,c", word=word,
                          key=key.strip())  # fmt: skip
    return key.strip(), [parse_override(f"{key}={part.strip()}")[1] for part in parts], True


def _parts(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def _whole(text: str) -> Variant:
    head, colon, rest = text.partition(":")
    name, words = (head.strip(), rest) if colon and "=" not in head else ("", text)
    try:
        pairs = [parse_override(word) for word in shlex.split(words)]
    except ValueError as error:
        raise ConfigError("--variant '{text}': {reason}.", text=text, reason=error) from None
    settings = {".".join(keys): value for keys, value in pairs}
    return Variant(name, settings) if name else named(settings)


def named(settings: dict[str, Any]) -> Variant:
    """Name a variant by its settings: names by themselves, other values with the last word of their setting."""
    if not settings:
        return Variant("recipe", settings)
    words = []
    for key, value in settings.items():
        section, _, last = key.rpartition(".")
        words.append(_text(value) if last == "name" or not section else f"{last}={_text(value)}")
    return Variant(" ".join(words), settings)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
