"""Registry: named settings, the class that takes them, and how they are found.

Dropping a file beside the registry is the whole act of adding: the first look-up imports every module of
its package, then the entry points of group ``seodang``, then the files given with ``--plugin``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from seodang.core.config import Config
from seodang.core.errors import ConfigError, SeodangError, UnknownName, nearest
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import Choice

T = TypeVar("T")


class Entry(NamedTuple):
    """One registered name: its kind, the class that makes it, its settings and its first doc line."""

    kind: str
    name: str
    maker: type
    settings: Config
    about: str


class Registry(Generic[T]):
    """A table of names. `kind` is the word in messages, `package` the package that is searched.

    `section` is where its settings stand in a recipe, if not under the kind.
    """

    def __init__(self, kind: str, package: str, section: str = "") -> None:
        self.kind = kind
        self.section = section or kind
        self.package = package
        self._entries: dict[str, Entry] = {}
        self._searched = False

    def register(self, table: Mapping[str, Config]) -> Callable[[type[T]], type[T]]:
        """Register the decorated class under every name of `table` with those settings."""

        def add(maker: type[T]) -> type[T]:
            for name, settings in table.items():
                if (other := self._entries.get(name)) and other.maker.__qualname__ != maker.__qualname__:
                    raise SeodangError(
                        "The {kind} '{name}' is registered twice: in {first} and in {second}. Rename one.",
                        kind=self.kind,
                        name=name,
                        first=other.maker.__module__,
                        second=maker.__module__,
                    )
                about = (maker.__doc__ or "").strip().partition("\n")[0]
                self._entries[name] = Entry(self.kind, name, maker, settings, about)
            return maker

        return add

    def __getitem__(self, name: str) -> Entry:
        self._search()
        if name not in self._entries:
            raise UnknownName(
                "There is no {kind} called '{name}'.{suggestion} See them all: seodang list {kind}s",
                kind=self.kind,
                name=name,
                suggestion=nearest(name, self._entries),
            )
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self._search()
        return name in self._entries

    def names(self) -> list[str]:
        """Return every name in natural order: resnet18 before resnet101."""
        self._search()
        return sorted(self._entries, key=natural)

    def settings(self, choice: Choice, known: Mapping[str, Any] | None = None) -> Config:
        """Resolve `choice`: preset < what the data decides (`known`) < what the user wrote.

        Raises: ConfigError if the user wrote something the data contradicts.
        """
        entry = self[choice.name]
        cls = type(entry.settings)
        decided = {key: value for key, value in (known or {}).items() if key in cls.model_fields}
        for key, value in choice.settings.items():
            if key in decided and value != decided[key]:
                raise ConfigError(
                    "{section}.{key}={value}, but the data has {decided}. Remove the setting or change the data.",
                    section=self.section,
                    key=key,
                    value=value,
                    decided=decided[key],
                )
        return cls.of({**entry.settings.values(), **decided, **choice.settings}, where=self.section)

    def make(self, choice: Choice, known: Mapping[str, Any] | None = None, *arguments: Any) -> T:
        """Return ``maker(settings, *arguments)`` for `choice`."""
        return self[choice.name].maker(self.settings(choice, known), *arguments)

    def _search(self) -> None:
        if self._searched:
            return
        self._searched = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group="seodang"):
            point.load()


def natural(name: str) -> list[Any]:
    """Return a sorting key that reads numbers as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def load_plugin(path: str | Path) -> None:
    """Import the user's own Python file, so that what it registers can be named.

    Only ever called with a path the user typed (``--plugin``); nothing in a recipe or bundle gets here.
    """
    path = expanded(path).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise SeodangError("{path}: a plug-in is one Python file, and this is not one.", path=path)
    name = f"seodang_plugin_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SeodangError:
        raise
    except Exception as error:
        del sys.modules[name]
        raise SeodangError(
            "{path}: the plug-in could not be imported: {reason}",
            path=path,
            reason=say("{kind}: {message}", kind=type(error).__name__, message=error),
        ) from error
