"""Dirty and clean tables: CSV, TSV, JSON, Parquet."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability.dirty_corpus import case, changed, columns, comma, flowers, patients, put

NAMES, ROWS = flowers()
GOOD = comma(NAMES, ROWS)


def table(name: str, content: str | bytes, *faults: tuple[str, str, str], file: str = "t.csv", **rest: Any) -> None:
    case(name, *faults, **rest)(lambda root: put(root / file, content))


def cell(row: int, place: int, value: str, source: Any = flowers) -> str:
    """Return a table with one value changed; row 0 is line 2."""
    return changed(lambda names, rows: rows[row].__setitem__(place, value), source)


def each(place: int, change: Any, source: Any = flowers) -> str:
    def apply(names: list[str], rows: list[list[str]]) -> None:
        for index, row in enumerate(rows):
            row[place] = change(index, row[place])

    return changed(apply, source)


def lines(*changes: tuple[int, str], text: str = GOOD) -> str:
    """Return a text with some lines replaced, counted from 1."""
    found = text.split("\n")
    for number, line in changes:
        found[number - 1] = line
    return "\n".join(found)


# ------------------------------------------------------------------------------------------------- cells

table("NaN", cell(5, 1, "NaN"), ("note", "t.csv: line 7", "missing in sepal_width"))
table("several values missing", lines((4, "5.1,,1.4,0.2,setosa"), (9, "?,3,1.4,,setosa")),
      ("note", "t.csv: line 4", "missing in sepal_width"), ("note", "t.csv: line 9", "missing in petal_width"))  # fmt: skip
for value in ("inf", "-Infinity", "1e999"):
    table(f"value {value}", cell(9, 2, value), ("error", "t.csv: line 11", "not a finite number"))
table("target infinite", cell(9, -1, "inf", patients), ("error", "t.csv: line 11", "not a finite number"))
table("a text among numbers", cell(20, 0, "abc"), ("error", "t.csv: line 22", "'sepal_length' holds 'abc'"))
table("a unit among numbers", cell(20, 0, "5.1 cm"), ("error", "t.csv: line 22", "holds '5.1 cm'"))
table("a thousands sign among numbers", cell(20, 0, "1,200"), ("error", "t.csv: line 22", "holds '1,200'"))
table("an error of a spreadsheet", cell(20, 0, "#REF!"), ("error", "t.csv: line 22", "holds '#REF!'"))
table("a formula of a spreadsheet", cell(20, 0, "=A1*2"), ("error", "t.csv: line 22", "holds '=A1*2'"))
table("the letter O for a zero", cell(20, 0, "5.O"), ("error", "t.csv: line 22", "holds '5.O'"))
table("numbers and texts mixed", each(1, lambda index, value: value if index % 2 else "small"),
      ("warning", "t.csv: line 2", "mixes"))  # fmt: skip
table("numbers with a unit", each(0, lambda index, value: f"{value} cm"), ("warning", "t.csv: line 2", "unit 'cm'"))
table("percentages", each(0, lambda index, value: f"{value}%"), ("warning", "t.csv: line 2", "unit '%'"))
table("decimal commas", comma(NAMES, [[*(value.replace(".", ",") for value in row[:-1]), row[-1]] for row in ROWS], ";"),
      ("error", "t.csv: line 2", "decimal sign"))  # fmt: skip
table("huge outlier", cell(30, 2, "999999"), ("warning", "t.csv: line 32", "far from all others"))
table("a number that stands for missing", cell(30, 2, "-999"), ("warning", "t.csv: line 32", "far from all others"))
table("huge outlier of the target", cell(30, -1, "1e9", patients), ("warning", "t.csv: line 32", "far from all others"))
table("dates", columns("day", lambda index, row: f"2024-{index % 12 + 1:02d}-{index % 28 + 1:02d}"),
      ("warning", "t.csv", "'day' holds dates"))  # fmt: skip
table("dates, all different", columns("day", lambda index, row: datetime.date(2024, 1, 1) + datetime.timedelta(index)),
      ("warning", "t.csv", "'day' holds dates"))  # fmt: skip
table("dates with time", columns("at", lambda index, row: f"{index % 28 + 1:02d}/03/2024 10:{index % 60:02d}"),
      ("warning", "t.csv", "'at' holds dates"))  # fmt: skip

# --------------------------------------------------------------------------------------------- categories

COLOURS = ("red", "green", "blue")
table("capitals of categories", columns("colour", lambda index, row: "Red" if index == 9 else COLOURS[index % 3]),
      ("warning", "t.csv", "differ in capitals or spaces"))  # fmt: skip
table("spaces in categories", columns("town", lambda index, row: "New  York" if index == 9 else ("New York", "Seoul")[index % 2]),
      ("warning", "t.csv", "differ in capitals or spaces"))  # fmt: skip
table("capitals of classes", cell(7, -1, "Setosa"), ("warning", "t.csv", "differ in capitals or spaces"),
      also=("has 1 examples only",  "classes are uneven"))  # fmt: skip
table("too many categories", columns("note", lambda index, row: f"n{index // 2 * 2}", lambda: patients(300)),
      ("error", "t.csv", "too many different texts"))  # fmt: skip
table("a text of its own in every row", columns("name", lambda index, row: f"Dr. No. {index}"),
      ("note", "t.csv", "another in every row"))  # fmt: skip

# ------------------------------------------------------------------------------------------------ columns

table(
    "a constant column",
    columns("country", lambda index, row: "KR"),
    ("note", "t.csv", "'country' is left out: it is KR"),
)
table("an empty column", columns("later", lambda index, row: ""), ("note", "t.csv", "'later' is left out: it is empty"))
table("numbered rows", columns("id", lambda index, row: 1000 + index), ("note", "t.csv", "it numbers the rows"))
table(
    "shuffled numbers of rows",
    columns("patient_id", lambda index, row: index * 7 % 1009),
    ("note", "t.csv", "it numbers the rows"),
)
table("the target twice", columns("copy", lambda index, row: row[-1]), ("warning", "t.csv", "same as the target"))
table(
    "the target as codes",
    columns("code", lambda index, row: len(row[-1]) * 3),
    ("warning", "t.csv", "same as the target"),
)
table("the target in other units", columns("euros", lambda index, row: float(row[-1]) * 0.9 + 3, patients),
      ("warning", "t.csv", "same as the target"))  # fmt: skip
table(
    "a name twice",
    changed(lambda names, rows: names.__setitem__(1, names[0])),
    ("error", "t.csv: line 1", "columns are called"),
)
table("a name missing", changed(lambda names, rows: names.__setitem__(1, "")), ("warning", "t.csv: line 1", "no name"))
table("all names missing", comma([""] * 5, ROWS), ("error", "t.csv: line 1", "is missing"))
table("a header in the middle", lines((40, ",".join(NAMES))), ("error", "t.csv: line 40", "holds 'sepal_length'"),
      also=("has 1 examples only", "classes are uneven", "where 89 other rows hold numbers"))  # fmt: skip
table(
    "a line of units below the header",
    lines((1, ",".join(NAMES) + "\ncm,cm,cm,cm,")),
    ("error", "t.csv: line 2", "holds 'cm'"),
    ("error", "t.csv: line 2", "is missing"),
)
table("a title above the header", "Flowers of 1936\n\n" + GOOD, ("error", "t.csv: line 1", "nearly all lines"),
      also=("where 90 other rows hold numbers", "classes are uneven", "has 1 examples"))  # fmt: skip
table("a sum below the rows", GOOD + "Total,,,,\n", ("error", "t.csv: line 92", "target 'species' is missing"),
      ("error", "t.csv: line 92", "holds 'Total'"))  # fmt: skip
table(
    "most of a column missing",
    columns("rare", lambda index, row: index if index % 10 == 0 else ""),
    ("note", "t.csv", "missing in rare"),
)

# ------------------------------------------------------------------------------------------------- target

table("target not there", GOOD, ("error", "t.csv", "no column 'specie'"), target="specie")
table("target missing in a row", cell(12, -1, ""), ("error", "t.csv: line 14", "is missing"))
table("target NaN in rows", lines((4, "1,2,3,4,nan"), (6, "1,2,3,4,NA")), ("error", "t.csv: lines 4, 6", "is missing"))
table("target no number", cell(12, -1, "high", patients), ("error", "t.csv: line 14", "'high', which is no number"))
table("target constant, classes", each(-1, lambda index, value: "setosa"), ("error", "t.csv", "in every row"))
table(
    "target constant, quantity",
    each(-1, lambda index, value: "3.5", patients),
    ("error", "t.csv", "in every row"),
    kind="quantity",
)
table(
    "target different in every row", each(-1, lambda index, value: f"k{index}"), ("error", "t.csv", "no set of classes")
)
table(
    "a class of one row",
    cell(12, -1, "orchid"),
    ("warning", "t.csv", "class 'orchid' has 1 examples only"),
    also=("uneven",),
)
table("uneven classes of rows", each(-1, lambda index, value: "no" if index % 45 else "yes"), ("warning", "t.csv", "classes are uneven"),
      ("warning", "t.csv", "class 'yes' has 2"))  # fmt: skip
table("too few rows", comma(NAMES, ROWS[:2]), ("warning", "t.csv", "has 1 examples only"))

# --------------------------------------------------------------------------------------------------- rows

table("rows twice", GOOD + comma(*flowers(12)).split("\n", 1)[1], ("note", "t.csv: lines 2, 92", "copies of rows"))
table("equal rows, other answers", GOOD + ",".join([*ROWS[3][:-1], "orchid"]) + "\n", ("warning", "t.csv: lines 5, 92", "different answers"),
      also=("has 1 examples only", "uneven"))  # fmt: skip
table("a short row", lines((8, "5.1,3.5,1.4")), ("error", "t.csv: line 8", "has 3 values"))
table("a long row", lines((8, "5.1,3.5,1.4,0.2,setosa,extra")), ("error", "t.csv: line 8", "has 6 values"))
table(
    "a comma too many in a text",
    lines((8, "5.1,3.5,1.4,0.2,setosa, or not")),
    ("error", "t.csv: line 8", "has 6 values"),
)
table("many ragged rows", lines(*((line, "1,2") for line in range(5, 40))), ("error", "t.csv: line 5", "has 2 values"),
      ("error", "t.csv", "more lines have another number"), also=("has 2 values",))  # fmt: skip
table("cut in the middle of a row", GOOD[:-12], ("error", "t.csv: line 91", "values"))
table(
    "a quotation mark never closed",
    lines((8, '5.1,3.5,1.4,0.2,"setosa')),
    ("error", "t.csv: line 8", "never closed"),
    also=("examples only",),
)
table(
    "a quotation mark in the wrong place",
    lines((8, '5.1,3.5,1.4,0.2,"set"osa')),
    ("error", "t.csv: line 8", "not valid CSV"),
    also=("examples only",),
)

# --------------------------------------------------------------------------------------------------- files

table("the wrong delimiter named", comma(NAMES, ROWS, ";"), ("error", "t.csv", "one column only"), delimiter=",")
table("a delimiter nobody knows", comma(NAMES, ROWS, "^"), ("error", "t.csv", "one column only"))
table("spaces between values", comma(NAMES, ROWS, " "), ("error", "t.csv", "one column only"))
table("commas in a TSV", GOOD, ("error", "t.tsv", "one column only"), file="t.tsv")
table(
    "a web page",
    "<!DOCTYPE html>\n<html>\n<body>\n<h1>Not found</h1>\n</body>\n</html>\n",
    ("error", "t.csv", "one column only"),
)
table("not UTF-8", GOOD.replace("setosa", "seteéa").encode("latin-1"), ("error", "t.csv: line", "is not UTF-8"))
table("Korean Windows", GOOD.replace("species", "종류").encode("cp949"), ("error", "t.csv: line 1", "is not UTF-8"))
table("UTF-16", GOOD.encode("utf-16"), ("error", "t.csv", "UTF-16"))
table("zero bytes", GOOD.replace("setosa", "set\0sa", 1), ("error", "t.csv", "zero bytes"))
table("a spreadsheet named csv", b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(range(256)), ("error", "t.csv", ""))
table("a spreadsheet", b"PK\x03\x04", ("error", "t.xlsx", "Save the sheet as CSV"), file="t.xlsx")
table("empty", "", ("error", "t.csv", "is empty"))
table("blank lines only", "\n\n \n", ("error", "t.csv", "is empty"))
table("only a header", ",".join(NAMES) + "\n", ("error", "t.csv", ""))
table("cut gzip", gzip.compress(GOOD.encode())[:-20], ("error", "t.csv.gz", "not a whole .gz file"), file="t.csv.gz")
table("no gzip", GOOD, ("error", "t.csv.gz", "not a whole .gz file"), file="t.csv.gz")

# --------------------------------------------------------------------------------------------- JSON, Parquet

RECORDS = [dict(zip(NAMES, [*map(float, row[:-1]), row[-1]], strict=True)) for row in ROWS]


def many(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def with_record(place: int, **values: Any) -> list[dict[str, Any]]:
    return [{**record, **values} if index == place else record for index, record in enumerate(RECORDS)]


table("JSON lines, cut", many(RECORDS)[:-15], ("error", "t.jsonl: line 90", "not valid JSON"), file="t.jsonl")
table(
    "JSON lines, a key twice",
    '{"a": 1, "a": 2}\n' + many(RECORDS),
    ("error", "t.jsonl: line 1", "stands twice"),
    file="t.jsonl",
)
table("JSON lines, nested", many(with_record(4, sepal_width={"cm": 3})), ("error", "t.jsonl: line 5", "a value is a number"), file="t.jsonl",
      also=("missing",))  # fmt: skip
table(
    "JSON lines, a text among numbers",
    many(with_record(4, sepal_width="wide")),
    ("error", "t.jsonl: line 5", "holds 'wide'"),
    file="t.jsonl",
)
table(
    "JSON lines, infinite",
    many(with_record(4, sepal_width=float("inf"))),
    ("error", "t.jsonl: line 5", "not a finite"),
    file="t.jsonl",
)
table(
    "JSON lines, NaN",
    many(with_record(4, sepal_width=float("nan"))),
    ("error", "t.jsonl: line 5", "NaN is not a finite number. Write null"),
    file="t.jsonl",
)
table(
    "JSON lines, no target",
    many([*RECORDS[:4], {"sepal_width": 1.0}, *RECORDS[5:]]),
    ("error", "t.jsonl: line 5", "is missing"),
    file="t.jsonl",
)
table("JSON, no records", json.dumps({"a": [1, 2]}), ("error", "t.json", ""), file="t.json")
table(
    "JSON, numbers for records",
    json.dumps([1, 2, 3]),
    ("error", "t.json: row 1", "not a record"),
    file="t.json",
    also=("",),
)
table("JSON, empty list", "[]", ("error", "t.json", "no records"), file="t.json")
table("JSON, too deep", "[" * 100_000, ("error", "t.json: line 1", "nested deeper than 64 levels"), file="t.json")


def parquet(root: Path, **values: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.table({**{name: [record[name] for record in RECORDS] for name in NAMES[:-1]}, **values,
                     "species": [record["species"] for record in RECORDS]})  # fmt: skip
    pq.write_table(made, root / "t.parquet")
    return root / "t.parquet"


LENGTHS = [record["sepal_length"] for record in RECORDS]
case("Parquet, cut", ("error", "t.parquet", "cannot be read as Parquet"))(
    lambda root: put(parquet(root), parquet(root).read_bytes()[:-60])
)
case("Parquet, infinite", ("error", "t.parquet: row 3", "not a finite number"))(
    lambda root: parquet(root, more=[*LENGTHS[:2], float("inf"), *LENGTHS[3:]])
)
case("Parquet, NaN", ("note", "t.parquet: row 3", "missing in more"))(
    lambda root: parquet(root, more=[*LENGTHS[:2], float("nan"), *LENGTHS[3:]])
)
case("Parquet, dates", ("error", "t.parquet", "'day' holds date32"))(
    lambda root: parquet(root, day=[datetime.date(2024, 1, 1)] * len(RECORDS))
)
case("Parquet, lists", ("error", "t.parquet", "'more' holds list"))(
    lambda root: parquet(root, more=[[1, 2]] * len(RECORDS))
)
case("Parquet, the target twice", ("warning", "t.parquet", "same as the target"))(
    lambda root: parquet(root, copy=[record["species"] for record in RECORDS])
)

# ------------------------------------------------------------------------------------------------- clean

QUOTED = columns("text", lambda index, row: 'a "good", long\none' if index % 2 else "short")
KOREAN = changed(lambda names, rows: (names.__setitem__(-1, "종류"), names.__setitem__(0, "꽃받침 길이")))
table("clean: iris", GOOD)
table("clean: byte order mark", "\ufeff" + GOOD)
table("clean: line ends of Windows", comma(NAMES, ROWS, end="\r\n"))
table("clean: semicolons", comma(NAMES, ROWS, ";"))
table("clean: tabs", comma(NAMES, ROWS, "\t"), file="t.tsv")
table("clean: no line end at the end", GOOD.rstrip("\n"))
table("clean: quotation marks", QUOTED)
table("clean: Korean names", KOREAN)
table("clean: Korean Windows, said", KOREAN.encode("cp949"), encoding="cp949")
table("clean: decimal commas, said", comma(NAMES, [[*(value.replace(".", ",") for value in row[:-1]), row[-1]] for row in ROWS], ";"),
      decimal=",")  # fmt: skip
table("clean: gzip", gzip.compress(GOOD.encode()), file="t.csv.gz")
table("clean: JSON lines", many(RECORDS), file="t.jsonl")
table("clean: JSON", json.dumps(RECORDS), file="t.json")
table("clean: a quantity", comma(*patients(200)))
table("clean: no header", "\n".join(GOOD.split("\n")[1:]))
table("clean: categories", columns("colour", lambda index, row: COLOURS[index % 3]))
table("clean: codes of letters and digits", columns("room", lambda index, row: f"{index % 4}{'ABC'[index % 3]}"))
table(
    "clean: a long tail",
    columns("income", lambda index, row: round(float(np.exp(3 * np.random.default_rng(index).normal())), 3)),
)
table("clean: years", columns("year", lambda index, row: 1990 + index % 7))
case("clean: Parquet")(parquet)
