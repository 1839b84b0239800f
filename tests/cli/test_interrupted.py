"""Ctrl-C in every phase of a run: it ends soon, says how to go on, keeps what was saved, and goes on to the same end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seodang import api
from seodang.cli import training
from seodang.core import files
from seodang.core.run import RunFolder
from seodang.data.dataset import Loader
from seodang.training.trainer import Trainer
from tests.harness import assert_same_end

RECIPE = ["digits-mlp", "train.threads=1", "train.steps=12", "train.evaluate_every=4", "train.save_every=4",
          "train.log_every=2", "model.dropout=0.2"]  # fmt: skip


def after(count: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `original`, interrupted in its call number `count`."""
    calls: Iterator[int] = iter(range(1, 10**6))

    def method(*arguments: Any, **more: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **more)

    return method


class InterruptedWriting(files.Disk):
    """Ctrl-C while a checkpoint is written."""

    def __init__(self) -> None:
        self.done = False

    def rename(self, old: Any, new: Any, *more: Any) -> Any:
        if "step-" in str(new) and not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)
        return super().rename(old, new, *more)


def while_loading(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Loader, "__next__", after(6, Loader.__next__))


def while_updating(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trainer, "_update", after(6, Trainer._update))


def while_evaluating_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trainer, "evaluate", after(1, Trainer.evaluate))


def while_evaluating(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trainer, "evaluate", after(2, Trainer.evaluate))


def while_saving(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "disk", InterruptedWriting())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("interrupted") / "whole"
    return RunFolder(api.train(RECIPE[0], overrides=RECIPE[1:], run=path).path)


@pytest.mark.parametrize(
    "phase", [while_loading, while_updating, while_evaluating_first, while_evaluating, while_saving]
)
def test_ctrl_c_saves_wherever_it_comes(
    phase: Callable[[pytest.MonkeyPatch], None], whole: RunFolder, tmp_path: Path, seodang: Any
) -> None:
    path = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        phase(patch)
        answer = seodang("train", *RECIPE, "--run", path)
    assert answer.code == 130
    assert answer.out.endswith(f"  seodang resume {path}\n"), answer.out
    assert "Traceback" not in answer.err
    folder = RunFolder(path)
    assert folder.status == "stopped"
    assert folder.checkpoints, "nothing was saved"
    assert seodang("resume", path).code == 0
    assert_same_end(whole, folder, asked=True)


def test_ctrl_c_while_the_report_is_made_loses_nothing(
    tmp_path: Path, seodang: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seodang.visualize.report as report

    monkeypatch.setattr(report, "write_report", after(1, report.write_report))
    path = tmp_path / "run"
    answer = seodang("train", *RECIPE, "--run", path)
    assert answer.code in (0, 130)
    assert "Traceback" not in answer.out + answer.err
    assert RunFolder(path).is_complete
    assert RunFolder(path).result


@pytest.mark.parametrize("words", [["evaluate"], ["look"], ["export", "--to", "safetensors"], ["check"]])
def test_ctrl_c_in_another_command(
    words: list[str], finished: Path, tmp_path: Path, seodang: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunFolder, "__init__", after(1, RunFolder.__init__))
    answer = seodang(words[0], finished, *words[1:])
    assert answer.code == 130
    assert answer.err.strip() == "Interrupted."
    assert not list(tmp_path.iterdir()), "half a file was left"


def test_a_second_ctrl_c_while_the_end_is_told_says_how_to_go_on(
    tmp_path: Path, seodang: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by torture: it came when the training had stopped for the first one, before that was said."""
    monkeypatch.setattr(training, "stopped_lines", after(1, training.stopped_lines))
    monkeypatch.setattr(Trainer, "_update", after(6, Trainer._update))
    path = tmp_path / "run"
    answer = seodang("train", *RECIPE, "--run", path)
    assert answer.code == 130
    assert answer.err.endswith(f"  seodang resume {path}\n"), answer.err
