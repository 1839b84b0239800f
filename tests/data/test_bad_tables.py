"""Tables that cannot be used are refused, with file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.core.errors import ConfigError, DataError, SeodangError
from seodang.core.recipe import Choice
from seodang.data.dataset import datasets
from seodang.data.raw_table import TableFormat
from seodang.data.table_reading import read_table
from tests.data.tables import colours, table, write

# ----------------------------------------------------------------------------------------------- refusals


GOOD = "".join(f"{row % 5},{row % 2}\n" for row in range(20))
BAD = {
    "empty": ("", {}, "is empty"),
    "blank": ("\n \n", {}, "is empty"),
    "only a header": ("x,y\n", {"header": True}, "has a header but no rows"),
    "ragged": ("x,y\n1,2\n1\n1,2,3\n", {}, r"line 3: has 1 values, the header names 2 columns\. Mend the line\.\n.*line 4: has 3 values"),
    "ragged, no header": ("1,2\n3,4\n5\n", {}, "line 3: has 1 values, most lines have 2"),
    "unclosed quote": ('x,y\n1,2\n"3,4\n5,6\n', {}, "line 3: a quotation mark opened here is never closed"),
    "after a value of two lines": ('x,y\n"a\nb",1\n\n"c\nd"\n', {}, "line 5: has 1 values, the header names 2 columns"),
    "same name twice": ("x,x,y\n1,2,3\n", {"header": True}, "line 1: 2 columns are called 'x'"),
    "no such target": ("size,price\n" + GOOD, {"target": "prise"}, "no column 'prise'.*Did you mean 'price'.*size, price"),
    "no such drop": ("x,y\n" + GOOD, {"drop": ["z"]}, r"no column 'z' \(data.drop\)"),
    "missing target": ("x,y\n" + GOOD + "1,\n2,nan\n", {}, r"lines 22, 23: the target 'y' is missing \(2 of 22 rows\)"),
    "one class": ("x,y\n" + "1,a\n2,a\n" * 5, {}, "the target 'y' is 'a' in every row"),
    "constant quantity": ("x,y\n" + "1,2.5\n2,2.5\n" * 5, {}, "the target 'y' is 2.5 in every row"),
    "text in a quantity": ("x,y\n" + "1,2.5\n2,3.5\n" * 9 + "3,n.a.\n", {}, "line 20: the target 'y' is 'n.a.', which is no number"),
    "classes as quantity": ("x,y\n1,a\n2,b\n", {"kind": "quantity"}, "lines 2, 3: the target 'y' is 'a', which is no number"),
    "another class in every row": (
        "x,y\n" + "".join(f"{row % 5},name{row}\n" for row in range(50)), {}, "50 different values in 50 rows; that is no set"),
    "infinity": ("x,y\n" + GOOD + "inf,1\n", {}, "line 22: column 'x' holds inf: not a finite number"),
    "too large a number": ("x,y\n" + GOOD + "1e999,1\n", {}, "line 22: column 'x' holds 1e999: not a finite number"),
    "slip of the pen": (
        "x,y\n" + "".join(f"{row}.5,{row % 2}\n" for row in range(20)) + "abc,1\n", {},
        "line 22: column 'x' holds 'abc', where 20 other rows hold numbers"),
    "decimal comma": ("x;y\n" + '1,5;0\n2,5;1\n' * 5, {}, "line 2: column 'x' holds '1,5': if the comma is a decimal sign"),
    "too many categories": (
        "x,y\n" + "".join(f"t{row % 15},{row % 2}\n" for row in range(40)), {"max_categories": 10},
        r'too many different texts.*x \(15\).*data.drop=\["x"\].*data.max_categories=15'),
    "nothing to learn from": ("x,y\n" + "7,0\n7,1\n" * 5, {}, "no column is left to learn from. Column 'x' is left out: it is 7"),
    "too few rows": ("x,y\n1,0\n", {"header": True, "kind": "quantity"}, "in every row"),
    "zero bytes": ("x,y\n1,\0\n", {}, "holds zero bytes; it is not a text file"),
    "no such encoding": ("x,y\n" + GOOD, {"encoding": "utf-99"}, "there is no such encoding"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_file_and_line(tmp_path: Path, case: str) -> None:
    text, given, message = BAD[case]
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(SeodangError, match=f"(?s){message}") as caught:
        table(path, **given)
    assert "t.csv" in str(caught.value) or case == "no such encoding"
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,y\n어,1\n".encode() + "나라,0\n".encode("cp949"))
    with pytest.raises(DataError, match=r"line 3: byte 13 of the file is not UTF-8.*data.encoding=cp949"):
        table(path)
    with pytest.raises(DataError, match="begins like UTF-16 text"):
        table(write(tmp_path / "u.csv", "x,y\n1,2\n".encode("utf-16")))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.json", '[{"a": 1}, {"a": }]', "line 1, column 18: is not valid JSON"),
        ("t.json", '[{"a": 1},\n 3]', r"row 2: is int, not a record. .*\[\{\"a\": 1\}"),
        ("t.json", '[{"a": [1, 2]}]', "row 1: column 'a' holds list; a value is a number"),
        ("t.json", '[{"a": 1},\n{"a": 1, "a": 2}]', r"line 2: 'a' stands twice\."),
        ("t.jsonl", '{"a": 1}\n\n{"a": 1, "a": 2}', r"line 3: 'a' stands twice\."),
        (
            "t.json",
            '[{"a": 1},\n\n{"a": NaN}]',
            r"line 3: NaN is not a finite number\. Write null where a value is missing",
        ),
        ("t.jsonl", '{"a": 1}\n{"a": -1e999}', r"line 2: -1e999 is not a finite number\. Write null"),
        ("t.json", '[{"a": "x"},\n {"a": "\\ud800"}]', "line 2: .* is half a character"),
        ("t.jsonl", '{"a": 1}\n{"a": ' + "[" * 64 + "]" * 64 + "}", "line 2: is nested deeper than 64 levels"),
        ("t.json", "[]", "has no records"),
        ("t.json", "[" * 100_000, "line 1: is nested deeper than 64 levels"),
        ("t.jsonl", '{"a": 1}\n{"a": 2\n', "line 2, column 8: is not valid JSON"),
        ("t.parquet", "PAR1", "cannot be read as Parquet"),
        ("t.csv.gz", "no gzip", "is not a whole .gz file"),
    ],
)
def test_other_formats_are_refused_with_a_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        table(write(tmp_path / name, text))


def test_a_table_in_json_may_be_large_and_a_text_may_hold_other_line_ends(tmp_path: Path) -> None:
    rows = [{"a": row, "b": "x\u2028\x85" + "y" * 80, "y": row % 2} for row in range(15_000)]
    for name, text in (
        ("t.json", json.dumps(rows)),
        ("t.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)),
    ):
        assert len(text) > 1_500_000  # one megabyte is for settings
        assert len(read_table(write(tmp_path / name, text), TableFormat()).columns[0].texts) == 15_000


def test_torn_gz_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a whole .gz file \(it ends too early\)"):
        table(write(tmp_path / "t.csv.gz", gzip.compress(b"x,y\n1,2\n" * 99)[:-12]))
    with pytest.raises(DataError, match="there is no such file"):
        table(tmp_path / "nowhere.csv")
    with pytest.raises(ConfigError, match=r"data\.path: is missing"):
        datasets.make(Choice(name="table"), None, 0).prepare()


def test_parquet_kinds_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"when": pa.array([0, 1], pa.date32()), "y": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'when' holds date32"):
        table(tmp_path / "t.parquet")
    pq.write_table(pa.table({"x": ["zqzq", "BBBB"] * 4, "y": [0, 1] * 4}), tmp_path / "u.parquet", compression="none")
    (tmp_path / "u.parquet").write_bytes((tmp_path / "u.parquet").read_bytes().replace(b"zqzq", b"\xff\xfe\xff\xfe"))
    with pytest.raises(DataError, match=r"cannot be read as Parquet: .*UTF8"):
        table(tmp_path / "u.parquet")


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"valid=0.5 and test=0.5 leave nothing to train on"):
        table(write(tmp_path / "t.csv", colours()), valid=0.5, test=0.5)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".tsv", ".json", ".jsonl", ".csv.gz", ".parquet"]))
def test_no_bytes_escape_as_anything_but_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = write(tmp_path_factory.getbasetemp() / f"fuzz{suffix}", data)
    try:
        sizes = table(path).facts.sizes
    except SeodangError as error:
        assert str(error)
    else:
        assert sum(sizes.values()) > 0, "a table of nothing"
