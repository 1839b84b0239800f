"""Which dataset reads a file: by the ending of its name."""

from __future__ import annotations

from pathlib import Path

from seodang.core.errors import DataError
from seodang.core.language import say
from seodang.data.decoding import format_of
from seodang.data.finding import shown
from seodang.data.table_reading import SUFFIXES, table_suffix

TEXTS = (".txt", ".text", ".md")


def dataset_for_file(path: Path) -> str:
    """Return the name of the dataset that reads a file: ``table``, ``arrays`` or ``text``.

    Raises: DataError for any other ending, saying which are known.
    """
    if table_suffix(path) in SUFFIXES:
        return "table"
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return "arrays"
    if suffix in TEXTS:
        return "text"
    hint = ""
    if format_of(path):
        hint = " " + say("To train on pictures give the folder they are in.")
    elif suffix == ".npy":
        hint = " " + say("One array is not enough: numpy.savez('data.npz', x=…, y=…).")
    elif suffix in (".xls", ".xlsx", ".ods"):
        hint = " " + say("Save the sheet as CSV.")
    raise DataError("{path}: cannot tell from its name what it holds. Tables: {tables}; arrays: .npz; texts: {texts}.{hint}",
                    path=shown(path), tables=", ".join(SUFFIXES), texts=", ".join(TEXTS), hint=hint)  # fmt: skip
