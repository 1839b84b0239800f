"""Planted illnesses are found, sound runs are not suspected, and every command that is offered can be run."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang import api
from seodang.cli.command import MISTAKE
from seodang.cli.commands import app
from seodang.core.events import Event, Found, Stepped
from seodang.core.run import RunFolder
from seodang.diagnosis.course import discriminator_wins, mode_collapse
from seodang.diagnosis.finding import titles
from seodang.diagnosis.story import Story
from seodang.training.assemble import assemble
from seodang.training.resolve import read_recipe
from tests.diagnosis.clinic import HEALTHY, PLANTED, Case, examined, made
from tests.harness import assert_resume_is_exact


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the report takes longer than these trainings."""
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)


def assert_can_be_run(command: str) -> None:
    program, verb, *words = shlex.split(command)
    assert program == "seodang"
    if verb in ("train", "find-lr"):
        recipe, _ = read_recipe(words[0], overrides=words[1:])
        assemble(recipe)
    else:
        assert verb in ("look", "check")
        assert Path(words[-1]).exists()


@pytest.mark.parametrize("case", PLANTED, ids=[case.name for case in PLANTED])
def test_a_planted_illness_is_found(case: Case, tmp_path: Path) -> None:
    diagnosis, run = examined(case, tmp_path)
    assert case.illness in diagnosis.illnesses
    for finding in diagnosis.findings:
        assert_can_be_run(finding.command)
        assert finding.evidence and finding.meaning and finding.title and finding.numbers
    for event in run.events:
        if event["event"] == "found":
            assert event["illness"] in titles()
    json.dumps(diagnosis.record())


@pytest.mark.parametrize("case", HEALTHY, ids=[case.name for case in HEALTHY])
def test_a_sound_run_is_not_suspected(case: Case, tmp_path: Path) -> None:
    diagnosis, run = examined(case, tmp_path)
    assert not diagnosis.findings, [finding.evidence for finding in diagnosis.findings]
    assert not [event for event in run.events if event["event"] == "found"]


def planted(name: str) -> Case:
    return next(case for case in PLANTED if case.name == name)


def test_the_suspects_among_labels_are_the_flipped_ones(tmp_path: Path) -> None:
    diagnosis, run = examined(planted("labels-flipped"), tmp_path)
    finding = next(item for item in diagnosis.findings if item.illness == "label-noise")
    clean = sd.datasets.make(run.recipe.data.with_settings(flipped=0.0), None, run.recipe.seed)
    noisy = sd.datasets.make(run.recipe.data, None, run.recipe.seed)
    clean.prepare()
    noisy.prepare()
    rows = torch.arange(len(clean.split("train")))
    flipped = clean.split("train").batch(rows, None)[1] != noisy.split("train").batch(rows, None)[1]
    named = [int(text.split("row ")[1].split(":")[0]) for text in finding.examples]
    assert len(named) == 20
    assert sum(bool(flipped[row]) for row in named) >= 19


def test_a_leap_before_the_weights_settle_is_told_from_a_rate_that_stays_too_high(tmp_path: Path) -> None:
    diagnosis, run = examined(planted("no-warm-up"), tmp_path)
    finding = next(item for item in diagnosis.findings if item.illness == "rate-too-high")
    assert finding.command.endswith("optimizer.warmup=0.1")
    assert finding.numbers["highest"] > 5 * finding.numbers["first"]
    assert not [event for event in run.events if event["event"] == "failed"]


def test_a_divergence_is_seen_before_numbers_overflow(tmp_path: Path) -> None:
    diagnosis, run = examined(planted("quantity-diverging-slowly"), tmp_path)
    finding = next(item for item in diagnosis.findings if item.illness == "divergence")
    assert 100 < finding.numbers["last"] / finding.numbers["first"] < float("inf")
    assert [event["illness"] for event in run.events if event["event"] == "found"]
    assert not [event for event in run.events if event["event"] == "failed"]


def test_networks_that_play_are_judged_by_three_evaluations(tmp_path: Path) -> None:
    def found(*scores: dict[str, float]) -> set[str]:
        told = [
            {"event": "evaluated", "step": 10 * (place + 1), "split": "test", "scores": item}
            for place, item in enumerate(scores)
        ]
        story = Story(recipe, "run", told)
        return {rule(story).illness for rule in (discriminator_wins, mode_collapse) if rule(story)}  # type: ignore[union-attr]

    recipe, _ = read_recipe(planted("gan-rate-times-100").recipe)
    right, beaten = ({"real_accuracy": share, "fake_accuracy": 1.0, "diversity": 0.8} for share in (1.0, 0.7))
    assert found(beaten, right, right, right) == {"discriminator-wins"}
    assert found(right, right, beaten, right) == set()
    one, many = ({"largest_share": share, "diversity": 0.8} for share in (0.9, 0.2))
    assert found(many, one, one, one) == {"mode-collapse"}
    assert found(one, one, one, many) == set()
    rising, still = [[{"diversity": share} for share in shares] for shares in ([0.01, 0.05, 0.1], [0.1, 0.1, 0.1])]
    assert found(*rising) == set()
    assert found(*still) == {"mode-collapse"}


def test_rare_classes_are_drawn_as_often_as_the_others_where_that_is_tried(tmp_path: Path) -> None:
    case = planted("one-in-a-hundred")
    finding = next(item for item in examined(case, tmp_path)[0].findings if item.illness == "class-imbalance")
    assert finding.command.endswith("train.balance=1.0")
    (tmp_path / "tried").mkdir()
    tried = case._replace(settings={"train.balance": 1.0})
    assert "class-imbalance" not in examined(tried, tmp_path / "tried")[0].illnesses


def test_the_onset_of_over_fitting_is_where_the_held_out_loss_was_least(tmp_path: Path) -> None:
    diagnosis, run = examined(planted("noisy-labels-by-heart"), tmp_path)
    finding = next(item for item in diagnosis.findings if item.illness == "over-fitting")
    losses = {event["step"]: event["scores"]["loss"] for event in run.events if event["event"] == "evaluated"}
    assert finding.step == min(losses, key=losses.__getitem__)


def test_examining_changes_nothing_in_the_run(tmp_path: Path) -> None:
    _, run = examined(planted("rate-over-1000"), tmp_path)

    def contents() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in run.path.rglob("*") if path.is_file()
        }

    before = contents()
    sd.doctor(run)
    assert contents() == before


def test_what_is_found_along_the_way_survives_a_resume(tmp_path: Path) -> None:
    case = planted("rate-times-1000")
    assert_resume_is_exact(case.recipe, tmp_path, kill_at=110)
    found = [event for event in RunFolder(tmp_path / "whole").events if event["event"] == "found"]
    assert found
    assert len({event["illness"] for event in found}) == len(found)


def test_watching_does_not_change_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = planted("rate-times-1000").recipe
    watched = sd.train(recipe, run=tmp_path / "watched")
    monkeypatch.setattr("seodang.diagnosis.live.Watch", lambda run: lambda event: None)
    alone = sd.train(recipe, run=tmp_path / "alone")
    assert not [event for event in alone.events if event["event"] == "found"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (watched.checkpoints[-1] / name).read_bytes() == (alone.checkpoints[-1] / name).read_bytes()


def test_a_listener_that_finds_something_in_every_event_ends(tmp_path: Path) -> None:
    heard: list[Event] = []

    def eager(event: Event) -> Found:
        heard.append(event)
        return Found(event.step, "over-fitting", "always", "", "", {})

    case = made("short", None, epochs=1)
    run = sd.train(case.recipe, run=tmp_path / "run", listeners=[eager])
    told = [event for event in heard if not isinstance(event, Found)]
    assert len([event for event in run.events if event["event"] == "found"]) == len(told)


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "momentum", "lr": 0.1}, {"name": "adam", "lr": 0.01}],
                         ids=["sgd", "momentum", "adam"])  # fmt: skip
def test_the_share_an_update_moved_is_what_the_weights_moved(optimizer: dict[str, object], tmp_path: Path) -> None:
    case = made("signals", None, optimizer=optimizer, steps=4, log_every=1, save_every=1, keep=4)
    told: list[Stepped] = []
    run = sd.train(
        case.recipe, run=tmp_path / "run", listeners=[lambda e: told.append(e) if isinstance(e, Stepped) else None]
    )
    before, after = (sd.model(run.checkpoint_path(step)).state_dict()["layers.1.weight"] for step in (3, 4))
    signal = told[-1].layers["layers.1"]
    assert signal["update"] == pytest.approx(((after - before).norm() / after.norm()).item(), rel=2e-3)
    assert signal["weight"] == pytest.approx(after.square().mean().sqrt().item(), rel=1e-3)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, run = examined(planted("rate-over-1000"), tmp_path)

    def call(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            app(["doctor", *words])
        return int(ended.value.code or 0)

    assert call(str(run.path)) == 0
    said = capsys.readouterr().out
    assert "The learning rate is too low" in said
    assert "Try: seodang train" in said
    page = (run.path / "figures" / "doctor.html").read_text()
    assert "The learning rate is too low" in page
    assert call(str(run.path), "--json", "--no-page") == 0
    record = json.loads(capsys.readouterr().out)
    assert [finding["illness"] for finding in record["findings"]] == ["rate-too-low"]
    assert call(str(tmp_path / "nothing")) == MISTAKE
    capsys.readouterr()


def test_a_run_without_a_line_of_progress(tmp_path: Path) -> None:
    recipe, _ = read_recipe(made("new", None).recipe)
    diagnosis = sd.doctor(RunFolder.create(recipe, tmp_path / "run"))
    assert len(diagnosis.unseen) == 2
    assert not diagnosis.findings
