"""Which language, which twin, which particle."""

from __future__ import annotations

from typing import Any

import pytest

from seodang.core.language import language, say, translated, with_particles


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SEODANG_LANG": "ko"}, "ko"),
        ({"SEODANG_LANG": "en", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LC_ALL": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ({"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ko_KR", "LANG": "en_US.UTF-8"}, "ko"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_surroundings_choose_the_language(variables: dict[str, str], expected: str, monkeypatch: Any) -> None:
    for name in ("SEODANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_say_translates_then_fills(monkeypatch: Any) -> None:
    assert say("Did you mean '{name}'?", name="mlp") == "Did you mean 'mlp'?"
    monkeypatch.setenv("SEODANG_LANG", "ko")
    assert "'mlp'" in say("Did you mean '{name}'?", name="mlp")
    assert say("Did you mean '{name}'?", name="mlp") != "Did you mean 'mlp'?"
    assert say("") == ""


def test_without_values_braces_are_letters() -> None:
    assert say("$h_{i+1}$") == "$h_{i+1}$"


def test_a_sentence_nobody_translated_stays(monkeypatch: Any) -> None:
    monkeypatch.setenv("SEODANG_LANG", "ko")
    assert translated("A sentence of\n    a plug-in.") == "A sentence of a plug-in."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("학습률을(를)", "학습률을"),
        ("정확도을(를)", "정확도를"),
        ("'모델'은(는) 없습니다", "'모델'은 없습니다"),
        ("'과제'이(가)", "'과제'가"),
        ("3이(가) 4이(가) 10과(와) 2과(와)", "3이 4가 10과 2와"),
        ("서울(으)로 부산(으)로 나무(으)로 1(으)로 6(으)로", "서울로 부산으로 나무로 1로 6으로"),
        ("'값'(이)라는", "'값'이라는"),
        ("'나'(이)라는", "'나'라는"),
        ("mlp을(를) resnet은(는)", "mlp을(를) resnet은(는)"),
    ],
)
def test_particles_follow_the_sound_before_them(text: str, expected: str) -> None:
    assert with_particles(text) == expected
