from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seodang.core.errors import ConfigError, DataError
from seodang.data.inspect import Finding, inspect
from tests.conftest import needs_data


def digests(root: Path) -> dict[str, tuple[str, int]]:
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in sorted(root.rglob("*")) if path.is_file()}  # fmt: skip


def found(path: Path, **settings: Any) -> list[str]:
    """Return findings as "level where: message", the folder left out; fail if anything at `path` changed."""
    root = path if path.is_dir() else path.parent
    before = digests(root)
    findings = inspect(path, settings)
    assert digests(root) == before
    assert all(isinstance(finding, Finding) and finding.message for finding in findings)
    levels = [finding.level for finding in findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    return [f"{item.level} {item.where}: {item.message}".replace(f"{root}/", "") for item in findings]


def has(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def serious(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("note")]


# ---------------------------------------------------------------------------------------------- tables


BAD_TABLE = """\ufeffid,size,colour,kind,code,price,y
1,1.5,red,7,0,2.5,a
2,2.5,Red,7,0,3.5,a
3,3.5,blue,7,1,4.5,b
4,4.5,red,7,0,5.5,a
5,5.5
6,6.5,red,7,0,7.5,a
7,abc,red,7,1,8.5,b
8,8.5,12,7,1,9.5,b
9,inf,red,7,1,1.5,
10,10.5,red,7,1,11.5,b,more
11,11.5,blue,7,0,12.5,a
12,12.5,blue,7,0,13.5,a
13,13.5,blue,7,0,14.5,a
14,14.5,blue,7,0,15.5,a
15,15.5,blue,7,0,16.5,a
"""


def test_every_problem_of_a_table_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(BAD_TABLE)
    lines = found(path)
    assert has(lines, "error", "line 6", "has 2 values, the header names 7 columns")
    assert has(lines, "error", "line 11", "has 8 values, the header names 7 columns")
    assert has(lines, "error", "line 10", "the target 'y' is missing")
    assert has(lines, "error", "line 8", "column 'size' holds 'abc'")
    assert has(lines, "warning", "class 'b' has 3 examples only")
    assert has(lines, "warning", "line 2", "column 'colour' mixes 1 numbers and 12 texts (here 'red')")
    assert has(lines, "warning", "column 'colour' has values that differ in capitals or spaces only: Red = red")
    assert has(lines, "warning", "column 'code' says the same as the target 'y'", 'data.drop=["code"]')
    assert has(lines, "note", "Column 'kind' is left out: it is 7 in every row")
    assert has(lines, "note", "byte order mark")
    assert len([line for line in lines if line.startswith("error")]) == 4


def test_a_clean_table_has_notes_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("size,colour,y\n" + "".join(f"{row * 7 % 11},{'rgb'[row % 3]},{row % 2}\n" for row in range(60)))
    lines = found(path)
    assert not serious(lines)
    assert has(lines, "note", "Split at random with seed 0")


def test_leaks_and_copies_of_a_quantity_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{row % 7},{row * 2.54:.2f},{row}.0\n" for row in range(40)]
    path.write_text("x,centimetres,inches\n" + "".join(rows) + rows[3] * 2 + "5,12.70,77.0\n")
    lines = found(path)
    assert has(lines, "note", "lines 5, 42, 43", "2 copies of rows")
    assert has(lines, "warning", "lines 7, 44", "1 groups of rows have equal inputs and different answers")
    path.write_text("x,centimetres,inches\n" + "".join(rows))
    assert has(found(path), "warning", "column 'centimetres' says the same as the target 'inches'")
    assert not has(found(path, target="x"), "says the same")


def test_settings_are_those_of_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{row % 2},{row % 5}\n" for row in range(40)))
    assert has(found(path, target="c"), "error", "has no column 'c' (data.target)")
    assert not serious(found(path, target="a"))
    with pytest.raises(ConfigError, match=r"data\.tarjet: is not a setting here\. Did you mean 'target'"):
        inspect(path, {"tarjet": "a"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", "x,y\n가,1\n".encode("cp949"), "line 2: byte 4 of the file is not UTF-8"),
        ("t.json", b"[1, 2", "t.json: line 1: column 6: is not valid JSON"),
        ("t.parquet", b"x", "cannot be read as Parquet"),
        ("t.csv", b'x,y\n1,2\n"3,4\n', "a quotation mark opened here is never closed"),
        ("t.csv", b"x,y\n5,1\n5,0\n", "no column is left to learn from"),
        ("t.npz", b"x", "is not a whole .npz file"),
    ],
)
def test_what_cannot_be_read_at_all_is_a_finding(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert has(found(tmp_path / name), "error", name, message)


def test_nothing_there_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        inspect(tmp_path / "nowhere", {})
    (tmp_path / "x.doc").write_text("x")
    assert has(found(tmp_path / "x.doc"), "error", "cannot tell from its name what it holds")


@needs_data("tabular")
@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("abalone", []), ("german", []), ("glass", []), ("haberman", []), ("horse-colic", []), ("housing", []),
        ("ionosphere", []), ("iris", []), ("phoneme", []), ("pima-indians-diabetes", []), ("sonar", []), ("wheat-seeds", []),
        ("wine", []), ("breast-cancer-wisconsin", []), ("mammography", ["uneven"]),
        ("ecoli", ["'imS' has 2 examples only", "'imL' has 2 examples only", "uneven"]),
    ],
)  # fmt: skip
def test_real_tables_raise_no_false_alarm(name: str, warned: list[str]) -> None:
    findings = [
        item
        for item in inspect(Path(os.environ["SEODANG_DATA"]) / "tabular" / f"{name}.csv", {})
        if item.level != "note"
    ]
    assert len(findings) == len(warned)
    assert all(any(part in item.message for item in findings) for part in warned)


# -------------------------------------------------------------------------------------------- pictures


def noise(path: Path, seed: int, size: tuple[int, int] = (20, 16), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(path, **options)


def test_every_problem_of_a_folder_of_pictures_is_reported_at_once(tmp_path: Path) -> None:
    for index in range(130):
        noise(tmp_path / "cat" / f"{index}.png", index)
    for index in range(4):
        noise(tmp_path / "dog" / f"{index}.png", 500 + index)
    for index in range(6):
        noise(tmp_path / "fox" / f"{index}.jpg", 600 + index, (64, 64))
    cat = tmp_path / "cat"
    (cat / "broken.jpg").write_bytes((tmp_path / "fox" / "0.jpg").read_bytes()[:700])
    (cat / "empty.png").touch()
    (cat / "text.png").write_text("hello")
    noise(cat / "really.jpg", 900, format="PNG")
    Image.new("RGB", (20, 16), "orange").save(cat / "plain.png")
    noise(cat / "tiny.png", 901, (3, 30))
    (cat / "again.png").write_bytes((cat / "0.png").read_bytes())
    (tmp_path / "dog" / "cat.png").write_bytes((cat / "1.png").read_bytes())
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "none").mkdir()
    lines = found(tmp_path)
    assert has(lines, "error", "cat/broken.jpg", "is damaged or cut off")
    assert has(lines, "error", "cat/empty.png", "is empty")
    assert has(lines, "error", "cat/text.png", "is no picture in a known format")
    assert has(lines, "error", "none", "holds no picture")
    assert has(lines, "warning", "cat/really.jpg", "is PNG, not what its name says")
    assert has(lines, "warning", "cat/plain.png", "is all one colour")
    assert has(lines, "warning", "cat/tiny.png", "has 3 × 30 pixels; there is little to see")
    assert has(lines, "note", "cat/0.png", "is the same file as cat/again.png")
    assert has(lines, "warning", "cat/1.png", "is the same file as dog/cat.png, in another class")
    assert has(lines, "warning", "classes are uneven: 'cat' has 134 examples, 'dog' 5")
    assert has(lines, "note", "1 files that are no pictures were passed over: notes.txt")
    assert has(lines, "note", "pictures, all in colour, 3 to 64 pixels wide, 16 to 64 high")
    assert has(found(tmp_path, on_unreadable="skip"), "warning", "cat/empty.png", "is empty")


def test_copies_across_splits_are_errors(tmp_path: Path) -> None:
    for index in range(12):
        noise(tmp_path / "train" / "ab"[index % 2] / f"{index}.png", index)
        noise(tmp_path / "test" / "ab"[index % 2] / f"{index}.png", 50 + index)
    assert not serious(found(tmp_path))
    (tmp_path / "test" / "a" / "leak.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    assert has(found(tmp_path), "error", "train/a/0.png", "same file as test/a/leak.png, in another split")
    assert has(found(tmp_path, on_duplicate="drop"), "warning", "same file as test/a/leak.png, in another split")
    for path in (tmp_path / "test" / "b").iterdir():
        path.unlink()
    noise(tmp_path / "test" / "c" / "0.png", 99)
    lines = found(tmp_path)
    assert has(lines, "error", "test/b", "holds no picture")
    assert has(lines, "error", "class 'c' is in test but not in train")


def test_a_jpeg_cut_off_and_mended_is_noticed(tmp_path: Path) -> None:
    for index in range(12):
        noise(tmp_path / "ab"[index % 2] / f"{index}.jpg", index, (128, 128), quality=90)
    assert not serious(found(tmp_path))
    path = tmp_path / "a" / "0.jpg"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")  # decoders accept this
    assert has(found(tmp_path), "warning", "a/0.jpg", "is cut off: parts of the picture are missing")


def test_folders_without_any_picture(tmp_path: Path) -> None:
    assert has(found(tmp_path), "error", "holds no pictures")
    (tmp_path / "x.png").write_text("x")
    lines = found(tmp_path)
    assert has(lines, "error", "x.png", "is no picture")
    assert has(lines, "error", "none of its 1 pictures can be read")


# --------------------------------------------------------------------------------------- texts, arrays


def test_every_problem_of_a_text_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbfgood\r\nline\n" + b"b\xc3\xa4d \xff\nfine\n" + b"\xb0\xa1\n" + b"\0" + b"x" * 300)
    lines = found(path)
    assert has(lines, "error", "line 3", "byte 19 of the file is not UTF-8 (0xff)")
    assert has(lines, "error", "line 5", "is not UTF-8 (0xb0)")
    assert has(lines, "error", "holds 1 zero bytes")
    assert has(lines, "note", "begins with a byte order mark")
    assert has(lines, "warning", "line 1", "mixes line ends: Windows 1, Unix 4")
    assert has(lines, "warning", "characters only; a model will learn it by heart")
    assert has(lines, "note", "iconv -f CP949")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "error t.txt: is empty"),
        (b" \n\n", "error t.txt: is empty"),
        (b"short", "error t.txt: has 4 characters to train on, fewer than one window (data.context=256)"),
        ("x".encode("utf-16"), "error t.txt: begins like UTF-16 text"),
        (
            "lost \ufffd".encode() + b"x" * 20_000,
            "warning t.txt: line 1: holds 1 times the sign for a character that was lost",
        ),
    ],
)
def test_texts_nothing_can_be_learned_from(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    assert any(line.startswith(message) for line in found(tmp_path / "t.txt"))


def test_a_good_text_has_a_note(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"All work, day {day}: no play {day**3 % 997}.\n" for day in range(1000)))
    lines = found(tmp_path / "t.txt")
    assert not serious(lines)
    assert has(lines, "31,735 characters, 26 different ones, 1,001 lines")
    assert found(tmp_path / "t.txt", context=30_000)[0].startswith("error t.txt: has 28561 characters to train on")


def test_every_problem_of_arrays_is_reported_at_once(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[2, 1] = np.nan
    np.savez(tmp_path / "x.npz", train_x=rows, train_y=np.arange(39) % 2, test_x=rows[:5, :2], test_y=np.arange(5) % 2)
    lines = found(tmp_path / "x.npz")
    assert has(lines, "error", "array 'train_x' holds NaN or infinity in 1 places (rows 2")
    assert has(lines, "error", "'train_x' has 40 examples, 'train_y' has 39 answers")
    assert has(lines, "error", "inputs of different shapes: (2,), (3,)")


def test_oddities_of_arrays(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    rows[:, 1] = 4
    labels = (np.arange(60) == 7).astype(int)
    labels[-1] = 1
    np.savez(tmp_path / "x.npz", train_x=rows[:50], train_y=labels[:50], test_x=rows[48:], test_y=labels[48:])
    lines = found(tmp_path / "x.npz")
    assert has(lines, "warning", "2 examples of test are also in train")
    assert has(lines, "warning", "columns that never vary (counted from 0): 1")
    assert has(lines, "warning", "class '1' has 2 examples only")
    assert has(lines, "warning", "classes are uneven: '0' has 60 examples")
    assert has(lines, "note", "Split by your arrays")
    np.savez(tmp_path / "x.npz", x=rows.astype("float32").reshape(60, 1, 3, 1), y=labels)
    assert has(found(tmp_path / "x.npz"), "error", "pictures are uint8")
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(60) % 3)
    assert not serious(found(tmp_path / "x.npz"))


def test_findings_fit_into_json(tmp_path: Path) -> None:
    buffer = io.StringIO()
    (tmp_path / "t.csv").write_text(BAD_TABLE)
    for finding in inspect(tmp_path / "t.csv"):
        print(finding._asdict(), file=buffer)
    assert set(inspect(tmp_path / "t.csv")[0]._asdict()) == {"level", "where", "message"}


@needs_data("cifar10_jpeg")
def test_real_jpegs_are_told_from_cut_ones(tmp_path: Path) -> None:
    with np.load(Path(os.environ["SEODANG_DATA"]) / "cifar10_jpeg" / "cifar10_jpeg.npz") as archive:
        data, ends = archive["test_bytes"], archive["test_offsets"]
    draw, whole = np.random.default_rng(0), [data[ends[n] : ends[n + 1]].tobytes() for n in range(0, 10_000, 50)]
    for number, content in enumerate(whole):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    assert not serious(found(tmp_path))
    for number, content in enumerate(whole):
        place = int(draw.integers(content.rfind(b"\xff\xda") + 20, len(content) - 12))
        (tmp_path / f"{number}.jpg").write_bytes(content[:place] + b"\xff\xd9")
    assert len([line for line in found(tmp_path) if "is cut off" in line]) >= 0.98 * len(whole)
