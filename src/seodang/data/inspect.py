"""The check before the first step: everything that is wrong or odd in somebody's data, not only the first thing.

Nothing is changed: files are read, never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seodang.core.config import Config
from seodang.core.errors import DataError, SeodangError
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.data.arrays import ArraysConfig
from seodang.data.check_arrays import check_array_file
from seodang.data.check_pictures import check_pictures
from seodang.data.check_table import check_table
from seodang.data.check_text import check_text
from seodang.data.finding import Finding, shown
from seodang.data.folder import FolderConfig
from seodang.data.sources import dataset_for_file
from seodang.data.table import TableConfig
from seodang.data.text import TextConfig

__all__ = ["Finding", "findings_of", "inspect", "reads"]

ORDER = {"error": 0, "warning": 1, "note": 2}
CONFIGS: dict[str, type[Config]] = {"table": TableConfig, "arrays": ArraysConfig, "text": TextConfig}
CHECKS: dict[type[Config], Callable[[Path, Any], list[Finding]]] = {
    FolderConfig: check_pictures, TableConfig: check_table, ArraysConfig: check_array_file, TextConfig: check_text,
}  # fmt: skip


def inspect(path: Path, settings: Mapping[str, Any] | None = None) -> list[Finding]:
    """Return all findings about a file or folder, errors first; `settings` are those of the dataset that would read it.

    Raises: DataError if there is nothing at `path` or nobody knows what it is; ConfigError for a wrong setting.
    """
    path = expanded(path)
    values = {**(settings or {}), "path": str(path)}
    if path.is_symlink() and not path.exists():
        return [Finding("error", shown(path), say("is a link that leads nowhere. Mend it or take it away."))]
    if not path.exists():
        raise DataError("{path}: there is no such file or folder.", path=shown(path))
    try:
        maker = FolderConfig if path.is_dir() else CONFIGS[dataset_for_file(path)]
    except DataError as error:
        return [refusal(error, path)]
    return findings_of(maker.of(values, where="data"))


def reads(settings: Config) -> bool:
    """Return whether these are the settings of a dataset that reads what lies at a path of the user's."""
    return type(settings) in CHECKS


def findings_of(settings: Config) -> list[Finding]:
    """Return all findings about what a dataset with these settings would read, errors first."""
    path = expanded(settings.path)  # type: ignore[attr-defined]
    try:
        found = CHECKS[type(settings)](path, settings)
    except DataError as error:  # so wrong that nothing more can be said
        return [refusal(error, path)]
    return sorted(found, key=lambda finding: ORDER[finding.level])


def refusal(error: SeodangError, path: Path) -> Finding:
    """Return an error that ended the reading as a finding."""
    source, line = shown(path), error.values.get("line")
    where = source if line is None else say("{path}: line {line}", path=source, line=line)
    return Finding("error", where, str(error).removeprefix(where).removeprefix(source).lstrip(":, "))
