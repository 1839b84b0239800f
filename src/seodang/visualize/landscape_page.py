"""Landscapes as figures, files and a page: heights as bands between level lines, ways over them, numbers beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seodang.core.files import make_folders, write
from seodang.core.language import say
from seodang.visualize.colour import VIRIDIS, painted
from seodang.visualize.figure import Axis, Column, Ground, Pixels, Scatter, Series, Table
from seodang.visualize.frame import heading, tile, tiles
from seodang.visualize.landscape import Plane, Spot
from seodang.visualize.markup import element
from seodang.visualize.page import document, figure_html
from seodang.visualize.raster import save_both
from seodang.visualize.scale import number, percent
from seodang.visualize.surfaces import Surface, Way, heights, nearest_minimum

Numbers = NDArray[np.float64]

LEVELS = 16
PIXELS = 560
PALE = 0.35
"""How much white is mixed into the colours of the heights, so that lines over them are seen."""


def ground(values: Numbers, lowest: float | None = None) -> Pixels:
    """Return heights (row 0 at the top) as a picture: bands of colour, evenly spaced in the logarithm of the height above
    the `lowest` (default: the least of them), with a line at each level. What is not finite is grey."""
    fine = enlarged(values)
    known = fine[np.isfinite(fine)]
    if not known.size:
        return np.full((*fine.shape, 3), 200, dtype=np.uint8)
    base = float(known.min()) if lowest is None else min(lowest, float(known.min()))
    reach = max(float(known.max()) - base, 1e-12)
    level = np.log1p((fine - base) / reach * 200) / np.log1p(200) * LEVELS
    with np.errstate(invalid="ignore"):
        band = np.floor(level)
        colours = painted((0.65 * band + 0.35 * level) / LEVELS, VIRIDIS[::-1]).astype(np.float64)
        colours = colours * (1 - PALE) + 255 * PALE
        edge = np.zeros(fine.shape, dtype=bool)
        edge[:, 1:] |= band[:, 1:] != band[:, :-1]
        edge[1:] |= band[1:] != band[:-1]
    colours[edge] = colours[edge] * 0.72
    colours[~np.isfinite(fine)] = 200
    return colours.round().astype(np.uint8)


def enlarged(values: Numbers, side: int = PIXELS) -> Numbers:
    """Return the grid interpolated between its places, about `side` pixels wide; its own places keep their values."""
    rows, columns = values.shape
    up, along = np.linspace(0, rows - 1, side), np.linspace(0, columns - 1, side)
    top, left = np.minimum(up.astype(int), rows - 2), np.minimum(along.astype(int), columns - 2)
    v, u = (up - top)[:, None], (along - left)[None, :]
    corner = values[np.ix_(top, left)] * (1 - u) + values[np.ix_(top, left + 1)] * u
    below = values[np.ix_(top + 1, left)] * (1 - u) + values[np.ix_(top + 1, left + 1)] * u
    return corner * (1 - v) + below * v


# ---------------------------------------------------------------------------------------------- surfaces


def surface_figure(surface: Surface, ways: Sequence[Way]) -> Scatter:
    """Return the surface with the way of each rule."""
    paths = tuple(Series(way.name, way.points[:, 0].tolist(), way.points[:, 1].tolist(), place)
                  for place, way in enumerate(ways))  # fmt: skip
    marks = [Series(say("start"), [surface.start[0]], [surface.start[1]], 7)]
    if surface.minima:
        marks.append(Series(say("minimum"), [x for x, _ in surface.minima], [y for _, y in surface.minima], 6))
    about = say("{formula}. Dark is high, yellow low; lines of equal height are closer together where it is low. The dot is where "
                "{steps} updates lead.", formula=plain(surface.formula), steps=max((len(way.points) - 1 for way in ways), default=0))  # fmt: skip
    return Scatter(
        say("Ways down: {name}", name=surface.name), say("{count} ways over a surface.", count=len(ways)), tuple(marks), Axis("x"),
        Axis("y"), Ground(ground(heights(surface)), surface.extent), square=True, paths=paths, about=about,
        name=f"landscape-{surface.name}",
    )  # fmt: skip


def plain(formula: str) -> str:
    """Return a formula without marks for small letters."""
    return formula.replace("^2", "²").replace("^3", "³")


def ways_table(surface: Surface, ways: Sequence[Way]) -> Table:
    rows, values = [], []
    for way in ways:
        gap = nearest_minimum(surface, way.points[-1])
        left = say("left the picture at update {step}", step=way.left_at) if way.left_at else ""
        steps = len(way.points) - 1
        rows.append(
            (
                way.name,
                number(way.rate),
                f"{steps:,}",
                number(float(way.heights[-1]), 4),
                "–" if gap is None else number(gap),
                left,
            )
        )
        values.append((way.name, way.rate, float(steps), float(way.heights[-1]), -1.0 if gap is None else gap, left))
    columns = (Column(say("rule")), Column(say("rate"), number=True), Column(say("updates"), number=True),
               Column(say("height at the end"), number=True), Column(say("from the nearest minimum"), number=True), Column(""))  # fmt: skip
    return Table(
        say("How far they came"),
        say("{count} rules.", count=len(rows)),
        columns,
        tuple(rows),
        tuple(values),
        name="ways",
    )


# ------------------------------------------------------------------------------------------------ runs


def plane_figure(plane: Plane, losses: Numbers, xs: Numbers, ys: Numbers, found: Sequence[Spot], about: str) -> Scatter:
    """Return the losses of a plane with the way of the checkpoints, seen from it."""
    extent = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
    way = Series(say("checkpoints"), [spot.x for spot in found], [spot.y for spot in found], 0)
    marks = (way, Series(say("the trained weights"), [0.0], [0.0], 1))
    shares = [
        f" ({percent(share)})" if plane.explained and plane.kind == "pca" else "" for share in plane.explained or (0, 0)
    ]
    names = [say("direction {number}", number=place + 1) + share for place, share in enumerate(shares)]
    return Scatter(
        say("Loss around the trained weights"), say("The loss over a plane, from {low} to {high}.", low=number(float(np.nanmin(losses)), 4),
                                                    high=number(float(np.nanmax(losses)), 4)),
        marks if found else marks[1:], Axis(names[0]), Axis(names[1]), Ground(ground(losses), extent),
        square=True, paths=(Series("", way.x, way.y, 0),) if len(found) > 1 else (), about=about, name=f"landscape-{plane.kind}",
    )  # fmt: skip


def spots_table(found: Sequence[Spot]) -> Table:
    """Return where each checkpoint is, and how far from the plane."""
    columns = tuple(Column(name, number=True) for name in (
        say("update"), say("direction {number}", number=1), say("direction {number}", number=2), say("from the plane"),
        say("from the trained weights")))  # fmt: skip
    values = tuple((float(spot.step), spot.x, spot.y, spot.distance, spot.from_origin) for spot in found)
    rows = tuple(
        (f"{spot.step:,}", *(number(value, 3) for value in row[1:])) for spot, row in zip(found, values, strict=True)
    )
    about = say("A checkpoint far from the plane is not where the picture shows it: only its shadow is.")
    return Table(say("Checkpoints and the plane"), say("{count} checkpoints.", count=len(rows)), columns, rows, values, about=about,
                 name="checkpoints")  # fmt: skip


# ----------------------------------------------------------------------------------------------- files


def write_landscape(picture: Scatter, table: Table | None, to: Path, facts: Sequence[tuple[str, str]]) -> list[Path]:
    """Write the picture as SVG and PNG and both on a page; return the files."""
    make_folders(to)
    page = to / f"{picture.name}.html"
    paths = [*save_both(picture, to, picture.name), page]
    shown = tiles(*(tile(name, value) for name, value in facts))
    head = heading(say("Seodang: landscape"), picture.title, shown)
    figures = [figure_html(picture, "beside")] + ([figure_html(table, "wide")] if table else [])
    main = [element("section", element("div", *figures, class_="figures"), id="landscape")]
    write(page, document(picture.title, head, [], main, "figure.beside > svg { width: 100%; }\n"))
    return paths
