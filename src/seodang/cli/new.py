"""seodang new recipe: a TOML file to edit, every setting explained where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from seodang.cli.command import Debug, Json, Plugin, load
from seodang.cli.display import write_json
from seodang.cli.layout import wrapped
from seodang.cli.settings import DECIDED_BY_DATA, Setting, settings_of, toml_key, toml_value
from seodang.core.errors import ConfigError
from seodang.core.language import say, translated
from seodang.core.places import expanded

LINE = 110
SECTIONS = ("model", "data", "task", "optimizer")


def new(
    what: Annotated[Literal["recipe"], typer.Argument(metavar="recipe", help=say("What to make: a recipe."))],
    name: Annotated[str, typer.Argument(metavar="NAME", help=say("What it is called; the file is NAME.toml."))],
    base: Annotated[str, typer.Option("--from", metavar="RECIPE", help=say("The recipe to begin with."))] = "digits-mlp",
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang.core.files import write
    from seodang.training.resolve import read_recipe  # lazy: 1 s

    path = expanded(name)
    path = path if path.suffix == ".toml" else path.with_name(f"{path.name}.toml")
    if path.exists():
        raise ConfigError("{path}: is there already, and nothing is overwritten. Choose another name.", path=path)
    recipe, _ = read_recipe(base)
    write(path, recipe_text(recipe, path.stem))
    if machine:
        write_json({"path": str(path), "from": base})
    else:
        print(say("{path} is written. Edit it, then: seodang train {path}", path=path))


def recipe_text(recipe: Any, name: str) -> str:
    """Return `recipe` under a new name as TOML: what it sets is set, every other setting stands there as a comment."""
    from seodang.core.recipe import Recipe, Train
    from seodang.training.resolve import registry_of

    lines = [*_comment(say("A recipe. Lines that begin with a name are set; a commented setting shows its default. "
                           "Train it: seodang train {path}", path=f"{name}.toml"))]  # fmt: skip
    top = {"name": name, "about": translated(recipe.about), "seed": recipe.seed}
    abouts = {setting.name: setting for setting in settings_of(Recipe)}
    for key, value in top.items():
        lines += ["", *_comment(abouts[key].about), f"{key} = {toml_value(value)}"]
    for section in SECTIONS:
        choice = getattr(recipe, section)
        registry = registry_of(section)
        entry = registry[choice.name]
        others = say("Others: seodang list {kind}s", kind=registry.kind)
        lines += ["", "", *_comment(f"{abouts[section].about} {others}"), f"[{section}]"]
        lines += [*_comment(translated(entry.about)), f"name = {toml_value(choice.name)}"]
        decided = DECIDED_BY_DATA if section == "model" else frozenset()
        fields = settings_of(type(entry.settings), entry.settings.values())
        lines += _section(fields, choice.settings, decided)
    lines += [
        "",
        "",
        *_comment(abouts["train"].about),
        "[train]",
        *_section(settings_of(Train), recipe.train.written()),
    ]
    return "\n".join(lines) + "\n"


def _section(fields: Iterator[Setting], given: Mapping[str, Any], decided: frozenset[str] = frozenset()) -> list[str]:
    lines = []
    for field in fields:
        about = f"{field.about} ({field.allowed})" if field.allowed else field.about
        note = " " + say("The data decides it.") if field.name in decided else ""
        lines += ["", *_comment(about + note)]
        key = toml_key(field.name)
        if field.name in given:
            lines.append(f"{key} = {toml_value(given[field.name])}")
        elif field.default is None:
            lines.append(f"# {key} =")
        else:
            lines.append(f"# {key} = {toml_value(field.default)}")
    return lines


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrapped(text, LINE) if line]
