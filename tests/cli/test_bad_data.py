"""Data that cannot be trained on, met through the command line: named, explained, exit code 2, nothing written or changed."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seodang.core import files
from seodang.core.run import RunFolder

QUICK = ["train.threads=1", "train.epochs=1"]
ROWS = ["length,colour,kind"] + [f"{size},{'red' if size % 2 else 'blue'},{'ab'[size % 2]}" for size in range(40)]


def picture(path: Path, shade: int, cut: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(shade).integers(0, 256, (12, 12), dtype=np.uint8)).save(file, "PNG")
    path.write_bytes(file.getvalue()[:cut])


def photos(folder: Path, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    for place, name in enumerate(classes):
        for number in range(10):
            picture(folder / name / f"{number}.png", 100 * place + number)
    return folder


def empty_folder(folder: Path) -> list[str]:
    return ["digits-cnn", "--data", str(folder)]


def one_class(folder: Path) -> list[str]:
    return ["digits-cnn", "--data", str(photos(folder, ("cat",)))]


def unreadable_picture(folder: Path) -> list[str]:
    (photos(folder) / "cat" / "3.png").write_bytes(b"this is no picture")
    return ["digits-cnn", "--data", str(folder)]


def truncated_picture(folder: Path) -> list[str]:
    picture(photos(folder) / "dog" / "4.png", 4, cut=-30)
    return ["digits-cnn", "--data", str(folder)]


def table(folder: Path, rows: list[str], *words: str) -> list[str]:
    (folder / "table.csv").write_text("\n".join(rows))
    return ["iris-mlp", "--data", str(folder / "table.csv"), *words]


def missing_target(folder: Path) -> list[str]:
    return table(folder, ROWS, "data.target=knid")


def ragged_rows(folder: Path) -> list[str]:
    return table(folder, [*ROWS[:7], "1,red,a,b", *ROWS[7:]], "data.target=kind")


def gap_in_the_target(folder: Path) -> list[str]:
    return table(folder, [*ROWS[:7], "1,red,", *ROWS[7:]], "data.target=kind")


def nan_in_the_target(folder: Path) -> list[str]:
    rows = ["length,price", *(f"{size},{size / 3:.3f}" for size in range(40)), "7,NaN"]
    return ["diabetes-mlp", *table(folder, rows, "data.target=price")[1:]]


def empty_table(folder: Path) -> list[str]:
    return table(folder, [""])


def text_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / "text.txt").write_bytes("서당개 삼 년이면 풍월을 읊는다.\n".encode("euc-kr") * 100)
    return ["shakespeare-gpt", "--data", str(folder / "text.txt")]


def text_too_short(folder: Path) -> list[str]:
    (folder / "text.txt").write_text("Three years at the seodang.")
    return ["shakespeare-gpt", "--data", str(folder / "text.txt")]


def wrong_kind_of_data(folder: Path) -> list[str]:
    return ["digits-cnn", *table(folder, ROWS, "data.target=kind")[1:]]


def classes_for_a_quantity(folder: Path) -> list[str]:
    return ["diabetes-mlp", *table(folder, ROWS, "data.target=kind")[1:]]


def size_that_contradicts(folder: Path) -> list[str]:
    return [*table(folder, ROWS, "data.target=kind"), "model.out_features=5"]


CASES: list[tuple[Callable[[Path], list[str]], str]] = [
    (empty_folder, r"data: .*no pictures"),
    (one_class, r"one class.*'?cat'?"),
    (unreadable_picture, r"cat/3\.png"),
    (truncated_picture, r"dog/4\.png"),
    (missing_target, r"table\.csv.*'knid'.*Did you mean 'kind'"),
    (ragged_rows, r"table\.csv.*line 8.*4.*3"),
    (gap_in_the_target, r"table\.csv.*line 8.*kind"),
    (nan_in_the_target, r"table\.csv.*line 42.*price"),
    (empty_table, r"table\.csv.*empty"),
    (text_that_is_not_utf8, r"text\.txt.*line 1.*UTF-8"),
    (text_too_short, r"text\.txt.*24 tokens.*data\.context=23"),
    (wrong_kind_of_data, r"cnn.*table|table.*image"),
    (classes_for_a_quantity, r"regression.*task\.name=classification|task\.name=classification"),
    (size_that_contradicts, r"model\.out_features=5, but the data has 2"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_bad_data_is_explained(
    make: Callable[[Path], list[str]], message: str, tmp_path: Path, seodang: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    words = make(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    answer = seodang("train", *words, "--run", tmp_path / "run", *QUICK)
    assert answer.code == 2, answer.out
    assert answer.err.startswith("Error: ")
    assert re.search(message, answer.err, re.DOTALL), answer.err
    assert "Traceback" not in answer.out + answer.err
    assert not (tmp_path / "run").exists(), "a run was begun"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("make", [unreadable_picture, truncated_picture])
def test_a_bad_picture_is_left_out_by_an_explicit_setting(make: Any, tmp_path: Path, seodang: Any) -> None:
    words = make(tmp_path / "data")
    answer = seodang("train", *words, "data.on_unreadable=skip", "--run", tmp_path / "run", *QUICK)
    assert answer.code == 0, answer.err
    assert RunFolder(tmp_path / "run").is_complete


def test_a_full_disk_is_explained(tmp_path: Path, seodang: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(files.Disk):
        def write(self, *arguments: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "disk", Full())
    answer = seodang("train", "digits-mlp", "--run", tmp_path / "run", *QUICK)
    assert answer.code == 2
    assert re.search(r"the disk is full.*bytes needed, .* free", answer.err, re.DOTALL), answer.err
    assert "Traceback" not in answer.err
