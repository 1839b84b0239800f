"""seodang check RECIPE --measure: compares with the promise, and is the one way figures get into a recipe."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from seodang.cli.measuring import Row, compare, report, with_block, write_block
from seodang.core.errors import ConfigError

RECIPE = """\
# A small recipe.
#   seodang train small.toml
name = "small"
model = { name = "linear" }
data = { name = "digits" }
task = "classification"
optimizer = { name = "adamw", lr = 0.01 }
[train]
threads = 1
epochs = 3
"""
BLOCK = {"machine": "1 core", "date": "2026-11-20", "commit": "abc", "minutes": 0.1, "scores": {"accuracy": 0.9},
         "at_least": {"accuracy": 0.8}, "at_most": {}}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


def test_measure_write_and_compare(recipe: Path, seodang: Any) -> None:
    first = seodang("check", recipe, "--measure")
    assert first.code == 0
    assert "The recipe promises nothing yet." in first.out
    assert recipe.read_text() == RECIPE

    words = ("--write", "--at-least", "accuracy=0.5", "--at-most", "minutes=5")
    written = seodang("check", recipe, "--measure", *words, "--json")
    assert written.code == 0, written.err
    assert written.json["kept"] is True
    text = recipe.read_text()
    expected = tomllib.loads(text)["expected"]
    assert expected["at_least"] == {"accuracy": 0.5}
    assert expected["at_most"] == {"minutes": 5.0}
    assert expected["scores"]["accuracy"] > 0.8
    assert expected["machine"].startswith("1 core, ")
    lines = text.splitlines()
    assert lines[0] == "# A small recipe."
    assert re.match(
        r"# Measured: 1 core, .*, \d{4}-\d\d-\d\d, commit .*: [\d.e-]+ min, loss [\d.]+, accuracy 0\.\d+\.$", lines[1]
    )
    assert text.startswith("\n".join([lines[0], lines[1], RECIPE.partition("\n")[2].rstrip(), "", "[expected]"]))

    recipe.write_text(text.replace("accuracy = 0.5", "accuracy = 0.9999"))
    short = seodang("check", recipe, "--measure")
    assert short.code == 1
    assert "It falls short of its promise." in short.out
    assert re.search(r"^accuracy .*≥ 99\.99 % +✗$", short.out, re.MULTILINE)
    assert re.search(r"^minutes .*≤ 5\.000 +✓$", short.out, re.MULTILINE)


def test_a_shipped_recipe_of_an_installed_package_is_not_written(
    seodang: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    shipped = tmp_path / "a" / "b" / "recipes"
    shipped.mkdir(parents=True)
    (shipped / "small.toml").write_text(RECIPE)
    monkeypatch.setattr("seodang.core.shipped.RECIPES", shipped)
    answer = seodang("check", "small", "--measure", "--write")
    assert answer.code == 2
    assert "belongs to the installed package" in answer.err
    assert "seodang new recipe NAME --from small" in answer.err


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (Row("accuracy", 0.9, None, 0.9, None), True),
        (Row("accuracy", 0.8999, None, 0.9, None), False),
        (Row("loss", 1.51, 1.4, None, 1.5), False),
        (Row("loss", float("nan"), 1.4, None, 1.5), False),
        (Row("loss", None, 1.4, None, 1.5), False),
        (Row("elbo", float("inf"), None, 0.5, None), False),
        (Row("loss", float("nan"), 1.4, None, None), True),
        (Row("elbo", -97.0, None, -97.5, -90.0), True),
    ],
)
def test_a_promise_is_kept_or_not(row: Row, kept: bool) -> None:
    assert row.kept is kept


def test_a_score_that_is_not_a_number_keeps_no_promise() -> None:
    rows = {
        row.name: row for row in compare({"scores": {"loss": "nan"}, "train_seconds": 30}, {"at_most": {"loss": 9}})
    }
    assert not rows["loss"].kept
    assert rows["minutes"].measured == 0.5
    assert "✗" in "\n".join(report(list(rows.values()), False, None))


def test_the_block_is_replaced_wherever_it_stands_and_nothing_else_changes() -> None:
    once = with_block(RECIPE, BLOCK)
    moved = once.replace("[train]", "[expected.other]\nx = 1\n[train]")
    again = with_block(moved, {**BLOCK, "minutes": 0.2})
    assert again == once.replace("0.1 min", "0.2 min").replace("0.1000 min", "0.2000 min").replace(
        "minutes = 0.1", "minutes = 0.2"
    )
    assert again.count("[expected]") == 1
    assert again.count("# Measured:") == 1


def test_a_file_that_cannot_be_rewritten_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text('expected = { machine = "m" }\n' + RECIPE)
    before = file.read_bytes()
    with pytest.raises((ConfigError, tomllib.TOMLDecodeError)):
        write_block(file, BLOCK)
    assert file.read_bytes() == before
