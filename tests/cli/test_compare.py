"""seodang compare: killed and gone on with; numbers as in result.json; noise called noise; refusals before anything runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import seodang as sd
from seodang.cli.app import app
from seodang.comparison.comparing import conclude
from seodang.comparison.plan import PLAN, make_plan, read_plan
from seodang.comparison.variants import from_lists
from seodang.core.run import RunFolder
from seodang.data.dataset import datasets
from seodang.training.assemble import assemble
from seodang.training.devices import Devices
from seodang.training.plan import make_loader

WORDS = ["optimizer.name=sgd,adam", "--seeds", "2", "train.epochs=3", "train.log_every=5", "data.augment=[]"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "seodang",
        "compare",
        "digits-mlp",
        *words,
        "--to",
        str(folder),
        "--processes",
        "1",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                            env={**os.environ, "SEODANG_LANG": "en"})  # fmt: skip


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, int]]:
    """Return a comparison whose process was killed when its first run had finished, and when the files of finished runs were written."""
    folder = tmp_path_factory.mktemp("compare") / "both"
    process = start(folder, *WORDS)
    until(lambda: (folder / "sgd-seed0" / "result.json").exists() and (folder / "adam-seed0" / "recipe.toml").exists())
    process.kill()
    process.communicate()
    first = RunFolder(folder / "sgd-seed0")
    assert first.is_complete
    until(lambda: not RunFolder(folder / "adam-seed0").is_running)
    finished = [path.parent for path in folder.glob("*/result.json") if RunFolder(path.parent).is_complete]
    return folder, {path: path.stat().st_mtime_ns for run in finished for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def compared(killed: tuple[Path, dict[Path, int]]) -> tuple[Path, str]:
    """Return the folder of that comparison after the same command again, and what that said."""
    folder, _ = killed
    assert not (folder / "comparison.json").exists()
    result = CliRunner().invoke(app, ["compare", "digits-mlp", *WORDS, "--to", str(folder), "--processes", "1"])
    assert result.exit_code == 0, result.stdout + result.stderr
    return folder, result.stdout


def found_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


def test_what_had_finished_before_the_kill_is_not_done_again(
    killed: tuple[Path, dict[Path, int]], compared: tuple[Path, str]
) -> None:
    _, before = killed
    _, out = compared
    kept = sum(
        path.name == "result.json" for path in before
    )  # a second one may have ended before it saw that it was alone
    assert 1 <= kept < 4
    assert f"{kept} of 4 runs have finished before; they are kept." in out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert f"{4 - kept}/{4 - kept}" in out and "4/4" not in out


def test_the_table_holds_the_numbers_of_the_runs(compared: tuple[Path, str]) -> None:
    folder, out = compared
    found = found_in(folder)
    scores = {}
    for name in ("sgd", "adam"):
        results = [json.loads((folder / f"{name}-seed{seed}" / "result.json").read_text()) for seed in (0, 1)]
        assert {result["split"] for result in results} == {found["split"]} == {"test"}
        assert {result["threads"] for result in results} == {found["threads"]} and found["processes"] == 1
        scores[name] = torch.tensor([result["scores"]["accuracy"] for result in results], dtype=torch.float64)
        row = next(row for row in found["variants"] if row["name"] == name)
        assert row["mean"] == pytest.approx(float(scores[name].mean()))
        assert row["standard_error"] == pytest.approx(float(scores[name].std() / 2**0.5), abs=1e-12)
        assert row["seconds"]["mean"] == pytest.approx(sum(result["train_seconds"] for result in results) / 2)
        assert row["peak_memory_bytes"] == max(result["peak_memory_bytes"] for result in results)
    difference = scores["adam"] - scores["sgd"]
    adam = found["variants"][1]
    assert adam["to_first"]["mean"] == pytest.approx(float(difference.mean()))
    assert adam["to_first"]["standard_error"] == pytest.approx(float(difference.std() / 2**0.5), abs=1e-12)
    assert f"{float(scores['adam'].mean()):.1%}".replace("%", "")[:2] in out
    assert found["best"] == "adam" and "Best on average: adam" in out
    assert "optimizer.lr=0.003, and what suits one need not suit another" in out


def test_curves_are_those_of_the_events(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    curve = next(item for item in found_in(folder)["curves"]["score"] if item["variant"] == "adam")
    seen = [[event["scores"]["accuracy"] for event in RunFolder(folder / f"adam-seed{seed}").events
             if event["event"] == "evaluated" and event["split"] == "valid"] for seed in (0, 1)]  # fmt: skip
    assert curve["x"] == [0, 1, 2, 3]
    assert curve["mean"] == pytest.approx([(a + b) / 2 for a, b in zip(*seen, strict=True)])
    assert [high - low for low, high in zip(curve["low"], curve["high"], strict=True)] == pytest.approx(
        [abs(a - b) for a, b in zip(*seen, strict=True)], abs=1e-12
    )


def test_the_page_needs_nothing_else_and_the_charts_open(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    text = unescape((folder / "comparison.html").read_text(encoding="utf-8"))
    assert "default-src 'none'" in text
    assert not re.search(r" (?:src|href)=\"(?!#|data:)", text) and "http://" not in text and "https://" not in text
    assert text.count("<svg") >= 3 and "adam" in text and "<table" in text
    for name in ("comparison", "curves", "losses"):
        ElementTree.parse(folder / f"{name}.svg")
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 900 and len(image.getcolors(1 << 20) or ()) > 20


def test_all_of_it_again_does_nothing_and_programs_get_numbers(compared: tuple[Path, str], seodang: Any) -> None:
    folder, _ = compared
    answer = seodang("compare", "digits-mlp", *WORDS, "--to", folder, "--processes", "1", "--json")
    assert answer.code == 0
    assert answer.json["variants"] == found_in(folder)["variants"]
    assert answer.json["metric"] == {"name": "accuracy", "mode": "max"}
    assert not re.search(r"^ *\d+/\d+ ", answer.err, re.MULTILINE), "a run was trained"


def test_another_comparison_does_not_go_into_its_folder(compared: tuple[Path, str], seodang: Any) -> None:
    folder, _ = compared
    before = (folder / PLAN).read_bytes()
    answer = seodang("compare", "digits-mlp", "optimizer.name=sgd,rmsprop", "train.epochs=3", "--to", folder)
    assert answer.code == 2 and "holds another comparison" in answer.err
    assert (folder / PLAN).read_bytes() == before


def planted(folder: Path, scores: dict[str, list[float]]) -> dict[str, Any]:
    """Return what is said about runs with these test and validation scores."""
    count = max(map(len, scores.values()))
    variants = from_lists({"model.dropout": [place / 100 for place in range(len(scores))]})
    renamed = [variant._replace(name=name) for variant, name in zip(variants, scores, strict=True)]
    plan = make_plan("digits-mlp", renamed, {}, count, None, lambda train: 1)
    object.__setattr__(plan, "facts", {"name": "accuracy", "mode": "max", "valid": True})
    for run in plan.runs:
        value = scores[run.variant][run.seed]
        made = RunFolder.create(run.recipe, folder / run.name)
        made.write_json("result.json", {"scores": {"accuracy": value}, "split": "test", "best_step": 1, "train_seconds": 1.0,
                                        "peak_memory_bytes": 1000})  # fmt: skip
        lines = [{"event": "evaluated", "step": 1, "split": "valid", "scores": {"accuracy": value}, "best": True, "epoch": 1.0},
                 {"event": "stopped", "step": 1}]  # fmt: skip
        (made.path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return conclude(folder, plan, {}, 1)


def test_noise_is_called_noise_and_a_difference_a_difference(tmp_path: Path) -> None:
    found = planted(tmp_path / "a", {
        "first": [0.900, 0.910, 0.905, 0.915],
        "same": [0.903, 0.906, 0.911, 0.909],
        "worse": [0.800, 0.812, 0.803, 0.814],
    })  # fmt: skip
    text = " ".join(found["verdicts"])
    assert "Best on average: first" in text
    assert "Within noise of it: same." in text
    assert "Clearly different from it, beyond noise: worse." in text
    assert found["variants"][1]["to_first"]["verdict"] == "noise"
    assert "within noise" in (tmp_path / "a" / "comparison.html").read_text(encoding="utf-8")


def test_one_seed_says_nothing(tmp_path: Path) -> None:
    found = planted(tmp_path / "a", {"one": [0.9], "other": [0.1]})
    assert "With one seed nothing can be said about noise" in " ".join(found["verdicts"])
    assert found["variants"][1]["to_first"]["verdict"] == "unknown"


def test_split_and_order_depend_on_the_seed_only() -> None:
    def first_batches(seed: int, **settings: Any) -> list[torch.Tensor]:
        plan = make_plan("digits-mlp", from_lists({"optimizer.name": ["sgd", "adam"]}), {"data.augment": [], **settings}, 2, None,
                         lambda train: 1)  # fmt: skip
        made = []
        for run in plan.runs:
            if run.seed == seed:
                assembly = assemble(run.recipe)
                loader = make_loader(assembly.recipe, assembly.data, Devices(assembly.recipe.train))
                assert loader is not None
                made.append(torch.cat([next(iter(loader))[0] for _ in range(2)]))
        return made

    sgd, adam = first_batches(0)
    assert torch.equal(sgd, adam)
    assert torch.equal(sgd, first_batches(0, **{"model.hidden_sizes": [16], "model.dropout": 0.0})[0])
    assert not torch.equal(sgd, first_batches(1)[0])
    assert "digits" in datasets.names()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.nam=sgd,adam"], "optimizer.nam: is not a setting here"),
        (["optimizer.learning_rate=0.1,0.2"], "Did you mean 'lr'?"),
        (["trian.epochs=1,2"], "trian: is not a setting here. Did you mean 'train'?"),
        (["optimizer.name=sgd,adamm"], "adamm: There is no optimizer called 'adamm'. Did you mean"),
        (["optimizer.lr=0.1,-1"], "lr=-1"),
        (["optimizer.lr=0.1,-1,x"], "lr=x"),
        (["optimizer.name=sgd,adam", "optimizer.momentum=0.9"], "adam: optimizer.momentum: is not a setting here"),
        (["optimizer.name=sgd,sgd"], "has sgd twice"),
        (["optimizer.name="], "is an empty list"),
        (["train.epochs=3"], "nothing to compare"),
        (["optimizer.name=sgd,adam", "--seeds", "0"], "--seeds 0"),
        (["optimizer.name=sgd,adam", "--processes", "0"], "--processes 0"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    seodang: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path / "runs"))
    answer = seodang("compare", "digits-mlp", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_something_else_stays_as_it_is(seodang: Any, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    answer = seodang("compare", "digits-mlp", "optimizer.name=sgd,adam", "--to", tmp_path)
    assert answer.code == 2 and "is not empty" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_ctrl_c_saves_every_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    process = start(
        folder, "optimizer.name=sgd,adam", "--seeds", "1", "train.epochs=100000", "train.log_every=5", "data.augment=[]"
    )
    until(lambda: any(event["event"] == "stepped" for event in events_of(folder / "sgd-seed0")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Go on with the same command" in err and str(folder) in err
    run = RunFolder(folder / "sgd-seed0")
    assert run.status == "stopped" and run.events[-1]["event"] == "stopped"
    assert not (folder / "adam-seed0").exists() and not (folder / "comparison.json").exists()
    assert read_plan(folder).facts == {"name": "accuracy", "mode": "max", "valid": True}


def events_of(path: Path) -> list[dict[str, Any]]:
    return RunFolder(path).events if (path / "recipe.toml").exists() else []


def test_a_run_that_cannot_go_on_does_not_stop_the_others(tmp_path: Path) -> None:
    """Its rate is far too high: that is a result."""
    made = sd.compare("digits-mlp", {"optimizer.lr": [1e30]}, seeds=1, to=tmp_path / "one",
                      **{"optimizer.name": "sgd", "train.epochs": 1, "train.log_every": 5})  # fmt: skip
    (row,) = made.variants
    assert made.best is None and row["mean"] is None
    assert row["runs"][0]["state"] == "failed" and row["runs"][0]["kind"] == "TrainingError"
    assert any("1 of 1 runs have no score" in note for note in made.found["notes"])
    assert made.page.is_file()
