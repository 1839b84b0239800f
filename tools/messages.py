"""Keep the message catalogues in step with the code: `make messages`.

Messages are the literals given to `say` and to the error classes, and the sentences of records that are shown:
what recipes say about themselves, the first lines of registered classes, the descriptions of settings.

    python tools/messages.py            list what has no Korean twin, what nobody says any more; exit code 1 if any
    python tools/messages.py --update   add missing entries (empty), drop unused ones, compile the catalogue
"""

from __future__ import annotations

import argparse
import ast
import io
import string
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seodang"
CATALOGUE = SOURCE / "locale" / "ko" / "LC_MESSAGES" / "seodang.po"

DYNAMIC = {"core/language.py", "core/errors.py"}
"""Where a message arrives as a variable."""

WORDS = (
    "examples", "tokens", "episodes",
    "most common class", "logistic regression", "ridge regression", "random forest", "boosted trees", "bigrams",
)  # fmt: skip
"""Names that are built into other texts: what a task counts, the methods of baselines."""


class Said(NamedTuple):
    """A message and where it is said."""

    message: str
    place: str


@cache
def error_classes() -> set[str]:
    """Return the names of the error family whose first argument is a message."""
    tree = ast.parse((SOURCE / "core" / "errors.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {"MissingExtra"}


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call that says something in a file, and its place."""
    name = str(path.relative_to(SOURCE))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if function == "say" or function in error_classes():
            yield node, f"{name}:{node.lineno}"


def literals() -> Iterator[Said]:
    """Yield the literals of the code; `MissingExtra` and the like say theirs through ``super().__init__``."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node, place in calls(path):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Said(first.value, place)
    tree = ast.parse((SOURCE / "core" / "errors.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield Said(first.value, f"core/errors.py:{node.lineno}")


def not_literal() -> list[str]:
    """Return the places where a message is not one literal: such a message cannot be found, so not be translated."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if str(path.relative_to(SOURCE)) in DYNAMIC:
            continue
        for node, place in calls(path):
            if not (isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
                found.append(f"{place}: {ast.unparse(node.args[0])}")
    return found


def records() -> Iterator[Said]:
    """Yield the sentences of recipes, registered classes and their settings."""
    from seodang.core.recipe import Recipe, Train
    from seodang.core.shipped import recipe_names, recipe_values
    from seodang.training.resolve import SECTIONS, registry_of

    for name in recipe_names():
        if about := recipe_values(name).get("about", ""):
            yield Said(one_line(about), f"recipes/{name}.toml")
    configs = {Recipe, Train}
    for section in SECTIONS:
        registry = registry_of(section)
        for name in registry.names():
            entry = registry[name]
            if not entry.maker.__module__.startswith("seodang."):
                continue
            yield Said(one_line(entry.about), entry.maker.__module__)
            configs.add(type(entry.settings))
            configs |= {base for base in type(entry.settings).__mro__ if base.__module__.startswith("seodang.")}
    for config in configs:
        for field in getattr(config, "model_fields", {}).values():
            if field.description:
                yield Said(one_line(field.description), config.__module__)
    yield from (Said(word, "tools/messages.py") for word in WORDS)


def one_line(text: str) -> str:
    return " ".join(text.split())


def collect() -> dict[str, str]:
    """Return every message that has something to translate, with the place it is said first."""
    found: dict[str, str] = {}
    for said in [*literals(), *records()]:
        if any(letter.isalpha() for letter in bare(said.message)):
            found.setdefault(said.message, said.place)
    return found


def bare(message: str) -> str:
    """Return a message without its placeholders."""
    return "".join(text for text, *_ in fields(message))


def placeholders(message: str) -> list[str]:
    """Return the placeholders of a message with their formats, sorted."""
    return sorted({f"{name}:{form}" for _, name, form in fields(message) if name is not None})


def fields(message: str) -> list[tuple[str, str | None, str]]:
    try:
        return [(text, name, form or "") for text, name, form, _ in string.Formatter().parse(message)]
    except ValueError:  # braces of a formula in a docstring: no template
        return [(message, None, "")]


def read() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file)


def twins(catalogue: Catalog) -> dict[str, str]:
    return {str(entry.id): str(entry.string) for entry in catalogue if entry.id and entry.string and not entry.fuzzy}


def compiled(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def update(translations: Mapping[str, str] | None = None) -> None:
    """Write the catalogue anew: every message of the code with its twin (from `translations`, else kept, else empty)."""
    old, found = read(), collect()
    known = {**twins(old), **(translations or {})}
    new = Catalog(locale="ko", project="seodang", version="", charset="utf-8")
    new.mime_headers = old.mime_headers
    for message in sorted(found, key=str.casefold):
        new.add(message, known.get(message, ""))
    text = io.BytesIO()
    write_po(text, new, width=110, omit_header=True)
    header = CATALOGUE.read_text(encoding="utf-8").partition("\n\n")[0]
    CATALOGUE.write_text(f"{header}\n\n{text.getvalue().decode().strip()}\n", encoding="utf-8")
    CATALOGUE.with_suffix(".mo").write_bytes(compiled(read()))


def problems() -> list[str]:
    """Return what is wrong with the catalogue, a line each."""
    found, known = collect(), twins(read())
    lines = [f"{place}: no Korean twin: {message!r}" for message, place in found.items() if message not in known]
    lines += [f"nobody says this any more: {message!r}" for message in known if message not in found]
    lines += [f"{found[message]}: placeholders differ: {message!r} and {twin!r}" for message, twin in known.items()
              if message in found and placeholders(message) != placeholders(twin)]  # fmt: skip
    return lines + [f"{place} is not one literal, so it cannot be translated" for place in not_literal()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep the message catalogues in step with the code.")
    parser.add_argument("--update", action="store_true", help="add missing entries, drop unused ones, compile")
    if parser.parse_args().update:
        update()
    lines = problems()
    print("\n".join(lines) or "Every message has its twin.")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
