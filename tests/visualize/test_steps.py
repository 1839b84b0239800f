"""look RUN steps: the page of one pass; what it says, what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import seodang as sd
from seodang.core.errors import ConfigError, DataError, RunError

QUICK = {"threads": 1, "steps": 20, "evaluate_every": 0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("walked")
    return {
        name: sd.train(name, run=folder / name, train=QUICK)
        for name in ("mlp-xor", "perceptron-and", "digits-cnn", "diabetes-mlp")
    }


@pytest.mark.parametrize("name", ["mlp-xor", "perceptron-and", "digits-cnn", "diabetes-mlp"])
def test_the_page_is_whole(runs: dict[str, Any], name: str, tmp_path: Path) -> None:
    (path,) = runs[name].look("steps", to=tmp_path)
    text = path.read_text(encoding="utf-8")
    assert [title for title in re.findall(r"<h2>(.*?)</h2>", text)] == ["Overview", "Forward", "Loss", "Backward"]
    assert not re.search(r"https?://", text)
    assert "differ by" in text
    apart = float(re.search(r"differ by</dt><dd>([^<]+)", text)[1])  # type: ignore[index]
    assert apart < 1e-6
    assert text.count('class="step"') == 2 * int(re.search(r"<dt>layers</dt><dd>(\d+)", text)[1]) + 1  # type: ignore[index]


def test_words_after_steps(runs: dict[str, Any], tmp_path: Path) -> None:
    (path,) = runs["mlp-xor"].look("steps", "0,1", "target=1", to=tmp_path)
    assert "0,1 · right: 1" in path.read_text(encoding="utf-8")
    (path,) = runs["mlp-xor"].look("steps", "0,1", to=tmp_path)
    assert "no right answer was given" in path.read_text(encoding="utf-8")
    (path,) = runs["mlp-xor"].look("steps", "test:2", to=tmp_path)
    assert "example 2 of test · right: 1" in path.read_text(encoding="utf-8")
    Image.new("L", (30, 30), 255).save(tmp_path / "white.png")
    (path,) = runs["digits-cnn"].look("steps", str(tmp_path / "white.png"), "target=3", to=tmp_path)
    assert "right: 3" in path.read_text(encoding="utf-8")


def test_in_korean(runs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_LANG", "ko")
    (path,) = runs["mlp-xor"].look("steps", to=tmp_path)
    assert '<html lang="ko">' in path.read_text(encoding="utf-8")


def test_what_is_wrong_is_said(runs: dict[str, Any], tmp_path: Path) -> None:
    xor = runs["mlp-xor"]
    for words, error, said in [
        (("0,1", "target=2"), ConfigError, "is no class of this data.*Classes: 0, 1"),
        (("test:4",), DataError, "4 examples, counted from 0"),
        (("valid:0",), DataError, "There is no split 'valid'"),
        (("0,1", "1,1"), ConfigError, "2 inputs are named"),
        (("0,1,2",), DataError, "takes 2 numbers"),
    ]:
        with pytest.raises(error, match=said):
            xor.look("steps", *words, to=tmp_path / "none")
    row = ",".join(f"{column.name}=0.1" for column in runs["diabetes-mlp"].bundle().record.facts.inputs.columns)
    with pytest.raises(ConfigError, match="brings no right answer"):
        runs["diabetes-mlp"].look("steps", row, to=tmp_path / "none")
    with pytest.raises(RunError, match="brings no data"):
        sd.look(xor.best, "steps", to=tmp_path / "none")
    assert not (tmp_path / "none").exists()
