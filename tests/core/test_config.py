"""Records: closed, typed, and errors that say path, value, limit and the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seodang.core.config import Config, parse_override, read_toml, toml_text
from seodang.core.errors import ConfigError
from seodang.core.recipe import Choice, Recipe, Train
from seodang.core.shipped import recipe_names, recipe_values

VALUES: dict[str, Any] = {
    "name": "x",
    "model": {"name": "mlp", "hidden_sizes": [3]},
    "data": "digits",
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"steps": 3},
}


def with_(section: str, **settings: object) -> dict[str, Any]:
    return {**VALUES, section: {**VALUES[section], **settings}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_("train", acumulate=2), "train.acumulate: is not a setting here. Did you mean 'accumulate'?"),
        (with_("train", grad_clip=1.0), "train.grad_clip: is not a setting here. Did you mean 'clip'?"),
        (with_("train", steps=-1), "train.steps: should be greater than 0 (got -1)."),
        (with_("train", steps="many"), "train.steps: should be a whole number (got 'many')."),
        (with_("train", steps=1.5), "train.steps: should be a whole number (got 1.5)."),
        (with_("train", average=1.0), "train.average: should be less than 1.0 (got 1.0)."),
        (with_("train", clip=float("nan")), "train.clip: should be a finite number (got nan)."),
        (
            with_("train", precision="float8"),
            "train.precision: should be 'auto', 'float32' or 'bfloat16' (got 'float8').",
        ),
        (with_("train", batch_size=0), "batch_size should be 1 or more, not 0"),
        ({key: value for key, value in VALUES.items() if key != "data"}, "data: is missing."),
        ({**VALUES, "optimiser": {}}, "optimiser: is not a setting here. Did you mean 'optimizer'?"),
        ({**VALUES, "seed": -3}, "seed: should be 0 or more (got -3)."),
    ],
)
def test_wrong_settings_are_explained(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.of(values)
    assert message in str(caught.value)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.of(with_("train", stepps=1, clip=-1.0, keep=0))
    assert all(word in str(caught.value) for word in ("train.stepps", "train.clip", "train.keep"))


def test_records_are_frozen_and_replace_checks() -> None:
    recipe = Recipe.of(VALUES)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]
    assert recipe.replace(seed=3).seed == 3
    with pytest.raises(ConfigError):
        recipe.replace(seed="three")


def test_written_and_read_back_is_the_same(tmp_path: Path) -> None:
    recipe = Recipe.of(VALUES)
    (tmp_path / "r.toml").write_text(toml_text(recipe.written()))
    again = Recipe.of(read_toml(tmp_path / "r.toml"))
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_digest_sees_what_decides_and_nothing_else() -> None:
    recipe = Recipe.of(VALUES)
    assert recipe.replace(about="other words").digest() == recipe.digest()
    assert recipe.replace(seed=1).digest() != recipe.digest()
    assert recipe.replace(model=Choice.of({"name": "mlp", "hidden_sizes": [4]})).digest() != recipe.digest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "is not valid TOML"),
        (b"name = 'a'\nname = 'b'", "is not valid TOML"),
        (b"name = '\xff'", "line 1: is not UTF-8 text (byte 8)"),
        (b"a = " + b"[" * 70 + b"]" * 70, "nested deeper than 64"),
        (b"#" * 1_000_001, "is larger than 1 MB"),
        (b"a = " + b"[" * 30000, "nested deeper than 64"),
        (b"a = 1\n# inf\n[b]\nc = [1.0, -inf]", "line 4: -inf is not a finite number"),
        (b"a = 1\nb = 1e999", "line 2: inf is not a finite number"),
        (b"a = 1\nb = 2020-01-02", 'line 2: a date is a text here: write "2020-01-02"'),
        (b"a = " + b"1" * 5000, "is not valid TOML"),
    ],
)
def test_strict_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.steps=200", (["train", "steps"], 200)),
        ("optimizer.lr=3e-4", (["optimizer", "lr"], 3e-4)),
        ("model.hidden_sizes=[3, 4]", (["model", "hidden_sizes"], [3, 4])),
        ("data.path=my photos/", (["data", "path"], "my photos/")),
        ("train.compile=true", (["train", "compile"], True)),
        ("model=mlp", (["model"], "mlp")),
        ("data.path=a=b", (["data", "path"], "a=b")),
    ],
)
def test_overrides(text: str, expected: tuple[list[str], object]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["train.steps", "=3", "train..steps=3", ""])
def test_bad_overrides_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a setting is written"):
        parse_override(text)


def test_every_field_has_its_docstring_as_description() -> None:
    class Small(Config):
        size: int = 3
        """How large."""

    assert Small.model_fields["size"].description == "How large."


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = Recipe.of(recipe_values(name))
    assert recipe.name == name
    assert recipe.about.endswith(".")


def test_settings_that_do_not_go_together_are_named_without_the_rest_of_their_section() -> None:
    with pytest.raises(ConfigError) as error:
        Train.of({"clip": 1.0, "clip_value": 2.0, "keep": 7}, "train")
    assert str(error.value) == "train: give clip (of the norm) or clip_value (of each number), not both."
    with pytest.raises(ConfigError, match=r"^give one length, not 2 \(steps, epochs\)\.$"):
        Train.of({"steps": 1, "epochs": 2.0})
    with pytest.raises(ConfigError, match=r"train.steps: should be a whole number \(got \{'a': 1\}\)\."):
        Train.of({"steps": {"a": 1}}, "train")


@pytest.mark.parametrize(
    ("text", "value"), [(".1", 0.1), ("-.5", -0.5), ("1.", 1.0), (".1e-3", 1e-4), (".", "."), ("1.2.3", "1.2.3")]
)
def test_numbers_may_be_written_short_on_the_command_line(text: str, value: float | str) -> None:
    assert parse_override(f"optimizer.lr={text}") == (["optimizer", "lr"], value)
