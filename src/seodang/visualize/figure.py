"""Figure: the data of a picture, with title, axes and words for those who cannot see it.

A figure knows nothing of pixels: `draw` makes SVG of it, `pixels` makes PNG, the report makes HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""A picture: (H, W) grey or (H, W, 3) red, green, blue."""


@dataclass(frozen=True)
class Axis:
    """What runs along a side of a chart."""

    label: str = ""
    unit: str = ""
    log: bool = False
    percent: bool = False
    limits: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        return f"{self.label} ({self.unit})" if self.label and self.unit else self.label or self.unit


@dataclass(frozen=True)
class Series:
    """Points (x, y) that belong together; `colour` counts in the palette, default: by position."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int | None = None
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None
    """Lower and upper edge of an area around the curve."""


@dataclass(frozen=True)
class Mark:
    """A place worth pointing at."""

    x: float
    y: float
    text: str
    colour: int = 0


@dataclass(frozen=True)
class Figure:
    """What every figure has. `alt` says in words what can be seen; `about` how to read it; `name` is for its file."""

    title: str
    alt: str
    about: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Lines(Figure):
    """Curves over a common x."""

    series: tuple[Series, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    marks: tuple[Mark, ...] = ()
    level: Mark | None = None
    """A horizontal line to compare with, at `level.y`."""


@dataclass(frozen=True)
class Ground:
    """A picture that fills the plane of a scatter chart, row 0 at the top; extent: x from, x to, y from, y to."""

    image: Pixels
    extent: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scatter(Figure):
    """Groups of points in a plane."""

    series: tuple[Series, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    ground: Ground | None = None
    diagonal: bool = False
    square: bool = False
    names: tuple[str, ...] = ()
    """With one series: a text drawn in place of each point."""
    paths: tuple[Series, ...] = ()
    """Ways through the plane, drawn as lines."""


@dataclass(frozen=True)
class Bars(Figure):
    """One horizontal bar for each name."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    x: Axis = Axis()
    marked: tuple[int, ...] = ()
    """Positions of the bars to point out."""


@dataclass(frozen=True)
class Intervals(Figure):
    """One row for each name: its points, its mean with a bar from low to high, and a text."""

    names: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    bars: tuple[tuple[float, float, float] | None, ...]
    """Low, mean, high; None where there is no mean."""
    texts: tuple[str, ...]
    x: Axis = Axis()
    marked: tuple[int, ...] = ()
    """Positions of the rows to point out."""


@dataclass(frozen=True)
class Histogram(Figure):
    """Upright bars between `edges`, with an optional line (expected heights) over them."""

    edges: tuple[float, ...]
    heights: tuple[float, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    expected: tuple[float, ...] = ()


@dataclass(frozen=True)
class Matrix(Figure):
    """A heat map with named rows and columns. `confusion` paints the diagonal and the rest in two colours."""

    values: NDArray[np.float64]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    x: Axis = Axis()
    y: Axis = Axis()
    look: Literal["sequential", "diverging", "confusion"] = "sequential"
    numbers: bool = False
    """Write the number into each cell."""


@dataclass(frozen=True)
class Panels(Figure):
    """Small figures of one kind side by side, each under its own title."""

    panels: tuple[Matrix | Lines | Scatter, ...]
    columns: int = 4


@dataclass(frozen=True)
class Strips(Figure):
    """Vectors of different lengths, one below the other, each painted over the same width."""

    names: tuple[str, ...]
    values: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class Images(Figure):
    """A grid of small pictures, each with an optional caption; `marked` ones get a coloured frame."""

    images: tuple[Pixels, ...]
    captions: tuple[str, ...] = ()
    columns: int = 8
    smooth: bool = False
    """Large photographs are scaled smoothly, pixels of small pictures are kept as squares."""


@dataclass(frozen=True)
class Film(Figure):
    """Pictures shown one after another, for ever."""

    frames: tuple[Pixels, ...]
    seconds: float = 0.1
    """Time each is shown."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, whether it holds numbers, and whether a bar shows their share."""

    name: str
    number: bool = False
    bar: bool = False
    path: bool = False
    """Written in a typewriter face: names of the program, not words."""


@dataclass(frozen=True)
class Table(Figure):
    """Rows of texts; beside each number stands the value it is sorted by."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    values: tuple[tuple[float | str, ...], ...] = ()
    """What each cell is worth, for sorting and bars; default: its text."""
    total: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passage(Figure):
    """Running text; a piece with a weight (0…1) is shaded, and its note is shown on hovering."""

    pieces: tuple[tuple[str, float | None, str], ...]
