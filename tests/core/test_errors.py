"""The error family: what a message is made of, and the nearest name."""

from __future__ import annotations

import pytest

import seodang.core.errors as family
from seodang.core.errors import ConfigError, MissingExtra, SeodangError, nearest


def test_every_error_is_a_seodang_error_and_a_value_error() -> None:
    found = [item for item in vars(family).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert {item.__name__ for item in found} == {
        "SeodangError", "ConfigError", "UnknownName", "DataError", "WeightsError", "RunError", "DiskError",
        "TrainingError", "MissingExtra"}  # fmt: skip
    assert all(issubclass(item, SeodangError) and issubclass(item, ValueError) for item in found)


def test_the_message_is_filled_and_its_parts_are_kept() -> None:
    error = ConfigError("{path}: is missing.", path="train.steps")
    assert str(error) == "train.steps: is missing."
    assert error.template == "{path}: is missing."
    assert error.values == {"path": "train.steps"}


def test_a_value_with_braces_is_not_a_template() -> None:
    assert str(ConfigError("{path}: is missing.", path="{x}")) == "{x}: is missing."


def test_errors_speak_korean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_LANG", "ko")
    assert str(ConfigError("{path}: is missing.", path="train.steps")) == "train.steps: 빠져 있습니다."


def test_a_missing_extra_names_the_line_to_type() -> None:
    assert str(MissingExtra("gymnasium", "rl")).endswith("Run: pip install 'seodang[rl]'")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("stps", ["steps", "epochs"], " Did you mean 'steps'?"),
        ("learning_rate", ["lr", "betas"], " Did you mean 'lr'?"),
        ("block_size", ["context", "max_len"], " Did you mean 'max_len'?"),
        ("learning_rate", ["momentum"], ""),
        ("zzz", ["steps"], ""),
        ("x", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], expected: str) -> None:
    assert nearest(name, known) == expected
