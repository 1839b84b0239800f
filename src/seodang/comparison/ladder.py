"""Ladder: a comparison kept in a file. A recipe, named variants of it, how many seeds, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from seodang.comparison.variants import Variant, checked, from_lists, words_of
from seodang.core.config import Config, frozen, read_toml
from seodang.core.errors import ConfigError, UnknownName, nearest
from seodang.core.language import say
from seodang.core.shipped import ladder_names, ladder_path, recipe_names
from seodang.training.resolve import flat


class Rung(Config):
    """One variant: its name, and beside it the sections of a recipe with what it changes."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = Field(min_length=1)
    """What it is called in tables."""
    against: str | None = None
    """The variant it is compared with, where that is not the first: the same without what this one shows."""

    def variant(self) -> Variant:
        return Variant(self.name, dict(flat(self.model_extra or {})), self.against)


class Afterwards(Config):
    """What every finished run is asked besides its scores."""

    splits: tuple[str, ...] = ()
    """Other splits its model is scored on: "train" shows what was learned by heart."""
    classes: bool = False
    """How many of each class it finds."""
    noise: tuple[float, ...] = ()
    """Levels of noise its model is scored under, as ``seodang evaluate --noise`` counts them."""
    ensemble: int = Field(0, ge=0)
    """How many runs of a variant, with seeds one after another, answer together: their mean probabilities are scored; 0 = none."""

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.ensemble == 1:
            raise ValueError(say("ensemble=1: one run is no ensemble; it takes 2 or more"))
        return self


class Ladder(Config):
    """A comparison in a file: ``seodang compare FILE`` runs it."""

    name: str = Field(min_length=1)
    """What it is called, and its page."""
    about: str = ""
    """One sentence on what it shows."""
    recipe: str
    """The recipe that is varied: the name of a shipped one, or a TOML file, sought beside this one first."""
    seeds: int = Field(3, gt=0, le=1000)
    """How many seeds each variant is trained with."""
    settings: Mapping[str, Any] = {}
    """Changes of the recipe for all variants, by section: train = { epochs = 2 }."""
    variants: tuple[Rung, ...] = ()
    """The variants, each a table with a name and the sections it changes. The others are compared with the first."""
    grid: Mapping[str, Any] = {}
    """In place of variants: settings and their values, every combination of them."""
    charts: tuple[Literal["comparison", "curves", "losses", "held-out-losses", "noise"], ...] = ("comparison",)
    """The charts its page shows."""
    afterwards: Afterwards = Afterwards()
    """What every finished run is asked besides its scores."""

    @model_validator(mode="before")
    @classmethod
    def _freeze(cls, value: Any) -> Any:
        return frozen(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.variants) == bool(self.grid):
            raise ValueError(say("a ladder has variants or a grid, one of the two"))
        if self.afterwards.ensemble > self.seeds:
            raise ValueError(say("afterwards.ensemble={count} needs as many seeds or more, and there are {seeds}",
                                 count=self.afterwards.ensemble, seeds=self.seeds))  # fmt: skip
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the ladder in a file.

        Raises: ConfigError naming the file and everything that is wrong in it.
        """
        try:
            made = cls.of(read_toml(path))
            made.rungs()
        except ConfigError as error:
            raise ConfigError("{path}: {reason}", path=path, reason=error) from None
        beside = path.parent / made.recipe
        return made.replace(recipe=str(beside)) if Path(made.recipe).suffix and beside.is_file() else made

    def rungs(self) -> list[Variant]:
        """Return the variants.

        Raises: ConfigError if two are the same, or one is to be compared with what is not there.
        """
        if self.grid:
            return from_lists(dict(flat(self.grid)))
        variants = checked([rung.variant() for rung in self.variants])
        names = [variant.name for variant in variants]
        for variant in variants:
            if variant.against is not None and (variant.against == variant.name or variant.against not in names):
                raise ConfigError("variants: '{name}' is to be compared with '{other}', which is not another of them.{suggestion}",
                                  name=variant.name, other=variant.against, suggestion=nearest(variant.against, names))  # fmt: skip
        return variants


def find_ladder(name: object) -> Ladder | None:
    """Return the ladder of that name or in that file; None if it is a recipe.

    Raises: UnknownName if it is neither, ConfigError
    """
    if not isinstance(name, (str, Path)):
        return None
    path = ladder_path(str(name))
    if path is not None:
        return Ladder.read(path)
    if Path(name).suffix != ".toml" and not Path(name).exists() and str(name) not in recipe_names():
        raise UnknownName("There is no recipe and no ladder called '{name}'.{suggestion} See them all: seodang list",
                          name=name, suggestion=nearest(str(name), [*ladder_names(), *recipe_names()]))  # fmt: skip
    return None


def shared_settings(ladder: Ladder, words: Sequence[str]) -> dict[str, Any]:
    """Return what a user changes for all variants of a ladder.

    Raises: ConfigError on a list of values: a ladder has its variants.
    """
    shared = {}
    for key, values, many in words_of(words):
        if many:
            raise ConfigError("{key}: '{name}' is a ladder and has its variants; a setting for all of them has one value.",
                              key=key, name=ladder.name)  # fmt: skip
        shared[key] = values[0]
    return shared
