"""seodang find-lr: a curve, one proposal, a file; and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

WORDS = ("train.threads=1", "--steps", "40", "--low", "1e-4")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path / "runs"))


def test_people_get_a_curve_a_proposal_and_the_next_command(seodang: Any, tmp_path: Path) -> None:
    answer = seodang("find-lr", "digits-mlp", *WORDS)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "rate" in lines[0] and "loss" in lines[0]
    assert sum("█" in line for line in lines) == 16
    assert sum(line.endswith("←") for line in lines) == 1
    assert "; the middle, " in answer.out
    proposal = next(line for line in lines if line.startswith("Take it: seodang train digits-mlp optimizer.lr="))
    assert 1e-3 < float(proposal.rpartition("=")[2]) < 0.1
    pictures = tmp_path / "runs" / "figures"
    assert sorted(path.name for path in pictures.iterdir()) == ["find-lr-digits-mlp.png", "find-lr-digits-mlp.svg"]
    ElementTree.parse(pictures / "find-lr-digits-mlp.svg")
    Image.open(pictures / "find-lr-digits-mlp.png").verify()
    assert seodang("runs").code == 0


def test_programs_get_numbers(seodang: Any, tmp_path: Path) -> None:
    answer = seodang("find-lr", "digits-mlp", *WORDS, "--json", "--to", tmp_path / "curves").json
    assert answer["recipe"] == "digits-mlp"
    assert len(answer["rates"]) == len(answer["losses"]) == len(answer["smoothed"])
    assert answer["rates"][0] == pytest.approx(1e-4)
    assert answer["proposal"] > 0 and answer["reason"]
    assert answer["bottom"][0] <= answer["proposal"] * 1.05 and answer["proposal"] <= answer["bottom"][1] * 1.05
    assert answer["pictures"] == [str(tmp_path / "curves" / f"find-lr-digits-mlp.{kind}") for kind in ("svg", "png")]
    assert all(Path(path).is_file() for path in answer["pictures"])


def test_a_finished_run_can_be_asked_about_and_stays_as_it_is(seodang: Any, tmp_path: Path, finished: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert seodang("find-lr", finished, *WORDS).code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits-mpl",), "digits-mpl"),
        (("digits-mlp", "optimizer.momentum=0.9"), "optimizer.momentum: is not a setting here"),
        (("digits-mlp", "--low", "1", "--high", "0.1"), "they do not"),
        (("digits-mlp", "--steps", "3"), "--steps"),
    ],
)
def test_mistakes_are_named(seodang: Any, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = seodang("find-lr", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "runs").exists()
