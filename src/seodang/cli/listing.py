"""seodang list, seodang show: what there is, and what it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seodang.cli.command import DOWNLOAD, Debug, Json, Plugin, Settings, environment, load
from seodang.cli.display import byte_count, write_json, write_lines
from seodang.cli.layout import columns, screen_width, table, wrapped
from seodang.cli.optimizing import optimizer_part
from seodang.cli.settings import settings_of, toml_value
from seodang.core.config import toml_text
from seodang.core.errors import ConfigError, SeodangError, UnknownName, nearest
from seodang.core.language import say, translated
from seodang.core.places import expanded

if TYPE_CHECKING:
    from seodang.core.registry import Entry, Registry

SECTIONS = {"models": "model", "datasets": "data", "tasks": "task", "optimizers": "optimizer"}
Kind = Literal["models", "recipes", "ladders", "datasets", "tasks", "optimizers", "augmentations"]


def list_(
    kind: Annotated[Kind | None, typer.Argument(metavar="[models|recipes|ladders|datasets|tasks|optimizers|augmentations]", help=say(
        "What to list; everything if it is left out."))] = None,
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang.cli.laddering import ladder_rows

    makers = {"recipes": recipe_rows, "ladders": ladder_rows, **{name: partial(entry_rows, name) for name in SECTIONS},
              "augmentations": augmentation_rows}  # fmt: skip
    found = {name: maker() for name, maker in makers.items() if kind in (None, name)}
    if machine:
        write_json(found[kind] if kind else found)
        return
    titles = {"recipes": say("Recipes"), "ladders": say("Ladders"), "models": say("Models"), "datasets": say("Datasets"), "tasks": say("Tasks"),
              "optimizers": say("Optimizers"), "augmentations": say("Augmentations")}  # fmt: skip
    for number, (name, rows) in enumerate(found.items()):
        if not kind:
            write_lines([*([""] if number else []), titles[name]])
        lines = [(row["name"], translated(row["about"])) for row in rows]
        write_lines(columns(lines, screen_width(), indent=0 if kind else 2))


def recipe_rows() -> list[dict[str, Any]]:
    from seodang.core.shipped import recipe_names, recipe_values

    rows = []
    for name in recipe_names():
        values = recipe_values(name)
        parts = {section: item["name"] if isinstance(item := values.get(section, ""), Mapping) else item
                 for section in ("model", "data", "task")}  # fmt: skip
        expected = values.get("expected")
        rows.append({"name": name, "about": values.get("about", ""), **parts, "expected": expected})
    return rows


def entry_rows(kind: str) -> list[dict[str, Any]]:
    from seodang.training.resolve import registry_of  # lazy: 1 s

    return rows_of(registry_of(SECTIONS[kind]))


def augmentation_rows() -> list[dict[str, Any]]:
    from seodang.data.augment import augmentations  # lazy: 1 s

    return rows_of(augmentations)


def rows_of(registry: Registry[Any]) -> list[dict[str, Any]]:
    """Return the names of a registry with what each is."""
    return [{"name": name, "about": registry[name].about} for name in registry.names()]


# -------------------------------------------------------------------------------------------------- show


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help=say(
        "A recipe or ladder (name or TOML file), a run folder, a model, dataset, task or optimizer."))],
    settings: Settings = None,
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    found: list[dict[str, Any]] = []
    texts: list[list[str]] = []
    for values, lines in _matches(name, settings or []):
        found.append(values)
        texts.append(lines)
    if not found:
        raise UnknownName("There is no recipe, ladder, model, dataset, task or optimizer called '{name}'.{suggestion} "
                          "See them all: seodang list", name=name, suggestion=nearest(name, _all_names()))  # fmt: skip
    if machine:
        write_json(found[0] if len(found) == 1 else found)
        return
    for number, lines in enumerate(texts):
        write_lines([*([""] if number else []), *lines])


def _matches(name: str, settings: list[str]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    from seodang.cli.laddering import ladder_show
    from seodang.core.shipped import ladder_path, recipe_names

    is_ladder = ladder_path(name) is not None
    is_recipe = not is_ladder and (name in recipe_names() or name.endswith(".toml") or expanded(name).exists())
    if settings and not is_recipe:
        raise ConfigError("{word}: changes go with a recipe, and '{name}' is none.", word=settings[0], name=name)
    if is_ladder:
        yield ladder_show(name)
    elif is_recipe:
        yield recipe_page(name, settings)
    from seodang.training.resolve import registry_of  # lazy: 1 s

    for section in SECTIONS.values():
        if name in registry_of(section):
            yield entry_page(registry_of(section)[name])


def _all_names() -> list[str]:
    from seodang.core.shipped import ladder_names, recipe_names
    from seodang.training.resolve import registry_of

    return [
        *recipe_names(),
        *ladder_names(),
        *(name for section in SECTIONS.values() for name in registry_of(section).names()),
    ]


def entry_page(entry: Entry) -> tuple[dict[str, Any], list[str]]:
    """Return what is known about a registered name, for programs and for people."""
    rows = list(settings_of(type(entry.settings), entry.settings.values()))
    source = source_of(entry.maker)
    values = {
        "kind": entry.kind,
        "name": entry.name,
        "about": entry.about,
        "source": source,
        "class": f"{entry.maker.__module__}.{entry.maker.__qualname__}",
        "settings": [row._asdict() for row in rows],
    }
    lines = [f"{entry.name} ({_kind_word(entry.kind)})", *wrapped(translated(entry.about), screen_width())]
    if source:
        lines += wrapped(say("Source: {source}", source=source), screen_width())
    lines += [say("Code: {place}", place=values["class"])]
    if rows:
        shown = [
            (row.name, "" if row.default is None else toml_value(row.default), _described(row.about, row.allowed))
            for row in rows
        ]
        lines += ["", *table([say("setting"), say("default"), say("meaning")], shown)]
    return values, lines


def _described(about: str, allowed: str) -> str:
    return f"{about} ({allowed})" if about and allowed else about or allowed


def _kind_word(kind: str) -> str:
    return {"model": say("model"), "dataset": say("dataset"), "task": say("task"), "optimizer": say("optimizer")}.get(
        kind, kind
    )


def source_of(maker: type) -> str:
    """Return the ``Source:`` of a class's docstring, on one line."""
    text = inspect.cleandoc(maker.__doc__ or "")
    found = re.search(
        r"^Source:(.*?)(?=^(?:Shapes|Units|Differs|Raises|Example):|^\s*$|\Z)", text, re.MULTILINE | re.DOTALL
    )
    return " ".join(found.group(1).split()) if found else ""


def recipe_page(name: str, settings: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe, with changes, and its model and data: read if the data is here, never fetched."""
    from seodang.core.shipped import recipe_path
    from seodang.training.assemble import assemble  # lazy: 1 s
    from seodang.training.resolve import read_recipe, registry_of

    path = recipe_path(name)
    recipe, _ = read_recipe(name, None, settings)
    model = registry_of("model")[recipe.model.name]
    data = registry_of("data")[recipe.data.name]
    values: dict[str, Any] = {"kind": "recipe", "name": recipe.name, "path": str(path), "recipe": recipe.written()}
    values["model"] = {"name": model.name, "about": model.about, "source": source_of(model.maker)}
    values["data"] = {"name": data.name, "about": data.about, "source": source_of(data.maker)}
    changed = toml_text({key: value for key, value in recipe.written().items() if key != "expected"})
    lines = [(changed if settings else path.read_text(encoding="utf-8")).rstrip(), ""]
    lines += _part(say("Model"), model, source_of(model.maker))
    try:
        with environment(DOWNLOAD, "look"):
            assembly = assemble(recipe)
    except SeodangError as error:
        if settings and isinstance(error, ConfigError):
            raise
        values["data"]["missing"] = str(error)
        lines += ["", *_part(say("Data"), data, source_of(data.maker)), str(error)]
        return values, lines
    layers, shown = _layers(assembly)
    facts = assembly.data.facts
    parameters = sum(weight.numel() for weight in assembly.model.parameters())
    values["model"] |= {"parameters": parameters, "layers": layers}
    values["data"] |= {
        "sizes": dict(facts.sizes),
        "licence": facts.licence,
        "origin": facts.source,
        "notes": list(facts.notes),
    }
    lines += [say("{count:,} parameters", count=parameters), *shown]
    values["optimizer"], moved = optimizer_part(assembly)
    optimizer = registry_of("optimizer")[recipe.optimizer.name]
    lines += ["", *_part(say("Optimizer"), optimizer, source_of(optimizer.maker)), *moved]
    lines += ["", *_part(say("Data"), data, source_of(data.maker))]
    lines += columns([(say("Examples"), ", ".join(f"{split} {count:,}" for split, count in facts.sizes.items())),
                      (say("From"), facts.source), (say("Licence"), facts.licence)], screen_width())  # fmt: skip
    return values, [*lines, *facts.notes]


def _part(title: str, entry: Entry, source: str) -> list[str]:
    lines = wrapped(f"{title}: {entry.name}. {translated(entry.about)}", screen_width())
    return [*lines, *wrapped(say("Source: {source}", source=source), screen_width())] if source else lines


def _layers(assembly: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the layer table, for programs and for people."""
    from seodang.visualize.summary import layer_figure, layer_table

    found = layer_table(assembly.model, assembly.task.blank_inputs(assembly.model))
    figure = layer_figure(found)
    rows = [*figure.rows, *([figure.total] if figure.total else [])]
    numeric = [number for number, column in enumerate(figure.columns) if column.number]
    lines = table([column.name for column in figure.columns], rows, numeric)
    memory = say("{weights} of weights; {outputs} of activations per example", weights=byte_count(found.state_bytes),
                 outputs=byte_count(found.output_bytes))  # fmt: skip
    return [layer._asdict() for layer in found.layers], [*lines, memory]
