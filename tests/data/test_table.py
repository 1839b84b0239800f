from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from seodang.core.errors import DataError, SeodangError
from seodang.core.inputs import TableInputs
from seodang.core.recipe import Choice
from seodang.data.csv_reading import find_delimiter, looks_like_header
from seodang.data.dataset import datasets
from seodang.data.held_out import bins, grouped_split
from seodang.data.raw_table import number
from seodang.data.sources import dataset_for_file
from seodang.data.table import Table
from tests.conftest import needs_data
from tests.data.tables import colours, everything, table, write

# ------------------------------------------------------------------------------------------- what is read


def test_numbers_categories_and_holes_become_inputs(tmp_path: Path) -> None:
    data = table(write(tmp_path / "t.csv", colours()))
    inputs = data.facts.inputs
    assert isinstance(inputs, TableInputs)
    size, colour = inputs.columns
    assert (size.kind, size.missing, size.width) == ("number", True, 2)
    assert (colour.kind, colour.categories, colour.missing) == ("category", ("blue", "green", "red"), True)
    assert data.facts.classes == ("cat", "dog")
    features, targets = everything(data)
    assert features.shape == (60, 6)
    assert targets[:4].tolist() == [1, 0, 1, 0]
    assert features[3, :2].tolist() == [0.0, 1.0]  # no size: the mean, and the mark that it is missing
    assert features[0, 2:].tolist() == [0.0, 0.0, 1.0, 0.0]  # red
    assert features[5, 2:].tolist() == [0.0, 0.0, 0.0, 1.0]  # no colour


def test_statistics_are_those_of_the_training_rows_alone(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row * row},{row % 2}\n" for row in range(40))
    data = table(write(tmp_path / "t.csv", text))
    train = data._rows["train"].numpy()
    values = np.array([row * row for row in range(40)], dtype=float)
    column = data.facts.inputs.columns[0]
    assert column.mean == pytest.approx(values[train].mean())
    assert column.std == pytest.approx(values[train].std())
    assert column.mean != pytest.approx(values.mean())
    # held-out values change nothing the model sees
    held_out = sorted(set(range(40)) - set(train.tolist()))
    lines = text.splitlines()
    lines[held_out[0] + 1] = f"123456,{held_out[0] % 2}"
    again = table(write(tmp_path / "u.csv", "\n".join(lines)))
    assert again.facts.inputs == data.facts.inputs


def test_categories_only_held_out_rows_have_are_no_input(tmp_path: Path) -> None:
    rows = [("a" if row % 3 else "b", row % 2) for row in range(40)]
    data = table(write(tmp_path / "t.csv", "c,y\n" + "".join(f"{c},{y}\n" for c, y in rows)))
    odd = data._rows["test"].tolist()[0]
    rows[odd] = ("only-here", rows[odd][1])
    data = table(write(tmp_path / "u.csv", "c,y\n" + "".join(f"{c},{y}\n" for c, y in rows)))
    assert data.facts.inputs.columns[0].categories == ("a", "b")
    assert everything(data)[0][odd].tolist() == [0.0, 0.0]
    assert any("only-here" in note for note in data.facts.notes)


def test_splits_are_disjoint_whole_stratified_and_seeded(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", colours(200))
    data = table(path, valid=0.1, test=0.2)
    rows = torch.cat(list(data._rows.values()))
    assert sorted(rows.tolist()) == list(range(200))
    for name, found in data._rows.items():
        assert data._targets[found].double().mean().item() == pytest.approx(0.5, abs=0.02), name
    assert data.facts.sizes == {"train": 140, "valid": 20, "test": 40}
    assert table(path).facts == data.facts
    assert table(path, seed=1).facts.digest != data.facts.digest
    assert any("seed 0" in note and "140" in note for note in data.facts.notes)


def test_rows_of_a_group_and_equal_rows_stay_together(tmp_path: Path) -> None:
    text = "patient,x,y\n" + "".join(f"p{row // 4},{row % 9},{row % 2}\n" for row in range(120))
    data = table(write(tmp_path / "t.csv", text), group="patient")
    assert [column.name for column in data.facts.inputs.columns] == ["x"]
    homes = {row // 4: name for name, rows in data._rows.items() for row in rows.tolist()}
    assert all(homes[row // 4] == name for name, rows in data._rows.items() for row in rows.tolist())
    twice = "x,y\n" + "".join(f"{row // 3},{(row // 3) % 2}\n" for row in range(120))
    assert _shared(table(write(tmp_path / "u.csv", twice), copies="free"))
    assert not _shared(table(tmp_path / "u.csv", copies="together"))
    few = table(tmp_path / "u.csv")
    assert any("Only 40 of 120 rows are different" in note for note in few.facts.notes)
    some = table(write(tmp_path / "v.csv", twice + "".join(f"{row + 100},{row % 2}\n" for row in range(200))))
    assert not _shared(some)
    assert any("80 copies" in note for note in some.facts.notes)


def _shared(data: Table) -> set[float]:
    """Return what the splits share."""
    train, *others = (set(data._features[rows, 0].tolist()) for rows in data._rows.values())
    return train & set().union(*others)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("semicolon.csv", "a;b;y\n1,5;2;u\n2,5;3;v\n"),
        ("tab.tsv", "a\tb\ty\n1.5\t2\tu\n2.5\t3\tv\n"),
        ("crlf.csv", "a,b,y\r\n1.5,2,u\r\n\r\n2.5,3,v\r\n"),
        ("bom.csv", "\ufeffa,b,y\n1.5,2,u\n2.5,3,v\n"),
        ("quoted.csv", '"a","b","y"\n"1.5","2","u"\n"2.5","3","v"'),
        ("lines.jsonl", '{"a": 1.5, "b": 2, "y": "u"}\n\n{"a": 2.5, "b": 3, "y": "v"}\n'),
        ("list.json", '[{"a": 1.5, "b": 2, "y": "u"}, {"a": 2.5, "b": 3, "y": "v"}]'),
    ],
)
def test_every_way_to_write_a_table_gives_the_same(tmp_path: Path, name: str, text: str) -> None:
    decimal = "," if ";" in text else "."
    data = table(write(tmp_path / name, text), valid=0.0, test=0.0, decimal=decimal)
    assert [(column.name, column.mean, column.std) for column in data.facts.inputs.columns] == [
        ("a", 2.0, 0.5),
        ("b", 2.5, 0.5),
    ]
    assert data.facts.classes == ("u", "v")


def test_compressed_and_other_encodings(tmp_path: Path) -> None:
    text = "색,y\n" + "빨강,1\n파랑,0\n" * 10
    plain = table(write(tmp_path / "t.csv", text))
    packed = table(write(tmp_path / "t.csv.gz", gzip.compress(text.encode()[:20]) + gzip.compress(text.encode()[20:])))
    korean = table(write(tmp_path / "k.csv", text.encode("cp949")), encoding="cp949")
    assert plain.facts.inputs == packed.facts.inputs == korean.facts.inputs
    assert plain.facts.inputs.columns[0].categories == ("빨강", "파랑")


def test_parquet_reads_numbers_texts_and_holes(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {
        "n": [1, 2, None, 4] * 5,
        "t": ["a", "b", None, "b"] * 5,
        "f": [True, False] * 10,
        "y": [0.5, 1.5, 2.5, 9.0] * 5,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    data = table(tmp_path / "t.parquet", valid=0.0)
    assert [(column.name, column.kind, column.missing) for column in data.facts.inputs.columns] == [
        ("n", "number", True), ("t", "category", True), ("f", "category", False)]  # fmt: skip
    assert data.facts.targets[0].name == "y"


def test_without_a_header_columns_are_numbered(tmp_path: Path) -> None:
    data = table(write(tmp_path / "t.csv", "1,2,a\n3,4,b\n5,7,a\n" * 5))
    assert [column.name for column in data.facts.inputs.columns] == ["column_1", "column_2"]
    assert any("taken for data" in note for note in data.facts.notes)
    named = table(write(tmp_path / "u.csv", "1,2,a\n3,4,b\n5,7,a\n" * 5), header=True)
    assert named.facts.classes == ("a", "b")
    assert [column.name for column in named.facts.inputs.columns] == ["1", "2"]


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["age", "name"], ["3", "x"], ["4", "y"]], True),
        ([["3", "x"], ["4", "y"]], False),
        ([["red", "small"], ["blue", "small"]], False),
        ([["colour", "size"], ["blue", "small"], ["red", "large"]], True),
        ([["a", "a"], ["1", "2"]], True),
    ],
)
def test_header_is_recognised(rows: list[list[str]], header: bool) -> None:
    assert looks_like_header(rows) is header


def test_delimiter_is_what_cuts_lines_alike() -> None:
    assert find_delimiter("a,b\n1,2\n") == ","
    assert find_delimiter("1,5;2\n2,5;3\n") == ";"
    assert find_delimiter("a|b|c\nd|e|f\n") == "|"
    assert find_delimiter("only one\ncolumn\n") == ","


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"] * 10, "classes"),
        (["0", "1"] * 10, "classes"),
        (["1", "2", "3"] * 10, "classes"),
        ([str(value) for value in range(30)], "quantity"),
        (["1.5", "2.5"] * 10, "quantity"),
    ],
)
def test_target_kind_is_decided_and_said(tmp_path: Path, values: list[str], kind: str) -> None:
    text = "x,y\n" + "".join(f"{row * 7 % 5},{value}\n" for row, value in enumerate(values))
    data = table(write(tmp_path / "t.csv", text))
    assert (data.facts.classes is not None) == (kind == "classes")
    assert any("is taken for" in note for note in data.facts.notes)
    other = {"classes": "quantity", "quantity": "classes"}[kind]
    if values[0] not in "ab" and len(values) < 30:
        assert (table(tmp_path / "t.csv", kind=other).facts.classes is not None) == (other == "classes")


def test_classes_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row * 3 % 7},{[10, 9, -1][row % 3]}\n" for row in range(30))
    assert table(write(tmp_path / "t.csv", text)).facts.classes == ("-1", "9", "10")
    text = "x,y\n" + "".join(f"{row * 3 % 7},{['k10', 'k9', 'k²'][row % 3]}\n" for row in range(30))
    assert table(write(tmp_path / "u.csv", text)).facts.classes == ("k9", "k10", "k²")


def test_useless_columns_are_left_out_and_said(tmp_path: Path) -> None:
    text = "id,same,name,empty,x,y\n" + "".join(f"{row},7,n{row}x,,{row % 5},{row % 2}\n" for row in range(40))
    data = table(write(tmp_path / "t.csv", text))
    assert [column.name for column in data.facts.inputs.columns] == ["x"]
    for name in ("id", "same", "name", "empty"):
        assert any(f"Column '{name}' is left out" in note for note in data.facts.notes), name
    assert [column.name for column in table(tmp_path / "t.csv", keep=["id"]).facts.inputs.columns] == ["id", "x"]


def test_settings_choose_columns(tmp_path: Path) -> None:
    text = "a,code,y\n" + "".join(f"{row % 5},{row % 3},{row % 2}\n" for row in range(40))
    data = table(write(tmp_path / "t.csv", text), categorical=["code"], drop=["a"])
    assert [(column.name, column.categories) for column in data.facts.inputs.columns] == [("code", ("0", "1", "2"))]
    assert table(tmp_path / "t.csv", target="a").facts.classes == ("0", "1", "2", "3", "4")


# ----------------------------------------------------------------------------------------- another file


def test_a_model_is_judged_on_another_file_with_what_it_was_trained_with(tmp_path: Path) -> None:
    facts = table(write(tmp_path / "t.csv", colours())).facts
    other = write(tmp_path / "u.csv", "kind,extra,colour,size\ndog,9,red,100\ncat,9,violet,\ncat,9,blue,1.5\n")
    data = table(other, adopt=facts, target="kind")
    assert data.facts.inputs == facts.inputs
    assert data.facts.classes == facts.classes
    assert data.facts.sizes == {"test": 3}
    features, targets = everything(data)
    assert targets.tolist() == [1, 0, 0]
    assert features[1].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert features[0, 0].item() == pytest.approx((100 - facts.inputs.columns[0].mean) / facts.inputs.columns[0].std)
    assert any("violet" in note for note in data.facts.notes)
    assert data.baseline("test") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size,kind\n1,cat\n", "has no column 'colour', which the model was trained with"),
        (
            "size,colour,kind\nbig,red,cat\n",
            "line 2: column 'size' holds 'big'; the model was trained with numbers there",
        ),
        ("size,colour,kind\n1,red,horse\n", r"line 2: 'horse' is not among the classes .*\(cat, dog\)"),
        ("size,colour,kind\n1,red,Dog\n", "line 2: 'Dog' is not among.* Did you mean 'dog'?"),
        ("kind,size,colour\ncat,1,red\n", "last column, 'colour', is an input of the model"),
    ],
)
def test_another_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    facts = table(write(tmp_path / "t.csv", colours())).facts
    with pytest.raises(SeodangError, match=message):
        table(write(tmp_path / "u.csv", text), adopt=facts)


def test_a_quantity_is_standardised_by_the_training_rows(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row % 7},{row}.25\n" for row in range(50))
    data = table(write(tmp_path / "t.csv", text))
    target = data.facts.targets[0]
    train = data._targets[data._rows["train"]]
    assert train.mean().item() == pytest.approx(0, abs=1e-6)
    assert train.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    again = table(tmp_path / "t.csv", adopt=data.facts)
    torch.testing.assert_close(again._targets, data._targets)
    assert again.facts.targets == (target,)


# ------------------------------------------------------------------------------------- parts, real tables


def test_grouped_split_keeps_groups_and_shares() -> None:
    labels = torch.arange(300) % 2
    groups = [row // 3 for row in range(300)]
    parts = grouped_split(labels, groups, {"valid": 0.1, "test": 0.2}, 0)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(300))
    where = {row: name for name, rows in parts.items() for row in rows.tolist()}
    assert all(where[row] == where[row // 3 * 3] for row in range(300))
    assert len(parts["test"]) == pytest.approx(60, abs=6)
    assert "test" not in grouped_split(labels, None, {"test": 0.0}, 0)


def test_bins_are_equal_parts_of_the_sorted_values() -> None:
    values = torch.tensor([5.0, 1.0, 9.0, 3.0] * 25)
    found = bins(values)
    assert found.unique(return_counts=True)[1].tolist() == [10] * 10
    assert values[found == 0].max() <= values[found == 9].min()
    assert bins(torch.tensor([1.0, 2.0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3.0), ("-1.5e3", -1500.0), ("1_000", None), ("nan", None), ("0x10", None), ("", None), ("٣", 3.0)],
)
def test_what_counts_as_a_number(text: str, value: float | None) -> None:
    assert number(text) == value
    assert number("1,5", ",") == 1.5
    assert number("1.5", ",") is None


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer", "diabetes"])
def test_built_in_tables_need_no_file(name: str) -> None:
    data = datasets.make(Choice(name=name), None, 0)
    data.prepare()
    assert data.facts.source.startswith("scikit-learn")
    assert set(data.facts.sizes) == {"train", "valid", "test"}
    assert not any("last column" in note for note in data.facts.notes)


@needs_data("tabular")
@pytest.mark.parametrize(
    ("name", "rows", "width", "answers"),
    [
        ("iris.csv", 150, 4, 3), ("abalone.csv", 4177, 10, None), ("housing.csv", 506, 13, None),
        ("wine.csv", 178, 13, 3), ("adult-train.csv.gz", 32561, 108, 2),
    ],
)  # fmt: skip
def test_real_tables(name: str, rows: int, width: int, answers: int | None) -> None:
    data = table(Path(os.environ["SEODANG_DATA"]) / "tabular" / name)
    assert sum(data.facts.sizes.values()) == rows
    assert data.facts.known()["in_features"] == width
    assert (len(data.facts.classes) if data.facts.classes else None) == answers
    assert torch.isfinite(data._features).all()


@needs_data("tabular")
def test_horse_colic_has_holes_marked() -> None:
    data = table(Path(os.environ["SEODANG_DATA"]) / "tabular" / "horse-colic.csv")
    missing = [column.name for column in data.facts.inputs.columns if column.missing]
    assert len(missing) >= 18
    assert {"column_4", "column_21"} <= set(missing)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "table"),
        ("A.CSV.GZ", "table"),
        ("a.jsonl", "table"),
        ("a.npz", "arrays"),
        ("a.txt", "text"),
        ("a.md", "text"),
    ],
)
def test_files_are_known_by_their_names(name: str, kind: str) -> None:
    assert dataset_for_file(Path(name)) == kind


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.jpg", "give the folder they are in"),
        ("a.npy", "numpy.savez"),
        ("a.xlsx", "Save the sheet as CSV"),
        ("a", ""),
    ],
)
def test_files_nobody_knows_are_refused(name: str, hint: str) -> None:
    with pytest.raises(DataError, match=f"cannot tell from its name what it holds. Tables: .csv.*{hint}"):
        dataset_for_file(Path(name))


def test_facts_survive_being_written(tmp_path: Path) -> None:
    facts = table(write(tmp_path / "t.csv", colours())).facts
    assert type(facts).of(json.loads(json.dumps(facts.values()))) == facts
