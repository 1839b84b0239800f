"""From a chart's SVG to PNG: the few elements that `charts` and `intervals` draw, painted with Pillow.

Differs: no general reader of SVG. It knows rectangles, lines, curves, areas, circles and texts, groups that are
moved, and parts that are cut off; it is only ever given what this package has drawn.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image, ImageColor, ImageDraw, ImageFont

from seodang.core.files import write
from seodang.visualize.draw import save, svg
from seodang.visualize.figure import Figure, Images
from seodang.visualize.pixels import enlarged

DRAWN = 256
"""Pixels of a picture on paper: smaller ones are enlarged by whole numbers first."""
SCALE = 2
"""Pixels of the PNG for each unit of the SVG."""
FINER = 2
"""Everything is painted this much larger and made smaller: smooth edges."""
HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
FONTS = {
    False: ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc", "LiberationSans-Regular.ttf"),
    True: ("DejaVuSans-Bold.ttf", "Arial Bold.ttf", "arialbd.ttf", "LiberationSans-Bold.ttf"),
}
KOREAN = ("NotoSansCJK-Regular.ttc", "NotoSansKR-Regular.otf", "NanumGothic.ttf", "AppleSDGothicNeo.ttc", "malgun.ttf")
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "/Library/Fonts", "C:/Windows/Fonts")


def save_both(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and as PNG, or as PNG alone where it is pixels only; return the files."""
    drawing = save(figure, folder, name)
    return [drawing, *write_pngs([figure], [drawing])]


def write_pngs(figures: Sequence[Figure], drawings: Sequence[Path]) -> list[Path]:
    """Write beside each SVG the same as PNG, the pixels of small pictures as squares; return the files."""
    paths = []
    for figure, drawing in zip(figures, drawings, strict=True):
        if drawing.suffix != ".svg":
            continue
        if isinstance(figure, Images):
            figure = replace(figure, images=tuple(enlarged(image, DRAWN) for image in figure.images))
        paths.append(drawing.with_suffix(".png"))
        write(paths[-1], chart_png(figure))
    return paths


def chart_png(figure: Figure) -> bytes:
    """Return a chart with its title as PNG."""
    root = ElementTree.fromstring(svg(figure))  # noqa: S314  our own markup, escaped by `markup`
    _, _, width, height = _numbers(root.get("viewBox", "0 0 1 1"))
    size = round(width * SCALE * FINER), round(height * SCALE * FINER)
    image = Image.new("RGB", size, "#ffffff")
    _Painter(image).children(root, *(-value for value in _numbers(root.get("viewBox", ""))[:2]))
    buffer = io.BytesIO()
    image.resize((size[0] // FINER, size[1] // FINER), Image.Resampling.BOX).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class _Painter:
    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.factor = SCALE * FINER

    def children(self, parent: ElementTree.Element, x: float, y: float) -> None:
        for item in parent:
            self.paint(item, x, y)

    def paint(self, item: ElementTree.Element, x: float, y: float) -> None:
        match item.tag.rpartition("}")[2]:
            case "g":
                moved = _numbers(item.get("transform", "0 0"))
                self.children(item, x + moved[0], y + moved[1])
            case "svg":
                self._cut(item, x, y)
            case "rect":
                left, top = x + _number(item, "x"), y + _number(item, "y")
                corners = [(left, top), (left + _number(item, "width"), top + _number(item, "height"))]
                self._area(item, lambda pen, fill: pen.rectangle(self._flat(corners), fill=fill))
            case "circle":
                centre, radius = (x + _number(item, "cx"), y + _number(item, "cy")), _number(item, "r")
                self._circle(item, centre, radius)
            case "polygon":
                self._area(item, lambda pen, fill: pen.polygon(self._flat(_points(item, x, y)), fill=fill))
            case "line":
                ends = [(x + _number(item, f"x{end}"), y + _number(item, f"y{end}")) for end in (1, 2)]
                self._line(item, ends)
            case "polyline":
                self._line(item, _points(item, x, y))
            case "image":
                self._picture(item, x + _number(item, "x"), y + _number(item, "y"))
            case "text":
                self._text(item, x + _number(item, "x"), y + _number(item, "y"))

    def _flat(self, points: list[tuple[float, float]]) -> list[float]:
        return [value * self.factor for point in points for value in point]

    def _area(self, item: ElementTree.Element, paint: Callable[[ImageDraw.ImageDraw, Any], object]) -> None:
        """Paint an area, mixed with what lies beneath if it lets it through."""
        fill = item.get("fill", "#000000")
        if fill == "none":
            return
        opacity = float(item.get("fill-opacity", 1))
        if opacity >= 1:
            paint(ImageDraw.Draw(self.image), fill)
            return
        mask = Image.new("L", self.image.size, 0)
        paint(ImageDraw.Draw(mask), round(255 * opacity))
        self.image.paste(Image.new("RGB", self.image.size, ImageColor.getrgb(fill)[:3]), (0, 0), mask)

    def _circle(self, item: ElementTree.Element, centre: tuple[float, float], radius: float) -> None:
        half = _number(item, "stroke-width") / 2 if item.get("stroke") else 0.0

        def box(reach: float) -> list[float]:
            return self._flat([(centre[0] - reach, centre[1] - reach), (centre[0] + reach, centre[1] + reach)])

        if half:
            ImageDraw.Draw(self.image).ellipse(box(radius + half), fill=item.get("stroke"))
        self._area(item, lambda pen, fill: pen.ellipse(box(radius - half), fill=fill))

    def _line(self, item: ElementTree.Element, points: list[tuple[float, float]]) -> None:
        width = max(1, round(_number(item, "stroke-width", 1.0) * self.factor))
        pen = ImageDraw.Draw(self.image)
        dashes = [float(part) for part in item.get("stroke-dasharray", "").replace(",", " ").split()]
        for piece in _dashed(points, dashes) if dashes else [points]:
            pen.line(self._flat(piece), fill=item.get("stroke", "#000000"), width=width, joint="curve")

    def _picture(self, item: ElementTree.Element, x: float, y: float) -> None:
        """Paint a picture that stands in a ``data:`` address, stretched to its box."""
        content = base64.b64decode((item.get("href") or "").partition("base64,")[2])
        box = [
            round(value) for value in self._flat([(x, y), (x + _number(item, "width"), y + _number(item, "height"))])
        ]
        picture = Image.open(io.BytesIO(content), formats=["PNG"]).convert("RGB")
        self.image.paste(
            picture.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR), (box[0], box[1])
        )

    def _text(self, item: ElementTree.Element, x: float, y: float) -> None:
        text = item.text or ""
        font = _font(round(_number(item, "font-size", 12.0) * self.factor), _number(item, "font-weight", 400) >= 600,
                     bool(HANGUL.search(text)))  # fmt: skip
        anchor = {"end": "rs", "middle": "ms"}.get(item.get("text-anchor", ""), "ls")
        outline = round(_number(item, "stroke-width") * self.factor / 2) if item.get("paint-order") else 0
        ImageDraw.Draw(self.image).text((x * self.factor, y * self.factor), text, fill=item.get("fill", "#000000"), font=font,
                                        anchor=anchor, stroke_width=outline, stroke_fill=item.get("stroke"))  # fmt: skip

    def _cut(self, item: ElementTree.Element, x: float, y: float) -> None:
        """Paint what is inside, and keep only what lies in the box."""
        left, top, width, height = (_number(item, name) for name in ("x", "y", "width", "height"))
        inner = _numbers(item.get("viewBox", f"{left} {top} {width} {height}"))
        before = self.image.copy()
        self.children(item, x + left - inner[0], y + top - inner[1])
        box = [round(value) for value in self._flat([(x + left, y + top), (x + left + width, y + top + height)])]
        kept = self.image.crop(tuple(box))
        self.image.paste(before)
        self.image.paste(kept, (box[0], box[1]))


def _dashed(points: list[tuple[float, float]], dashes: list[float]) -> Iterator[list[tuple[float, float]]]:
    """Cut a line into dashes; the pattern runs on around corners."""
    place, left, on = 0, dashes[0], True
    for (x1, y1), (x2, y2) in pairwise(points):
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        done = 0.0
        while length - done > 1e-9:
            step = min(left, length - done)
            if on:
                yield [(x1 + (x2 - x1) * at / length, y1 + (y2 - y1) * at / length) for at in (done, done + step)]
            done, left = done + step, left - step
            if left <= 1e-9:
                place, on = (place + 1) % len(dashes), not on
                left = dashes[place]


def _points(item: ElementTree.Element, x: float, y: float) -> list[tuple[float, float]]:
    values = _numbers(item.get("points", ""))
    return [(x + a, y + b) for a, b in zip(values[::2], values[1::2], strict=True)]


def _number(item: ElementTree.Element, name: str, default: float = 0.0) -> float:
    return float(item.get(name, default))


def _numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


@lru_cache(maxsize=64)
def _font(size: int, bold: bool, korean: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a typeface of this machine that has the letters, else Pillow's own."""
    installed = _installed()
    for name in (*KOREAN, *FONTS[bold]) if korean else FONTS[bold]:
        if name in installed:
            return ImageFont.truetype(str(installed[name]), size)
    return ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _installed() -> Mapping[str, Path]:
    wanted = {*FONTS[False], *FONTS[True], *KOREAN}
    return {path.name: path for folder in FOLDERS for path in Path(folder).rglob("*.[to]t[fc]") if path.name in wanted}
