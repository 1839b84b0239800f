from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seodang.core.errors import DataError
from seodang.core.inputs import Column, ImageInputs, TableInputs, TokenInputs, VectorInputs
from seodang.data.reading import read_input, read_inputs

GREY = ImageInputs(channels=1, height=4, width=6, mean=(0.5,), std=(0.25,))
COLOUR = ImageInputs(channels=3, height=4, width=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
VECTOR = VectorInputs(size=3, mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 1.0))
TABLE = TableInputs(
    columns=(
        Column(name="size", kind="number", mean=10.0, std=2.0),
        Column(name="colour", kind="category", categories=("red", "light blue"), missing=True),
        Column(name="age", kind="number", mean=0.0, std=1.0, missing=True),
    )
)
ROW = [1.0, 1.0, 0.0, 0.0, 3.0, 0.0]


def test_a_picture_is_read_as_a_model_takes_it(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(values).save(tmp_path / "x.png")
    found = read_input(GREY, str(tmp_path / "x.png"))
    torch.testing.assert_close(found, (torch.from_numpy(values)[None] / 255 - 0.5) / 0.25)
    assert read_inputs(COLOUR, str(tmp_path / "x.png")).shape == (1, 3, 4, 4)
    torch.testing.assert_close(
        read_input(COLOUR, str(tmp_path / "x.png"))[0], torch.from_numpy(values[:, 1:5].copy()) / 255
    )


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.png: cannot be read \(No such file or directory\)\.$"):
        read_input(GREY, str(tmp_path / "nowhere.png"))
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(DataError, match=r"x.png: is no picture in a known format"):
        read_input(GREY, str(tmp_path / "x.png"))
    with pytest.raises(DataError, match=r"is a folder; name the pictures in it"):
        read_input(GREY, str(tmp_path))
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb.png: has 9000 × 9000 pixels, more than 50,000,000"):
        read_input(GREY, str(tmp_path / "bomb.png"))


@pytest.mark.parametrize(
    "text",
    [
        "size=12,colour=red,age=3",
        " age = 3 , colour = red , size = 12.0 ",
        '"size=12",colour=red,age=3',
        '{"size": 12, "colour": "red", "age": 3.0}',
        "12,red,3",
        '[12, "red", 3]',
    ],
)
def test_a_row_can_be_written_in_many_ways(text: str) -> None:
    assert read_input(TABLE, text).tolist() == ROW


@pytest.mark.parametrize(
    "text", ["12,?,", '{"size": 12, "colour": null, "age": null}', "size=12,colour=,age=?", "size=12"]
)
def test_what_is_missing_is_said_to_the_model(text: str) -> None:
    assert read_input(TABLE, text).tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]


def test_values_with_spaces_and_unknown_categories() -> None:
    assert read_input(TABLE, "12,light blue,3").tolist() == [1.0, 0.0, 1.0, 0.0, 3.0, 0.0]
    assert read_input(TABLE, "12,green,3").tolist() == [1.0, 0.0, 0.0, 0.0, 3.0, 0.0]
    assert read_input(TABLE, "?,red,3")[0].item() == 0.0  # no size: the mean


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "size=1,color=red",
            r"There is no column 'color'. Did you mean 'colour'\? Columns: size, colour \(one of red, light blue\), age",
        ),
        ("colour=red,age=1", r"does not say what 'size' is.*write size=\?"),
        ("1,red", r"has 2 values, a row has 3: size, colour .*Write \"a=1,b=2\""),
        ("", r"has 0 values, a row has 3"),
        ("big,red,3", "'size' is a number, not 'big'"),
        ("inf,red,3", "'size' is not a finite number"),
        ("size=1,size=2", "'size' is given twice"),
        ("{size: 1}", "is not valid JSON"),
        ("[[1], 2]", "has 2 values, a row has 3"),
        ('[{"size": 1}, 3]', "is not a row. Write"),
        ("rows.csv", "rows.csv: there is no such file"),
        ('1,"red,3', "has 0 values, a row has 3"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_input(TABLE, text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("named.csv", "other,age,colour,size\n9,3,red,12\n9,4,red,14\n"),
        ("in-order.csv", "12,red,3\n14,red,4\n"),
        ("lines.jsonl", '{"size": 12, "age": 3, "colour": "red"}\n{"size": 14, "age": 4, "colour": "red"}\n'),
        ("tabs.tsv", "size\tcolour\tage\n12\tred\t3\n14\tred\t4\n"),
    ],
)
def test_a_file_gives_all_its_rows(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert read_inputs(TABLE, str(path)).tolist() == [ROW, [2.0, 1.0, 0.0, 0.0, 4.0, 0.0]]
    with pytest.raises(DataError, match="holds 2 inputs; one is wanted here"):
        read_input(TABLE, str(path))


def test_files_of_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("colour,age\nred,3\n")
    with pytest.raises(DataError, match="has no column 'size', which the model was trained with"):
        read_inputs(TABLE, str(path))
    path.write_text("size,colour,age\n1,red,3\n1,red\n")
    with pytest.raises(DataError, match="line 3: has 2 values, the header names 3"):
        read_inputs(TABLE, str(path))
    path.write_text("size,colour,age\n1,red,3\nx,red,3\n")
    with pytest.raises(DataError, match="line 3: column 'size' holds 'x'"):
        read_inputs(TABLE, str(path))


def test_numbers_of_a_vector(tmp_path: Path) -> None:
    for text in ("1,4,5", "[1, 4, 5]", " 1.0, 4, 5e0 "):
        assert read_input(VECTOR, text).tolist() == [0.0, 1.0, 2.0]
    np.save(tmp_path / "x.npy", np.array([[1.0, 4.0, 5.0]] * 2))
    assert read_inputs(VECTOR, str(tmp_path / "x.npy")).tolist() == [[0.0, 1.0, 2.0]] * 2
    np.savez(tmp_path / "x.npz", x=np.array([[1, 4, 5]]))
    assert read_input(VECTOR, str(tmp_path / "x.npz")).tolist() == [0.0, 1.0, 2.0]


def test_vectors_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}, {}], dtype=object))
    for text, message in {
        "1,2": r"has shape \(1, 2\); the model takes 3 numbers",
        "a,b,c": "is not a list of 3 numbers",
        "1,2,nan": "holds numbers that are not finite",
        str(tmp_path / "x.npy"): "it holds Python objects, which are not read",
        str(tmp_path / "nowhere.npz"): "there is no such file",
    }.items():
        with pytest.raises(DataError, match=message):
            read_input(VECTOR, text)


def test_a_home_nobody_has_is_no_file() -> None:
    with pytest.raises(DataError):
        read_input(TABLE, "~nobody-of-this-name/x.csv")


def test_other_kinds_are_not_read_here() -> None:
    with pytest.raises(DataError, match="cannot be read as tokens"):
        read_input(TokenInputs(vocab_size=4, length=4), "hello")
