"""seodang evaluate with one run, several, noise and pages; seodang predict with several runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import seodang as sd

TRAIN = {"train.threads": 1, "train.steps": 30, "train.evaluate_every": 0, "data.augment": []}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pair")
    return [
        sd.train("digits-mlp", run=folder / f"sample={number}", **{**TRAIN, "train.bootstrap": number}).path
        for number in (1, 2)
    ]


def test_one_run_in_depth(pair: list[Path], seodang: Any) -> None:
    said = seodang("evaluate", pair[0])
    assert said.code == 0
    assert re.search(r"^accuracy +\d+\.\d+ % +\d+\.\d+ %$", said.out, re.MULTILINE)
    assert re.search(r"^class +examples +precision +recall +F1$", said.out, re.MULTILINE)
    assert "Most often confused: " in said.out
    assert re.search(r"Expected calibration error: \d+\.\d+ %", said.out)
    found = seodang("evaluate", pair[0], "--json").json
    assert found["classes"]["top5"] >= found["classes"]["top1"] == found["scores"]["accuracy"]
    assert sum(one["support"] for one in found["classes"]["classes"].values()) == found["examples"]


def test_several_runs_together(pair: list[Path], seodang: Any, tmp_path: Path) -> None:
    found = seodang("evaluate", *pair, "--json", "--out", tmp_path / "page.html").json
    assert found["runs"] == [str(path) for path in pair]
    assert list(found["members"]) == [*(path.name for path in pair), "mean probabilities", "majority vote"]
    assert found["written"] == [str(tmp_path / "page.html")]
    page = (tmp_path / "page.html").read_text()
    assert "https:" not in page
    for text in ("mean probabilities", "p (McNemar)", "Confusion matrix", "Worst mistakes", "sample=1"):
        assert text in page
    said = seodang("evaluate", *pair).out
    assert re.search(r"^mean probabilities +[\d.]+ +[\d.]+ %$", said, re.MULTILINE)
    assert re.search(
        r"^mean probabilities +sample=1 +[+-]\d+\.\d\d +[+-]\d+\.\d\d to [+-]\d+\.\d\d +[\d.e-]+$", said, re.MULTILINE
    )


def test_korean_has_other_names_and_the_same_json(
    pair: list[Path], seodang: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = seodang("evaluate", *pair, "--json").json
    monkeypatch.setenv("SEODANG_LANG", "ko")
    assert seodang("evaluate", *pair, "--json").json == english


def test_noise_is_a_curve_for_each_run(pair: list[Path], seodang: Any, tmp_path: Path) -> None:
    words = ("--noise", "0,100", "--weight-noise", "0,1.0", "--repeats", "2", "--out", tmp_path / "curves")
    found = seodang("evaluate", *pair, *words, "--json").json
    assert [curve["where"] for curve in found["noise"]] == ["inputs", "weights"]
    assert [curve["unit"] for curve in found["noise"]] == [
        "grey levels of 255",
        "standard deviations of each weight tensor",
    ]
    for curve in found["noise"]:
        assert list(curve["runs"]) == [path.name for path in pair]
        assert all(len(points) == 2 and len(points[1]["values"]) == 2 for points in curve["runs"].values())
    names = {path.name for path in (tmp_path / "curves").iterdir()}
    assert {
        "evaluation.html",
        "noise-inputs.svg",
        "noise-inputs.png",
        "noise-weights.svg",
        "noise-weights.png",
    } <= names
    said = seodang("evaluate", *pair, "--noise", "0,100", "--repeats", "2").out
    assert re.search(r"^ *100 +\d+\.\d\d ± \d+\.\d\d % +\d+\.\d\d ± \d+\.\d\d %$", said, re.MULTILINE)
    assert "In grey levels of 255." in said


def test_several_versions_of_pictures(pair: list[Path], seodang: Any) -> None:
    said = seodang("evaluate", pair[0], "--tta", "shift", "--draws", "2").out
    assert "as they are" in said
    assert "shift × 2" in said


def test_several_runs_predict_together(pair: list[Path], seodang: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png")
    together = seodang("predict", *pair, tmp_path / "grey.png", "--json").json
    alone = [seodang("predict", path, tmp_path / "grey.png", "--json").json[0]["probabilities"] for path in pair]
    assert len(together) == 1
    for name, chance in together[0]["probabilities"].items():
        assert chance == pytest.approx(sum(one[name] for one in alone) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--noise", "loud"], "--noise=loud: levels are numbers"),
        (["--noise", "0,-3"], "levels of noise are"),
        (["--noise", "0,nan"], "levels of noise are"),
        (["--noise", "0,8", "--tta", "flip"], "go with neither --tta nor --snapshots"),
        (["--tta", "flop"], "Did you mean 'flip'"),
        (["--tta", "flip", "--draws", "1"], "--draws=1"),
        (["--draws", "4"], "--draws=4: goes with --tta only"),
        (["--repeats", "4"], "--repeats=4: goes with --noise only"),
        (["--snapshots"], "has no snapshots"),
        (["--out", "figure.gif"], "neither a file"),
        (["train.epochs=3"], "only settings of the data can change here"),
        (["nothing/here"], "there is no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said(pair: list[Path], seodang: Any, words: list[str], message: str) -> None:
    said = seodang("evaluate", pair[0], *words)
    assert said.code == 2
    assert message in " ".join(said.err.split())


def test_settings_need_a_run(seodang: Any) -> None:
    said = seodang("evaluate", "data.target=price")
    assert said.code == 2
    assert "needs a run before its settings" in " ".join(said.err.split())
