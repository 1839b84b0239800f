"""Dirty and clean texts and NumPy archives."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability.dirty_corpus import DIABETES, DIGITS, IRIS, PROSE, case, digit, encoded, put


def text(name: str, content: str | bytes, *faults: tuple[str, str, str], file: str = "t.txt", **rest: Any) -> None:
    case(name, *faults, **rest)(lambda root: put(root / file, content))


def line(number: int, change: Any) -> bytes:
    """Return the prose with one line changed, as bytes."""
    found = PROSE.encode().split(b"\n")
    found[number - 1] = change(found[number - 1])
    return b"\n".join(found)


LENGTH = len(PROSE)
WORDS = PROSE.split()
HANGUL = "".join(chr(0xAC00 + (ord(letter) * 37 + place * 11) % 11172) + (" " if place % 5 == 0 else "")
                 for place, letter in enumerate(PROSE))  # fmt: skip

text(
    "a byte that is not UTF-8",
    line(9, lambda old: old + b"\xe9 end"),
    ("error", "t.txt: line 9", "is not UTF-8 (0xe9)"),
)
text("many lines not UTF-8", PROSE.replace("e", "é").encode("latin-1"), ("error", "t.txt: line 3", "is not UTF-8"),
     ("error", "t.txt", "more lines are not UTF-8"), also=("of the file is not UTF-8",))  # fmt: skip
text(
    "text of Korean Windows",
    "가나다라 마바사\n".encode("cp949") * 900,
    ("error", "t.txt: line 1", "is not UTF-8"),
    also=("",),
)
text("UTF-16 text", PROSE.encode("utf-16"), ("error", "t.txt", "UTF-16"))
text("zero bytes in a text", line(7, lambda old: old + b"\0\0"), ("error", "t.txt: line 7", "zero bytes"))
text("empty text", "", ("error", "t.txt", "is empty"))
text("blank text", " \n\n\t\n", ("error", "t.txt", "is empty"))
text("shorter than a window", PROSE[:200], ("error", "t.txt", "fewer than one window"))
text("shorter than a long window", PROSE, ("error", "t.txt", "fewer than one window"), context=LENGTH)
text("nothing to validate on", PROSE, ("error", "t.txt", "takes two to predict"), valid=0.00001)
text("a short text", PROSE[:3000], ("warning", "t.txt", "learn it by heart"))
text("one endless line", PROSE.replace("\n", " "), ("note", "t.txt", "one line"))
text("mixed line ends", PROSE.replace("\n", "\r\n", 40), ("warning", "t.txt: line 1", "mixes line ends"))
text("line ends of an old Macintosh", PROSE.replace("\n", "\r"), ("warning", "t.txt", "line ends"))
text("lost characters", line(12, lambda old: old + "\ufffd\ufffd".encode()), ("warning", "t.txt: line 12", "was lost"))
text("mojibake", PROSE.replace("the ", "thé “").encode().decode("cp1252", "replace").replace("\ufffd", "x"),
     ("warning", "t.txt: line", "decoded wrongly"))  # fmt: skip
text("mojibake of Korean", HANGUL.encode().decode("latin-1"), ("warning", "t.txt: line", "decoded wrongly"))
text("a byte order mark", "\ufeff" + PROSE, ("note", "t.txt", "byte order mark"))
text(
    "a byte order mark in the middle",
    PROSE[:7000] + "\ufeff" + PROSE[7000:],
    ("warning", "t.txt: line", "byte order mark"),
)
text("control characters", line(5, lambda old: b"\x1b[31m" + old), ("warning", "t.txt: line 5", "control characters"))
text("the same text twice", PROSE + "\n" + PROSE, ("warning", "t.txt", "stands in the training part too"))
text(
    "the same text twice, one line",
    (PROSE * 2).replace("\n", " "),
    ("warning", "t.txt", "stands in the training part too"),
)
text("held out for the test twice", PROSE + "\n" + PROSE, ("warning", "t.txt", "of test stands in the training part too"),
     also=("of valid stands",), test=0.2)  # fmt: skip
text("one character", "a" * 20_000, ("error", "t.txt", "different characters"), also=("stands in the training",))
text("a picture named txt", encoded(digit(3, 0, 200), "BMP"), ("error", "t.txt", ""), also=("",))
text("a compressed text named txt", gzip.compress(PROSE.encode()), ("error", "t.txt", ""), also=("",))
text(
    "a PDF named txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 40, ("error", "t.txt", "PDF"), also=("",)
)
text("a web page named txt", f"<!DOCTYPE html><html><body>{PROSE}</body></html>", ("warning", "t.txt", "HTML"))
text("a rich text named txt", "{\\rtf1\\ansi " + PROSE, ("warning", "t.txt", "RTF"))
text("a name that tells nothing", PROSE, ("error", "t.story", "cannot tell from its name"), file="t.story")


@case("a text that links to nothing", ("error", "t.txt", "leads nowhere"))
def _(root: Path) -> Path:
    (root / "t.txt").symlink_to(root / "gone.txt")
    return root / "t.txt"


# ------------------------------------------------------------------------------------------------ arrays

PIXELS, LABELS = DIGITS.images[:200].astype(np.uint8) * 15, DIGITS.target[:200].astype(np.int64)
_, FIRST = np.unique(IRIS.data, axis=0, return_index=True)
ORDER = np.random.default_rng(0).permutation(FIRST)
FEATURES, KINDS = IRIS.data[ORDER].astype(np.float32), IRIS.target[ORDER]


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def arrays(
    name: str, content: bytes | dict[str, Any], *faults: tuple[str, str, str], file: str = "t.npz", **rest: Any
) -> None:
    data = saved(**content) if isinstance(content, dict) else content
    case(name, *faults, **rest)(lambda root: put(root / file, data))


def spoiled(values: np.ndarray, place: Any, value: Any) -> np.ndarray:
    copy = values.copy()
    copy[place] = value
    return copy


def splits(x: np.ndarray, y: np.ndarray, cut: int = 100) -> dict[str, np.ndarray]:
    return {"train_x": x[:cut], "train_y": y[:cut], "test_x": x[cut:], "test_y": y[cut:]}


T = "t.npz"
arrays("array of objects", saved(x=np.array([{"a": 1}], dtype=object), y=LABELS[:1]), ("error", T, "Python objects"))
arrays("labels that are objects", saved(x=FEATURES, y=KINDS.astype(object)), ("error", T, "Python objects"))
arrays("an answer too few", {"x": FEATURES, "y": KINDS[:-1]}, ("error", T, "examples, 'y' has"))
arrays("NaN in an array", {"x": spoiled(FEATURES, (7, 2), np.nan), "y": KINDS}, ("error", T, "rows 7"))
arrays("infinity in an array", {"x": spoiled(FEATURES, (7, 2), -np.inf), "y": KINDS}, ("error", T, "rows 7"))
arrays("NaN in the answers", {"x": FEATURES, "y": spoiled(FEATURES[:, 0], 9, np.nan)}, ("error", T, "rows 9"))
arrays("a label without a class", {"x": PIXELS, "y": spoiled(LABELS, 3, 10), "classes": np.array(list("0123456789"))},
       ("error", T, "the label 10"))  # fmt: skip
arrays(
    "a label below zero",
    {"x": PIXELS, "y": spoiled(LABELS, 3, -1), "classes": np.array(list("0123456789"))},
    ("error", T, "the label -1"),
)
arrays(
    "a label below zero without names",
    {"x": PIXELS, "y": spoiled(LABELS, 3, -1)},
    ("warning", T, "class '-1'"),
    also=("has 1 examples", "uneven"),
)
arrays("labels with fractions", {"x": FEATURES, "y": KINDS + 0.5}, ("error", T, "fractions"), kind="classes")
arrays("one-hot labels", {"x": FEATURES, "y": np.eye(3, dtype=np.int64)[KINDS]}, ("error", T, "argmax"))
arrays("pictures as floats", {"x": PIXELS / 255, "y": LABELS}, ("error", T, "pictures are uint8"))
arrays(
    "texts for inputs", {"x": np.array([["a", "b"]] * 20), "y": np.arange(20) % 2}, ("error", T, "inputs are numbers")
)
arrays("no inputs", {"y": KINDS}, ("error", T, "cannot tell inputs"))
arrays("no answers", {"x": FEATURES}, ("error", T, "no answers"))
arrays("names that tell nothing", {"arr_0": FEATURES, "arr_1": KINDS}, ("error", T, "Call them x and y"))
arrays("empty arrays", {"x": FEATURES[:0], "y": KINDS[:0]}, ("error", T, "is empty"))
arrays("no rows", {"x": FEATURES[:, 0], "y": KINDS}, ("error", T, "a row for each example"))
arrays("one class in an array", {"x": FEATURES, "y": KINDS * 0}, ("error", T, "one class only"))
arrays("a constant quantity", {"x": FEATURES, "y": np.full(len(FEATURES), 2.5)}, ("error", T, "nothing to predict"))
arrays(
    "a constant column in an array",
    {"x": spoiled(FEATURES, (slice(None), 1), 4), "y": KINDS},
    ("warning", T, "never vary"),
)
arrays("cut archive", saved(x=FEATURES, y=KINDS)[:-40], ("error", T, "not a whole .npz file"))
arrays("no archive", PROSE.encode(), ("error", T, "not a whole .npz file"))
arrays("empty archive file", b"", ("error", T, "not a whole .npz file"))
arrays("one array of its own", b"\x93NUMPY", ("error", "t.npy", "One array is not enough"), file="t.npy")
arrays(
    "splits of other shapes",
    {**splits(FEATURES, KINDS), "test_x": FEATURES[100:, :3]},
    ("error", T, "different shapes"),
)
arrays(
    "answers of other kinds", {**splits(FEATURES, KINDS), "test_y": KINDS[100:] / 2}, ("error", T, "different kinds")
)
arrays(
    "a split without answers",
    {"train_x": FEATURES[:100], "train_y": KINDS[:100], "test_x": FEATURES[100:]},
    ("error", T, "no answers for it"),
)
arrays("no training arrays", {"valid_x": FEATURES, "valid_y": KINDS, "test_x": FEATURES[:9] + 1, "test_y": KINDS[:9]}, ("error", T, "none for train"),
       also=("",))  # fmt: skip
arrays(
    "rows of test in train",
    {**splits(FEATURES, KINDS), "test_x": FEATURES[60:], "test_y": KINDS[60:]},
    ("warning", T, "also in train"),
)
arrays(
    "pictures of test in train",
    {**splits(PIXELS, LABELS), "test_x": PIXELS[90:], "test_y": LABELS[90:]},
    ("warning", T, "also in train"),
)
arrays(
    "a class that train lacks",
    splits(FEATURES, spoiled(KINDS, slice(100, 112), 3)),
    ("error", T, "class '3' is in test but not in train"),
)
arrays(
    "a class that the test array lacks",
    splits(FEATURES, np.concatenate([KINDS[:100], np.minimum(KINDS[100:], 1)])),
    ("warning", T, "test has no examples of class '2'"),
)
arrays(
    "a class of one in an array",
    {"x": FEATURES, "y": spoiled(KINDS, 5, 7)},
    ("warning", T, "class '7' has 1 examples only"),
    also=("uneven",),
)
arrays(
    "uneven classes in an array",
    {"x": FEATURES, "y": (np.arange(len(KINDS)) % 50 == 0).astype(int)},
    ("warning", T, "uneven"),
    also=("examples only",),
)
arrays(
    "equal rows with other answers",
    {"x": spoiled(FEATURES, 3, FEATURES[5]), "y": spoiled(KINDS, 3, (KINDS[5] + 1) % 3)},
    ("warning", T, "rows 3, 5"),
)
arrays("a huge outlier in an array", {"x": spoiled(FEATURES, (11, 1), 1e8), "y": KINDS}, ("warning", T, "rows 11"))


@case("an archive that promises more than it holds", ("error", T, "another number of bytes"))
def _(root: Path) -> Path:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(root / T, "w") as archive:
        archive.writestr("x.npy", file.getvalue())
    return root / T


# ------------------------------------------------------------------------------------------------- clean

text("clean: prose", PROSE)
text("clean: prose of Windows", PROSE.replace("\n", "\r\n"))
text("clean: Korean prose", HANGUL)
text("clean: a text called md", PROSE, file="t.md")
text("clean: accents and quotation marks", PROSE.replace("the ", "thé “").replace("and", "à «et»"))
text("clean: with a test part", PROSE, test=0.1)
arrays("clean: pictures in arrays", {"x": PIXELS, "y": LABELS})
arrays("clean: rows in arrays", {"x": FEATURES, "y": KINDS})
arrays("clean: splits in arrays", splits(FEATURES, KINDS))
arrays(
    "clean: names of classes",
    {"images": PIXELS, "labels": LABELS, "classes": np.array([f"digit {n}" for n in range(10)])},
)
arrays("clean: quantities in arrays", {"x": DIABETES.data, "y": DIABETES.target})
