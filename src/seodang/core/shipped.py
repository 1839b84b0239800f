"""The recipes and ladders that come with Seodang, and how one is found by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seodang.core.config import read_toml
from seodang.core.errors import UnknownName, nearest
from seodang.core.registry import natural

RECIPES = Path(__file__).parent.parent / "recipes"
LADDERS = Path(__file__).parent.parent / "ladders"
RUNGS = {"variants", "grid"}
"""What a ladder's file has and a recipe's has not."""


def recipe_names() -> list[str]:
    return sorted((path.stem for path in RECIPES.glob("*.toml")), key=natural)


def recipe_path(name: str) -> Path:
    """Return the file of a recipe: a path, or the name of a shipped one.

    Raises: UnknownName with the nearest name.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    if path.is_dir() and (path / "recipe.toml").is_file():
        return path / "recipe.toml"
    shipped = RECIPES / f"{name}.toml"
    if path.name == name and shipped.is_file():
        return shipped
    raise UnknownName(
        "There is no recipe called '{name}'.{suggestion} See them all: seodang list recipes",
        name=name,
        suggestion=nearest(name, recipe_names()),
    )


def recipe_values(name: str) -> dict[str, Any]:
    return read_toml(recipe_path(name))


def ladder_names() -> list[str]:
    return sorted((path.stem for path in LADDERS.glob("*.toml")), key=natural)


def ladder_path(name: str) -> Path | None:
    """Return the file of a ladder: a path, or the name of a shipped one; None if `name` is no ladder."""
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path if RUNGS & set(read_toml(path)) else None
    return LADDERS / f"{name}.toml" if name in ladder_names() else None
