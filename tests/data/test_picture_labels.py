"""Labels of pictures in a CSV: both forms, splits, and every mistake named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seodang.core.errors import ConfigError, DataError
from seodang.data.folder import rarest
from seodang.data.inspect import inspect
from tests.data.pictures import digests, folder, picture


def labelled(root: Path, text: str, count: int = 6, where: str = "") -> Path:
    for number in range(count):
        picture(root / where / f"{number}.png", number)
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root


def read(root: Path, **settings: object):  # type: ignore[no-untyped-def]
    return folder(root, labels="labels.csv", **{"valid": 0.0, "test": 0.0, **settings})


def test_labels_between_semicolons(tmp_path: Path) -> None:
    root = labelled(
        tmp_path, "path,labels\n0.png,고양이;dog\n1.png,dog\n2.png,\n3.png,dog ; dog\n4.png,고양이\n5.png,dog|고양이\n"
    )
    before = digests(root)
    data = read(root)
    assert data.facts.classes == ("dog", "고양이")
    assert data.facts.several
    assert data.split("train").labels.tolist() == [[1, 1], [1, 0], [0, 0], [1, 0], [0, 1], [1, 1]]
    assert digests(root) == before


def test_a_column_of_zeros_and_ones_for_each_label(tmp_path: Path) -> None:
    root = labelled(tmp_path, "file;zebra;ant\n0.png;1;0\n./1.png;0;1\n2.png;1;1\n3.png;;true\n4.png;0;0\n5.png;no;1\n")
    data = read(root)
    assert data.facts.classes == ("zebra", "ant")
    assert data.split("train").labels.tolist() == [[1, 0], [0, 1], [1, 1], [0, 1], [0, 0], [0, 1]]


def test_one_label_for_each_picture_makes_classes_and_splits_are_kept(tmp_path: Path) -> None:
    rows = "".join(
        f"{number}.png,{'cat' if number % 2 else 'dog'},{'test' if number > 3 else 'train'}\n" for number in range(6)
    )
    data = read(labelled(tmp_path, f"path,label,split\n{rows}"))
    assert not data.facts.several
    assert data.facts.classes == ("cat", "dog")
    assert data.split("train").labels.tolist() == [1, 0, 1, 0]
    assert data.split("test").labels.tolist() == [1, 0]


def test_folders_of_splits_count_where_the_csv_says_nothing(tmp_path: Path) -> None:
    labelled(
        tmp_path,
        "path,label\n"
        + "".join(
            f"{part}/{number}.png,{'cat' if number % 2 else 'dog'}\n"
            for part in ("train", "test")
            for number in range(4)
        ),
        4,
        "train",
    )
    for number in range(4):
        picture(tmp_path / "test" / f"{number}.png", 40 + number)
    assert {name: len(read(tmp_path).split(name)) for name in ("train", "test")} == {"train": 4, "test": 4}


GOOD = "".join(f"{number}.png,{'cat' if number % 2 else 'dog'}\n" for number in range(6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"path,label\n{GOOD}lost.png,cat\n", r"labels\.csv: line 8: 'lost\.png' is not in "),
        (f"path,label\n{GOOD}../0.png,cat\n", r"line 8: '\.\./0\.png' is not in "),
        (f"path,label\n{GOOD}0.png,cat\n", r"line 8: '0\.png' stands in .*line 2 already"),
        (f"path,label\n{GOOD},cat\n", r"line 8: has labels but no path"),
        ("path,cat,dog\n0.png,1,2\n1.png,0,1\n", r"line 2: column 'dog' holds '2'"),
        ("path,cat,dog\n0.png,1,0\n1.png,1,0\n", r"no picture has the label 'dog'"),
        ("path,label\n0.png,cat\n1.png,cat\n", r"there are 1 labels"),
        (f"path,label,split\n{GOOD.replace(chr(10), ',traim' + chr(10))}", r"the split 'traim' is none of"),
        ("path,label,split\n0.png,cat,train\n1.png,dog,test\n2.png,cat,test\n", r"no training picture has the label 'dog'"),
        ("path,label,split\n0.png,cat,train\n1.png,dog,train\n2.png,cat,\n", r"some pictures have a split and some have not"),
    ],
    ids=["not in the folder", "outside", "twice", "no path", "no mark", "no picture", "one label", "split", "not in train", "half"],
)  # fmt: skip
def test_what_is_wrong_with_a_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    root = labelled(tmp_path, text)
    with pytest.raises(DataError, match=message):
        read(root)
    assert any(finding.level == "error" for finding in inspect(root, {"labels": "labels.csv"}))


def test_pictures_without_a_row_are_left_out_and_named(tmp_path: Path) -> None:
    root = labelled(tmp_path, "path,label\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n")
    data = read(root)
    assert data.facts.sizes["train"] == 4
    assert any("4.png, 5.png" in note for note in data.facts.notes)
    assert any(
        finding.level == "warning" and "4.png" in finding.message for finding in inspect(root, {"labels": "labels.csv"})
    )


def test_no_csv_and_no_header_are_refused(tmp_path: Path) -> None:
    root = labelled(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="needs a header"):
        read(root)
    with pytest.raises(DataError, match=r"data\.labels=other\.csv: is neither in"):
        folder(root, labels="other.csv")


def test_pictures_are_split_by_their_rarest_label() -> None:
    labels = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    assert rarest(labels).tolist() == [1, 0, 3, 2]
