"""One picture file to pixels: decoded whole, or refused with a reason. The file is only ever read."""

from __future__ import annotations

import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from seodang.core.language import say

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm",
            ".pbm", ".pnm")  # fmt: skip
FORMAT_OF = {".jp": "JPEG", ".jf": "JPEG", ".pn": "PNG", ".we": "WEBP", ".gi": "GIF", ".bm": "BMP", ".di": "BMP", ".ti": "TIFF",
             ".pp": "PPM", ".pg": "PPM", ".pb": "PPM", ".pnm": "PPM"}  # fmt: skip
LARGEST_FILE = 400_000_000
LARGEST_PIXELS = 50_000_000
LARGEST_WEBP_PIXELS = 1 << 24
"""A side of a WebP has 16,383 pixels at most; its decoder holds a picture four times over and takes a second for twice this."""
LARGEST_UNPACKED = 150_000_000
"""Bytes of the pixels of a PNG or JPEG before they are brought to 8 bits: a PNG, which has the slowest decoder, takes up to
0.7 s for as many, and a progressive JPEG three times the memory. 50 million pixels of RGB, 37 million of RGBA, half of that
with 16 bits: a page at 600 dots an inch has 35 million."""
MOST_SCANS = 50
"""A progressive JPEG comes in 10 scans; each may be 13 bytes long, and takes 2 ms of a large picture."""
STRIP_PIXELS = 1 << 20
"""Pixels of a picture that are brought to 8 bits at once."""
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class Unreadable(Exception):
    """Why a file cannot be used as a picture, in words."""


class Header(NamedTuple):
    """What a picture says of itself before it is decoded; sizes as it is to be seen, turned by its EXIF entry."""

    height: int
    width: int
    grey: bool
    format: str
    frames: bool
    """Whether there are several; the first is used."""
    traits: frozenset[str] = frozenset()
    """What of "turned", "CMYK", "16 bits", "transparent" and "progressive" it is."""


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Make Pillow refuse what it would only warn about. Enter it before threads start: its switches are global."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def check_file(path: Path) -> None:
    """Do nothing if `path` can be opened and held in memory.

    Raises: Unreadable
    """
    try:
        found = path.stat()  # not by opening it: a pipe would wait for ever
    except OSError as error:
        raise Unreadable(say("cannot be read ({reason})", reason=error.strerror)) from None
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(say("is a folder") if stat.S_ISDIR(found.st_mode) else say("is not a regular file"))
    if found.st_size > LARGEST_FILE:
        raise Unreadable(say("has {size:,} bytes, more than {limit:,}", size=found.st_size, limit=LARGEST_FILE))
    if not found.st_size:
        raise Unreadable(say("is empty"))


def read_picture(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises: Unreadable
    """
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(say("cannot be read ({reason})", reason=error.strerror)) from None


def header(path: Path) -> Header:
    """Return what the picture says of itself; its pixels are not read.

    Raises: Unreadable
    """
    check_file(path)
    with _opened(path) as image:
        height, width = image.height, image.width
        turn = image.getexif().get(0x0112, 1)
        if turn in (5, 6, 7, 8):  # lying on its side
            height, width = width, height
        grey = image.mode in GREY or (image.mode in ("P", "PA") and _grey_palette(image))
        form = "JPEG" if image.format == "MPO" else image.format or ""  # a JPEG with more behind it, from a phone
        return Header(height, width, grey, form, bool(getattr(image, "is_animated", False)), _traits(image, turn))


def _traits(image: Image.Image, turn: object) -> frozenset[str]:
    found = {
        "turned": turn in (2, 3, 4, 5, 6, 7, 8),
        "CMYK": image.mode in ("CMYK", "YCCK"),
        "16 bits": image.mode.startswith("I"),
        "transparent": _is_transparent(image),
        "progressive": bool(image.info.get("progressive")),
    }
    return frozenset(name for name, there in found.items() if there)


def is_cut_off(data: bytes, pixels: np.ndarray) -> bool:
    """Return whether parts of a JPEG with these `pixels` are missing although there is an end behind what is left.

    Decoders fill such a gap without a word. A gap takes up what is put before the end; a whole picture does not.
    """
    end = data.rfind(b"\xff\xd9")
    try:
        filled = decode(data[:end] + bytes(range(1, 255)) * 16 + data[end:], pixels.shape[2])
    except Unreadable:
        return False
    return end > 0 and not np.array_equal(filled, pixels)


def decode(data: bytes, channels: int, size: tuple[int, int] | None = None, resize: int = 0) -> np.ndarray:
    """Return the pixels of a picture, uint8 (H, W, C), at `size` (height, width) if it is given.

    The whole file is decoded. The picture is turned as its EXIF entry says; transparency is laid on white; 16-bit
    grey levels are scaled to 8. To change its size the shorter side is scaled and the longer one cut, at both ends alike;
    with `resize` the shorter side is scaled to that first, and `size` is cut out of the middle.

    Raises: Unreadable
    """
    with _opened(io.BytesIO(data)) as image:
        if image.format in ("JPEG", "MPO") and _has_many_scans(data):
            raise Unreadable(say("is a JPEG in more than {limit} scans", limit=MOST_SCANS))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        plain = _flat(image)
        mode = "L" if channels == 1 else "RGB"
        if plain is not image:
            image.close()  # a large one takes 200 MB
        plain = plain if plain.mode == mode else plain.convert(mode)
        if size is not None and resize:
            plain = _middle(plain, size, resize)
        elif size is not None and (plain.height, plain.width) != size:
            plain = ImageOps.fit(plain, (size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(plain, dtype=np.uint8).reshape(plain.height, plain.width, channels)


def _middle(image: Image.Image, size: tuple[int, int], shorter: int) -> Image.Image:
    """Return the middle of a picture whose shorter side is scaled to `shorter`: torchvision's Resize and CenterCrop, to the pixel."""
    scale = (shorter, shorter * image.height // image.width) if image.width <= image.height else (
        shorter * image.width // image.height, shorter)  # fmt: skip
    left, top = (round((have - want) / 2) for have, want in zip(scale, size[::-1], strict=True))
    if scale != image.size:
        image = image.resize(scale, Image.Resampling.BILINEAR)
    return image.crop((left, top, left + size[1], top + size[0]))


@contextmanager
def _opened(source: Path | io.BytesIO) -> Iterator[Image.Image]:
    try:
        with Image.open(source, formats=FORMATS) as image:
            limit = LARGEST_WEBP_PIXELS if image.format == "WEBP" else LARGEST_PIXELS
            if image.width * image.height > limit:
                raise Unreadable(say("has {width} × {height} pixels, more than {limit:,} in all",
                                     width=image.width, height=image.height, limit=limit))  # fmt: skip
            if image.format in ("PNG", "JPEG", "MPO") and (size := _unpacked_bytes(image)) > LARGEST_UNPACKED:
                raise Unreadable(say("has pixels of {size:,} bytes, more than {limit:,}; save it smaller, or with 8 bits",
                                     size=size, limit=LARGEST_UNPACKED))  # fmt: skip
            if image.mode == "LAB":  # its conversion takes seconds where others take a tenth of one
                raise Unreadable(say("is in the colour space LAB, which is not read; save it as RGB"))
            yield image
    except Unreadable:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Unreadable(say("has more than {limit:,} pixels", limit=LARGEST_PIXELS)) from None
    except Image.UnidentifiedImageError:
        raise Unreadable(say("is no picture in a known format ({formats})", formats=", ".join(FORMATS))) from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise Unreadable(say("is damaged or cut off ({reason})", reason=reason)) from None


def _unpacked_bytes(image: Image.Image) -> int:
    deep = any("16" in str(part[3]) for part in image.tile) if isinstance(image, ImageFile.ImageFile) else False
    return image.width * image.height * len(image.getbands()) * (2 if deep else 1)


_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What ends the data of a scan."""


def _has_many_scans(data: bytes) -> bool:
    """Return whether a JPEG has more than `MOST_SCANS` scans before its end; what follows it may hold the same bytes."""
    if data.count(_SCAN) <= MOST_SCANS:
        return False
    scans, at = 0, 2
    while (found := _MARKER.search(data, at)) and found[0] != b"\xff\xd9" and scans <= MOST_SCANS:
        scans += found[0] == _SCAN
        alone = found[0] in (b"\xff\x01", b"\xff\xd8")  # the others say how long they are
        at = found.end() + (0 if alone else int.from_bytes(data[found.end() : found.end() + 2]))
    return scans > MOST_SCANS


def _flat(image: Image.Image) -> Image.Image:
    """Return the picture as L or RGB in 8 bits, transparency laid on white; a large one strip by strip, to save memory."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return _flat_strip(image)
    flat: Image.Image | None = None
    for top in range(0, image.height, rows):
        strip = _flat_strip(image.crop((0, top, image.width, min(top + rows, image.height))))
        flat = flat or Image.new(strip.mode, image.size)
        flat.paste(strip, (0, top))
    assert flat is not None
    return flat


def _flat_strip(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_scaled(np.asarray(image, dtype=np.int64)))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise Unreadable(say("holds floating-point grey levels outside 0…1"))
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if _is_transparent(image):
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, seen).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _is_transparent(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def _scaled(values: np.ndarray) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(say("holds whole numbers outside 0…65535 as grey levels"))
    return ((values + 128) // 257).astype(np.uint8)


def _grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB") or [0, 1, 2]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def format_of(path: Path) -> str | None:
    """Return the format the name of a file promises, or None if it is not the name of a picture."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return None
    return FORMAT_OF.get(suffix) or FORMAT_OF[suffix[:3]]
