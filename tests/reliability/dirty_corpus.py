"""A corpus of data as people have it: planted faults, each with the finding that must name it, and clean twins.

Made in code from real data: scikit-learn's handwritten digits, iris, diabetes, and the descriptions it ships.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn import datasets as real

Made = Callable[[Path], Path | None]


@dataclass(frozen=True)
class Fault:
    """What must be reported: the level, a part of where (file, line), and words that tell the kind of fault."""

    level: str
    where: str
    words: str


@dataclass(frozen=True)
class Case:
    """One folder, table or text. `make` writes it below a folder and may return the path that is checked."""

    name: str
    make: Made
    faults: tuple[Fault, ...] = ()
    also: tuple[str, ...] = ()
    """Words of further warnings that are right here."""
    settings: dict[str, Any] = field(default_factory=dict)


CASES: list[Case] = []


def case(
    name: str, *faults: tuple[str, str, str], also: tuple[str, ...] = (), **settings: Any
) -> Callable[[Made], Made]:
    """Register what the function below makes as a case with these faults; none of them: it is clean."""

    def register(make: Made) -> Made:
        CASES.append(Case(name, make, tuple(Fault(*fault) for fault in faults), also, settings))
        return make

    return register


# ---------------------------------------------------------------------------------------------- pictures

DIGITS = real.load_digits()
IRIS = real.load_iris()
DIABETES = real.load_diabetes()
PROSE = "\n".join(load().DESCR for load in (real.load_digits, real.load_iris, real.load_diabetes, real.load_wine,
                                           real.load_breast_cancer, real.load_linnerud))  # fmt: skip


def digit(number: int, index: int, side: int = 32, mode: str = "L") -> Image.Image:
    """Return the picture of a handwritten digit."""
    row = np.flatnonzero(DIGITS.target == number)[index]
    pixels = (DIGITS.images[row] * 15.9375).astype(np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def photos(root: Path, *splits: str, count: int = 8, names: tuple[str, ...] = ("zero", "one", "two"), form: str = "png",
           mode: str = "L", side: int = 32) -> Path:  # fmt: skip
    """Write `count` digits of three classes, in each of the splits or without splits; no picture twice."""
    index = 0
    for split in splits or ("",):
        for number, name in enumerate(names):
            for place in range(count):
                image = digit(number, index + place, side, mode)
                put(root / split / name / f"{place}.{form}", encoded(image, "JPEG" if form == "jpg" else form))
        index += count
    return root


# ---------------------------------------------------------------------------------------- tables, texts


def flowers(rows: int = 90) -> tuple[list[str], list[list[str]]]:
    """Return names and rows of the iris table, shuffled, without its one copy."""
    order = np.random.default_rng(0).permutation(len(IRIS.data))
    seen: dict[tuple[str, ...], list[str]] = {}
    for row in order.tolist():
        values = [*map(str, IRIS.data[row].tolist()), str(IRIS.target_names[IRIS.target[row]])]
        seen.setdefault(tuple(values[:-1]), values)
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    return names, [list(values) for values in seen.values()][:rows]


def patients(rows: int = 90) -> tuple[list[str], list[list[str]]]:
    """Return names and rows of the diabetes table: a quantity to predict."""
    raw = real.load_diabetes(scaled=False)
    values = [[f"{value:g}" for value in (*raw.data[row].tolist(), raw.target[row])] for row in range(rows)]
    return [*raw.feature_names, "progression"], values


def comma(names: list[str], rows: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([names, *rows])
    return file.getvalue()


def changed(change: Callable[[list[str], list[list[str]]], Any], table: Any = flowers) -> str:
    """Return a table as CSV after `change` was made to its names and rows."""
    names, rows = table()
    change(names, rows)
    return comma(names, rows)


def columns(name: str, values: Callable[[int, list[str]], object], table: Any = flowers, place: int = 0) -> str:
    """Return a table as CSV with one more column."""

    def add(names: list[str], rows: list[list[str]]) -> None:
        names.insert(place, name)
        for index, row in enumerate(rows):
            row.insert(place, str(values(index, row)))

    return changed(add, table)
