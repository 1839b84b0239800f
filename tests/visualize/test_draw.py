"""Every kind of figure becomes valid SVG or PNG that shows its numbers where they belong."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from seodang.visualize.charts import lines, thinned
from seodang.visualize.colour import BLUES, DIVERGING, balanced, codes, painted, readable_on, rgb
from seodang.visualize.draw import save, svg
from seodang.visualize.figure import (
    Axis,
    Bars,
    Column,
    Figure,
    Film,
    Ground,
    Histogram,
    Images,
    Lines,
    Mark,
    Matrix,
    Panels,
    Passage,
    Scatter,
    Series,
    Strips,
    Table,
)
from seodang.visualize.grids import matrix_colours
from seodang.visualize.pixels import film_png, grid, images_png

SVG = "{http://www.w3.org/2000/svg}"
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.dstack([GREY, GREY[::-1], 255 - GREY])
CURVES = Lines("Loss <b>", "falls", (Series("train & co", (0, 1, 2), (4.0, 2.0, 1.0)), Series("", (1, 2), (3.0, 2.5))),
               Axis("epoch"), Axis("loss", "nats"), (Mark(2, 1.0, "best"),), Mark(0, 2.3, "chance"))  # fmt: skip
FIGURES: list[Figure] = [
    CURVES,
    Lines("empty", "nothing", (Series("", (), ()),)),
    Lines("one", "one point", (Series("a", (3,), (7.0,)),), y=Axis(log=True)),
    Lines("holes", "not finite", (Series("a", (0, 1, 2), (1.0, float("nan"), float("inf"))),)),
    Scatter("plane", "points", (Series("a", (0.0, 1.0), (0.0, 1.0)), Series("b", (1.0,), (0.0,))), Axis("x"), Axis("y"),
            Ground(COLOUR, (-1.0, 2.0, -1.0, 2.0)), square=True),
    Scatter("letters", "names", (Series("", (0.0, 1.0), (0.0, 1.0)),), names=("ㄱ", "<")),
    Scatter("diagonal", "true and predicted", (Series("", (1.0, 5.0), (2.0, 4.0)),), diagonal=True),
    Bars("bars", "three", ("a" * 80, "b", "나"), (0.5, -0.25, float("nan")), Axis("share", percent=True), marked=(0,)),
    Histogram("sure", "bins", (0.0, 0.5, 1.0), (0.25, float("nan")), Axis("p"), Axis("right"), (0.3, 0.9)),
    Matrix("confusion", "two classes", np.array([[5.0, 1.0], [0.0, 4.0]]), ("cat", "dog"), ("cat", "dog"), Axis("said"),
           Axis("true"), "confusion", numbers=True),
    Matrix("large", "one picture", np.linspace(-1, 1, 900).reshape(30, 30), look="diverging"),
    Panels("heads", "two", (Matrix("1", "", np.eye(3)), Matrix("2", "", np.eye(3)))),
    Strips("layers", "two", ("a", "b"), (np.array([1.0, -1.0]), np.zeros(5))),
    Images("mistakes", "two", (GREY, COLOUR), ("3, not 8\n97 %", "<i>"), columns=2),
    Table("layers", "rows", (Column("name", path=True), Column("count", number=True, bar=True)), (("a<b", "1,000"), ("c", "–")),
          (("a<b", 1000), ("c", 0)), ("all", "1,000")),
    Passage("text", "shaded", (("ab\n", None, ""), ("<", 0.9, "x < y"), ("한", 0.0, "note"))),
]  # fmt: skip


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{type(figure).__name__}-{figure.title}")
def test_every_figure_is_valid_svg(figure: Figure, alone: bool) -> None:
    text = svg(figure, alone)
    root = ElementTree.fromstring(text if alone else text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == figure.title
    assert root.findtext(f"{SVG}desc") == figure.alt
    assert root.get("role") == "img"
    width, height = map(float, root.get("viewBox", "").split()[2:])
    assert width > 50
    assert height > 10
    assert "nan" not in text.replace("nanometre", "")
    assert " style=" not in text, "the page's policy allows no inline styles"
    assert not re.search(r"(href|src)=\"(?!data:image/png)", text)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{type(figure).__name__}-{figure.title}")
def test_every_figure_is_saved(figure: Figure, tmp_path: Path) -> None:
    path = save(figure, tmp_path / "new", "name")
    assert path.suffix == ".svg"
    ElementTree.parse(path)


def test_a_curve_is_where_its_numbers_are() -> None:
    drawing = lines(CURVES)
    plot = json.loads(drawing.plot or "")
    left, top, right, bottom = plot["box"]
    points = [point[:2] for point in plot["lines"][0]["points"]]
    assert [x for x, _ in points] == pytest.approx([left, (left + right) / 2, right], abs=0.1)
    ys = [y for _, y in points]
    assert (ys[1] - ys[0]) == pytest.approx(2 * (ys[2] - ys[1]), abs=0.2)  # 4 → 2 is twice 2 → 1
    assert top <= min(ys)
    assert max(ys) <= bottom
    drawn = re.search(r'polyline points="([^"]+)"', drawing.body)
    assert drawn is not None
    assert [float(value) for value in re.split("[ ,]", drawn[1])] == pytest.approx(
        [value for point in points for value in point], abs=0.06
    )
    assert [point[2:] for point in plot["lines"][0]["points"]] == [["0", "4"], ["1", "2"], ["2", "1"]]


def test_long_series_are_averaged_not_sampled() -> None:
    values = tuple(float(index) for index in range(2000))
    found = thinned(Series("a", values, values), most=100)
    assert len(found.x) == 100
    assert found.y[0] == sum(range(20)) / 20
    assert sum(found.y) * 20 == pytest.approx(sum(values))


def test_confusion_has_two_colours_and_sees_one_mistake_among_hundreds() -> None:
    figure = Matrix("", "", np.array([[999.0, 1.0], [0.0, 0.0]]), look="confusion")
    colours = matrix_colours(figure).astype(int)
    assert colours[0, 0, 2] > colours[0, 0, 0] + 50, "right is blue"
    assert colours[0, 1, 0] > colours[0, 1, 2] + 3, "a mistake is orange"
    assert (colours[0, 1] != colours[1, 0]).any(), "one of a thousand can be told from none"


def test_scales_of_colour() -> None:
    assert codes([0.0, 1.0, -3.0], BLUES) == [BLUES[0], BLUES[-1], BLUES[0]]
    assert tuple(painted(balanced(np.array([-2.0, 0.0, 1.0])), DIVERGING)[1]) == rgb(DIVERGING[3])
    assert balanced(np.zeros(3)).tolist() == [0.5, 0.5, 0.5]
    assert tuple(painted([float("nan")], BLUES)[0]) == (200, 200, 200)
    assert readable_on("#ffffff") != "#ffffff"
    assert readable_on("#084b78") == "#ffffff"


def test_a_grid_of_pictures_holds_them_pixel_by_pixel(tmp_path: Path) -> None:
    sheet = grid([GREY, COLOUR, GREY], columns=2, gap=1)
    assert sheet.shape == (7, 9, 3)
    assert (sheet[:3, :4, 1] == GREY).all()
    assert (sheet[:3, 5:] == COLOUR).all()
    assert (sheet[4:, 5:] == 255).all()
    figure = Images("", "", (GREY, GREY), columns=2)
    opened = np.asarray(Image.open(io.BytesIO(images_png(figure, least=8))))
    assert (opened[::2, :8:2, 0][:3] == GREY).all(), "each pixel is a square of two"
    assert save(figure, tmp_path, "x").suffix == ".png"


def test_a_film_moves_for_ever() -> None:
    frames = tuple(np.full((6, 8, 3), value, dtype=np.uint8) for value in (0, 90, 180))
    image = Image.open(io.BytesIO(film_png(Film("", "", frames, 0.12))))
    assert (image.format, image.n_frames, image.info["loop"], image.size) == ("PNG", 3, 0, (8, 6))
    for place, frame in enumerate(frames):
        image.seek(place)
        assert image.info["duration"] == 120
        assert (np.asarray(image.convert("RGB")) == frame).all()
