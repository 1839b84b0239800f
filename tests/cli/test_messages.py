"""Every message a person meets has a Korean twin, and the catalogue holds nothing else."""

from __future__ import annotations

import gettext
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

MENDING = "Mend it: .venv/bin/python tools/messages.py --update, then fill the empty entries and run it again."


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "messages.py"
    spec = importlib.util.spec_from_file_location("seodang_messages", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_message_has_a_korean_twin_with_the_same_placeholders(messages: ModuleType) -> None:
    problems = messages.problems()
    assert not problems, "\n".join([*problems, MENDING])


def test_the_compiled_catalogue_is_that_of_the_text(messages: ModuleType) -> None:
    with messages.CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    stale = [message for message, twin in messages.twins(messages.read()).items() if compiled.gettext(message) != twin]
    assert not stale, f"{stale}: compile the catalogue: make setup. {MENDING}"


def test_the_twins_are_korean(messages: ModuleType) -> None:
    wrong = [twin for message, twin in messages.twins(messages.read()).items()
             if not re.search("[가-힣]", twin) and re.search(r"[a-z]{4,} [a-z]{2,} [a-z]{2,}", messages.bare(message))]  # fmt: skip
    assert not wrong


def test_the_collection_finds_each_kind_of_message(messages: ModuleType) -> None:
    found = messages.collect()
    for message in (
        "Did you mean '{name}'?",  # say
        "There is no {kind} called '{name}'.{suggestion} See them all: seodang list {kind}s",  # an error
        "This needs the package '{package}', which is not installed. Run: pip install 'seodang[{extra}]'",
        "Passes over the training split.",  # a setting
        "Adam with weight decay taken out of the gradient.",  # a registered class
    ):
        assert message in found
    assert any(place.startswith("recipes/") for place in found.values())


def test_what_is_wrong_is_said(messages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "collect", lambda: {"New {count}": "here.py:1", "Old {count:,}": "here.py:2"})
    monkeypatch.setattr(messages, "twins", lambda _: {"Old {count:,}": "{count}개", "Gone": "없음"})
    text = "\n".join(messages.problems())
    assert "here.py:1: no Korean twin: 'New {count}'" in text
    assert "nobody says this any more: 'Gone'" in text
    assert "here.py:2: placeholders differ" in text
