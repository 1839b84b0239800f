"""A ladder in a file of the user's own: what is in it, what is wrong in it, what is written about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seodang.comparison.ladder import Ladder, find_ladder, shared_settings
from seodang.comparison.ladder_page import markdown, settings_text, with_measured
from seodang.comparison.variants import over
from seodang.core.errors import ConfigError, UnknownName

HEAD = 'name = "mine"\nrecipe = "digits-mlp"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(HEAD + text)
    return path


def test_variants_are_named_sets_of_settings(tmp_path: Path) -> None:
    path = written(tmp_path, """
variants = [
  { name = "plain" },
  { name = "sgd", optimizer = { name = "sgd", lr = 0.1 }, train.epochs = 2 },
  { name = "moved", against = "sgd", data = { augment = [{ name = "shift", pixels = 1 }] } },
]
""")  # fmt: skip
    plain, sgd, moved = Ladder.read(path).rungs()
    assert tuple(plain) == ("plain", {}, None)
    assert sgd.settings == {"optimizer.name": "sgd", "optimizer.lr": 0.1, "train.epochs": 2}
    assert moved.against == "sgd"
    assert moved.settings == {"data.augment": ({"name": "shift", "pixels": 1},)}


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    path = written(tmp_path, "[grid]\noptimizer = { name = ['sgd', 'adam'], lr = [0.1, 0.01] }\n")
    assert [variant.name for variant in Ladder.read(path).rungs()] == [
        "sgd lr=0.1", "sgd lr=0.01", "adam lr=0.1", "adam lr=0.01"]  # fmt: skip


def test_a_recipe_beside_the_ladder_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("")
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nrecipe = "own.toml"\nvariants = [{ name = "a" }, { name = "b", seed = 1 }]\n')
    assert Ladder.read(path).recipe == str(tmp_path / "own.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a ladder has variants or a grid"),
        ("variants = [{ name = 'a' }]\ngrid = { seed = [1] }", "a ladder has variants or a grid"),
        ("variant = [{ name = 'a' }]", "variant: is not a setting here. Did you mean 'variants'?"),
        ("variants = [{ nam = 'a' }]", "variants.0.name: is missing"),
        ("variants = [{ name = 'a' }, { name = 'b', seed = 1, against = 'A' }]", "to be compared with 'A', which is not another of them"),
        ("variants = [{ name = 'a', against = 'a' }]", "to be compared with 'a'"),
        ("variants = [{ name = 'a' }, { name = 'a' }]", "Two variants are called 'a'"),
        ("seeds = 0\nvariants = [{ name = 'a' }]", "seeds: should be greater than 0"),
        ("charts = ['pie']\nvariants = [{ name = 'a' }]", "charts.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as error:
        Ladder.read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_what_is_neither_recipe_nor_ladder_is_named(tmp_path: Path) -> None:
    assert find_ladder("digits-mlp") is None
    assert find_ladder({"name": "x"}) is None
    assert find_ladder("optimizers") is not None
    with pytest.raises(UnknownName, match="Did you mean 'optimizers'"):
        find_ladder("optimiser")


def test_changes_for_all_have_one_value() -> None:
    ladder = find_ladder("optimizers")
    assert ladder is not None
    assert shared_settings(ladder, ["train.epochs=1"]) == {"train.epochs": 1}
    with pytest.raises(ConfigError, match=r"optimizer\.lr: 'optimizers' is a ladder and has its variants"):
        shared_settings(ladder, ["optimizer.lr=0.1,0.2"])


def test_one_length_replaces_another() -> None:
    shared = {"train.epochs": 2, "optimizer.lr": 0.1}
    assert over(shared, {"train.steps": 5}) == {"optimizer.lr": 0.1, "train.steps": 5}
    assert over(shared, {"optimizer.lr": 0.2}) == {"train.epochs": 2, "optimizer.lr": 0.2}


def test_measured_lines_take_the_place_of_the_old_ones() -> None:
    text = '# What it is.\n#   seodang compare mine\n# Measured: not yet\n# A word of mine.\nname = "mine"\n# Measured: no header\n'
    once = with_measured(text, ["# Measured: here:", "#   a  1", "#   b  2"])
    assert once.splitlines()[:6] == [
        "# What it is.", "#   seodang compare mine", "# Measured: here:", "#   a  1", "#   b  2", "# A word of mine."]  # fmt: skip
    assert once.splitlines()[6:] == text.splitlines()[4:]
    again = with_measured(once, ["# Measured: there:", "#   a  3"])
    assert again.splitlines()[2:5] == ["# Measured: there:", "#   a  3", "# A word of mine."]
    assert with_measured('name = "x"\n', ["# Measured: here:"]) == '# Measured: here:\nname = "x"\n'


def test_tables_and_settings_are_what_a_reader_can_copy() -> None:
    assert markdown(["variant", "a|b"], [("x", "1")]) == ["| variant | a\\|b |", "| --- | ---: |", "| x | 1 |"]
    values: dict[str, Any] = {"data": {"augment": ({"name": "shift", "pixels": 1},)}, "model.residual": True}
    assert settings_text(values) == '`data.augment = [{ name = "shift", pixels = 1 }]`, `model.residual = true`'
