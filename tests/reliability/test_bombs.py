"""I23, T39: pictures, tables and archives of somebody else: none takes long, takes much memory or writes outside."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seodang.core.errors import DataError
from seodang.core.inputs import ImageInputs
from seodang.data import cifar, download
from seodang.data.array_reading import read_arrays
from seodang.data.mnist import read_npz
from seodang.data.picture_loading import load_one
from seodang.data.raw_table import TableFormat
from seodang.data.table_reading import read_table
from tests.reliability.fuzz import MEMORY, SECONDS, forget_peak, peak
from tests.reliability.mutation import stored_zip

# -------------------------------------------------------------------------------- pictures, tables, archives


def png(width: int, height: int, bits: int = 1, kind: int = 0, woven: bool = False, rule: int = 0) -> bytes:
    """Return a PNG of one colour, as small as it can be: with `bits` for a value, of the colour type `kind`.

    It may be `woven` of seven pictures (interlaced); each row is to be added to its neighbours by `rule`.
    """

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)

    def rows(left: int, top: int, right: int, down: int) -> bytes:
        values = -(-(width - left) // right) * {0: 1, 2: 3, 6: 4}[kind]
        return (bytes([rule]) + bytes(-(-values * bits // 8))) * -(-(height - top) // down)

    parts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    packer = zlib.compressobj(1)
    packed = b"".join([packer.compress(rows(*part)) for part in (parts if woven else [(0, 0, 1, 1)])]) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, woven))
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


def jpeg(scans: int, after: bytes = b"", side: int = 6_000, parts: int = 4) -> bytes:
    """Return a progressive JPEG whose scans are 13 bytes long; libjpeg fills in what they leave out."""

    def segment(kind: int, body: bytes) -> bytes:
        return bytes([255, kind]) + (len(body) + 2).to_bytes(2) + body

    shape = struct.pack(">BHHB", 8, side, side, parts)
    frame = segment(0xC2, shape + b"".join(bytes([part + 1, 0x11, 0]) for part in range(parts)))
    tables = segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC4, b"\x10\1\1" + bytes(14) + b"\xe0\0")
    return b"\xff\xd8" + tables + frame + b"".join(
        segment(0xDA, bytes([1, number % parts + 1, 0, 1, 63, 0])) + after for number in range(scans)) + b"\xff\xd9"  # fmt: skip


COLOUR = ImageInputs(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize("data", [
    png(7_000, 7_000, 8, 0, True, 4), png(7_000, 7_000, 8, 2, True, 4), png(6_000, 6_200, 8, 6, True, 4), png(5_000, 5_000, 16, 2, True, 4),
    png(4_300, 4_300, 16, 6, True, 4), jpeg(50), jpeg(50, side=7_000, parts=3),
], ids=["grey", "RGB", "RGBA", "RGB-16", "RGBA-16", "JPEG-CMYK", "JPEG"])  # fmt: skip
def test_the_slowest_pictures_that_are_taken_take_less_than_a_second(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    before, began = forget_peak(), time.process_time()
    assert load_one(tmp_path / "x", COLOUR).shape == (8, 8, 3)
    assert time.process_time() - began < SECONDS
    assert peak() - before < MEMORY


@pytest.mark.parametrize(("data", "message"), [
    (png(7_100, 7_100), "7100 × 7100 pixels, more than 50,000,000"),
    (png(6_200, 6_200, 8, 6), "has pixels of 153,760,000 bytes, more than 150,000,000; save it smaller"),
    (png(5_100, 5_100, 16, 2), "bytes, more than 150,000,000"),
    (png(4_400, 4_400, 16, 6), "bytes, more than 150,000,000"), (jpeg(50, side=6_200), "bytes, more than 150,000,000"),
    (jpeg(51), "is a JPEG in more than 50 scans"),
    (jpeg(4_000, b"\xff\x01"), "is a JPEG in more than 50 scans"),
])  # fmt: skip
def test_pictures_that_would_take_longer_are_refused_at_once(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    began = time.process_time()
    with pytest.raises(DataError, match=message):
        load_one(tmp_path / "x", COLOUR)
    assert time.process_time() - began < 0.3


def test_what_follows_the_end_of_a_jpeg_is_no_scan(tmp_path: Path) -> None:
    """Telephones put a film behind a picture, with any bytes in it."""
    sink = io.BytesIO()
    Image.new("RGB", (9, 9)).save(sink, "JPEG", progressive=True)
    (tmp_path / "x").write_bytes(sink.getvalue() + b"\xff\xda\0\2" * 100)
    assert load_one(tmp_path / "x", COLOUR).shape == (8, 8, 3)


@pytest.mark.parametrize(("content", "message"), [
    (png(13_000, 13_000), "more than 50,000,000"), (png(60_000, 60_000)[:2000], "more than"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture in a known format"), (b"%PDF-1.4", "is no picture"),
    (b"8BPS\0\1" + bytes(40), "is no picture"), (b"SIMPLE  =                    T" + bytes(2000), "is no picture"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
])  # fmt: skip
def test_bombs_and_formats_nobody_asked_for(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    before = peak()
    with pytest.raises(DataError, match=message):
        load_one(tmp_path / "x.png", ImageInputs(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,)))
    assert peak() - before < 64 << 20


def test_a_cut_picture_is_not_read(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        sink = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(sink, kind)
        whole = sink.getvalue()
        (tmp_path / "y").write_bytes(whole)
        assert load_one(tmp_path / "y", COLOUR).shape == (8, 8, 3)
        for share in (0.3, 0.6, 0.9):
            (tmp_path / "y").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(DataError):
                load_one(tmp_path / "y", COLOUR)


def test_a_colour_space_that_takes_seconds_is_refused(tmp_path: Path) -> None:
    Image.new("LAB", (9, 9)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="save it as RGB"):
        load_one(tmp_path / "x.tif", COLOUR)


def tar_of(members: list[tuple[str, bytes, bytes, str]], mode: str = "gz") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=f"w:{mode}", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, kind, content, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname, info.mode = kind, len(content), link, 0o6777
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def zip_of(members: list[tuple[str, bytes, int]]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return sink.getvalue()


NAMES = ("../x", "../../../../tmp/evil", "/tmp/evil", "/etc/cron.d/evil", "a/../../x", "./../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b", "x/.",
         "x" * 300, "CON", "x ", ".ssh/authorized_keys", "x.npy/../../y", "~/x", "$HOME/x", "%2e%2e/x", "\u202egnp.exe")  # fmt: skip
BATCH = cifar.TEST[0]


def evil_archives() -> dict[str, tuple[str, bytes]]:
    """Return name → what reads it and the bytes: names that lead out, links, devices, bombs, lies."""
    found: dict[str, tuple[str, bytes]] = {}
    array = (
        b"\x93NUMPY\1\0"
        + struct.pack("<H", 60)
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }".ljust(59)
        + b"\n"
        + b"1234"
    )
    for name in NAMES:
        safe = name.replace("\0", "_")
        found[f"tar {name[:30]!r}"] = (
            "tar",
            tar_of([(safe, tarfile.REGTYPE, b"evil", ""), (BATCH, tarfile.REGTYPE, b"short", "")]),
        )
        found[f"zip {name[:30]!r}"] = ("npz", zip_of([(name, array, 0o100644), ("x.npy", array, 0o100644)]))
    links = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE,
             "disk": tarfile.BLKTYPE, "folder": tarfile.DIRTYPE, "sparse": tarfile.GNUTYPE_SPARSE, "unknown": b"Z"}  # fmt: skip
    for name, kind in links.items():
        found[f"tar {name}"] = ("tar", tar_of([(BATCH, kind, b"", "/etc/passwd")]))
        found[f"tar {name}, then through it"] = (
            "tar",
            tar_of([("cifar-10-batches-bin", kind, b"", "/tmp"), (BATCH, tarfile.REGTYPE, b"evil", "")]),
        )
    found["zip symbolic link"] = ("npz", zip_of([("x.npy", b"/etc/passwd", stat.S_IFLNK | 0o777)]))
    found["zip twice one name"] = ("npz", stored_zip([(b"x.npy", array), (b"y.npy", array), (b"x.npy", array)]))
    found["zip 2,000 parts"] = ("npz", zip_of([(f"x{n}.npy", array, 0) for n in range(2_000)]))
    found["zip bomb"] = ("npz", zip_of([("x.npy", bytes(300 << 20), 0)]))
    found["zip in zip"] = ("npz", zip_of([("x.npy", zip_of([("x.npy", array, 0)]), 0)]))
    found["gzip bomb in tar"] = ("tar", gzip.compress(bytes(100 << 20), 9))
    found["tar a batch of 8 exabytes"] = ("tar", huge_tar())
    found["gzip bomb as a table"] = ("table", gzip.compress(bytes(200 << 20), 9))
    found["gzip bomb as a data file"] = ("official", gzip.compress(bytes(200 << 20), 9))
    found["tar cut off"] = ("tar", tar_of([(BATCH, tarfile.REGTYPE, b"x" * 5000, "")])[:-30])
    found["zip cut off"] = ("npz", zip_of([("x.npy", array, 0)])[:-9])
    found["zip whose directory lies"] = (
        "npz",
        zip_of([("x.npy", array, 0)]).replace(struct.pack("<I", len(array)), b"\xff\xff\xff\x7f"),
    )
    return found


def huge_tar() -> bytes:
    info = tarfile.TarInfo(BATCH)
    info.size = 2**62
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def read_official(path: Path) -> None:
    download.read_verified(path, download.Official(path.name, "", 10, "0" * 64, 1000, "1" * 64))


READING: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tar": ("a.tar.gz", lambda path: cifar.read_members(path.name, path.read_bytes(), cifar.TEST)),
    "npz": ("a.npz", lambda path: (read_arrays(path), read_npz(path.name, path.read_bytes(), ("x",)))),
    "table": ("a.csv.gz", lambda path: read_table(path, TableFormat())),
    "official": ("a.gz", read_official),
}


def test_no_archive_writes_a_byte_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = evil_archives()
    assert len(archives) >= 60
    home = tmp_path / "a" / "b" / "c"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    for name, (kind, data) in archives.items():
        path = home / READING[kind][0]
        path.write_bytes(data)
        before, began = tree(tmp_path), time.process_time()
        held = peak()
        with pytest.raises(DataError):
            READING[kind][1](path)
        assert time.process_time() - began < 2, name
        assert peak() - held < 300 << 20, name
        assert tree(tmp_path) == before, name
        path.unlink()
    assert not Path("/tmp/evil").exists()
    assert not Path("/etc/cron.d/evil").exists()


def tree(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    )
