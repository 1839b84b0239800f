"""Readers of archives and pictures, with inputs made for them."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from seodang.core import files
from seodang.core.inputs import ImageInputs
from seodang.data import cifar, decoding, download, picture_loading
from tests.reliability.fuzz import Reader
from tests.reliability.mutation import (
    mutate,
    png_repaired,
)
from tests.reliability.reader_inputs import put

# ---------------------------------------------------------------------------------------------- archives


def archive(members: Sequence[tuple[str, bytes, bytes]]) -> bytes:
    """Return a tar of (name, type, content)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "../../etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()[: 512 * (2 + 3 * len(members))]


def tar(folder: Path) -> Reader:
    names = (cifar.TEST[0], cifar.TRAIN[0], "../../x", "/etc/passwd", "./" + cifar.TEST[0])
    plain = [archive([(names[0], tarfile.REGTYPE, b"abc")]), archive([(name, tarfile.REGTYPE, b"x") for name in names]),
             archive([(names[0], tarfile.SYMTYPE, b""), (names[1], tarfile.LNKTYPE, b""), ("d", tarfile.DIRTYPE, b"")]),
             archive([("n" * 200, tarfile.REGTYPE, b"long name")])]  # fmt: skip
    whole = [gzip.compress(item, mtime=0) for item in plain]
    words = (b"ustar  \0", b"0000777", b"77777777777", b"\x80\0\0\0\xff", b"5", b"2", b"x", b"L", b"S", b"\xff" * 8)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.2:
            return mutate(draw, whole, words)
        data = bytearray(mutate(draw, plain, words))
        if draw.random() < 0.7 and len(data) >= 512:  # a header with the sum of its bytes
            data[148:156] = b" " * 8
            data[148:156] = b"%06o\0 " % sum(data[:512])
        return gzip.compress(bytes(data), 1, mtime=0)

    def read(data: bytes) -> None:
        before = cifar.BATCH_PICTURES, cifar.RECORD_BYTES
        cifar.BATCH_PICTURES, cifar.RECORD_BYTES = 3, 1  # so that small archives are whole
        try:
            cifar.read_members("cifar.tar.gz", data, cifar.TEST)
        finally:
            cifar.BATCH_PICTURES, cifar.RECORD_BYTES = before

    return Reader(make, read)


def gzipped(folder: Path) -> Reader:
    """A file of a named dataset that is wrapped, and whose digest is not the published one."""
    content = b"0123456789" * 5
    official = download.Official("x.gz", "", 10, "0" * 64, len(content), files.digest(content))
    whole = [gzip.compress(content, mtime=0), content, gzip.compress(bytes(10_000), mtime=0)]
    path = folder / "x.gz"
    return Reader(
        lambda draw: mutate(draw, whole, (b"\x1f\x8b\x08", b"\0")),
        lambda data: download.read_verified(path, official),
        put(path),
    )


# ---------------------------------------------------------------------------------------------- pictures


def pictures(folder: Path, kind: str) -> Reader:
    seeds = picture_seeds(kind)
    inputs = [ImageInputs(channels=1, height=3, width=3, mean=(0.5,), std=(0.5,)),
              ImageInputs(channels=3, height=4, width=2, mean=(0.5,) * 3, std=(0.5,) * 3)]  # fmt: skip
    path = folder / f"picture.{kind.lower()}"
    tokens = (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"iCCP", b"eXIf", b"zTXt", b"GIF89a", b"!\xf9\x04", b",", b"RIFF",
              b"VP8X", b"ANIM", b"ALPH", b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xda", b"\xff\xe1", b"Exif\0\0", b"II*\0", b"MM\0*",
              b"BM", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0")  # fmt: skip

    def make(draw: random.Random) -> bytes:
        data = mutate(draw, seeds, tokens, 4_000)
        return png_repaired(data) if kind == "PNG" and draw.random() < 0.7 else data

    def read(data: bytes) -> None:
        found = picture_loading._or_reason(decoding.header, path)
        if not isinstance(found, decoding.Unreadable):
            str(found)
        picture_loading.load_one(path, inputs[zlib.crc32(data) & 1])

    strict = decoding.strict_pillow()
    strict.__enter__()  # as long as this process lives
    return Reader(make, read, put(path))


def picture_seeds(kind: str) -> list[bytes]:
    """Return small whole pictures of a format, of several modes and with what hangs on them."""
    modes = {"JPEG": ("L", "RGB", "CMYK"), "BMP": ("1", "L", "P", "RGB"), "GIF": ("L", "P"), "WEBP": ("RGB", "RGBA"),
             "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB")}[kind]  # fmt: skip
    made = []
    for mode in modes:
        image = Image.new(mode, (5, 4))
        for options in (
            ({"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}, {})
            if kind in ("JPEG", "PNG", "WEBP")
            else ({},)
        ):
            sink = io.BytesIO()
            image.save(sink, kind, **options)
            made.append(of_16_colours(sink.getvalue()) if (kind, mode) == ("BMP", "L") else sink.getvalue())
    if kind in ("GIF", "PNG", "WEBP"):
        frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue", "white")]
        sink = io.BytesIO()
        frames[0].save(sink, kind, save_all=True, append_images=frames[1:])
        made.append(sink.getvalue())
    if kind == "TIFF":
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"):
            sink = io.BytesIO()
            Image.new("1" if compression == "group4" else "L", (9, 9)).save(sink, kind, compression=compression)
            made.append(sink.getvalue())
    return made


def of_16_colours(bmp: bytes) -> bytes:
    """Return a BMP of 256 colours with the first 16 of them: to read all of them takes most of the time of an input."""
    sizes = struct.pack("<I", len(bmp) - 960) + bmp[6:10] + struct.pack("<I", 54 + 64)
    return bmp[:2] + sizes + bmp[14:46] + struct.pack("<I", 16) + bmp[50 : 54 + 64] + bmp[54 + 1024 :]


def picture(kind: str) -> Callable[[Path], Reader]:
    return lambda folder: pictures(folder, kind)
