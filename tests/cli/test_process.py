"""The command line as a process of its own: how fast it answers, what Ctrl-C and SIGTERM do, Korean."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seodang.core.run import RunFolder

SLOW_TASK = '''
"""Classification whose training takes a minute per update."""

import time
from seodang.task.base import tasks
from seodang.task.classification import Classification, ClassificationConfig

@tasks.register({"slow": ClassificationConfig()})
class Slow(Classification):
    """Classify, slowly."""

    def losses(self, model, batch):
        if model.training:
            time.sleep(60)
        yield from super().losses(model, batch)
'''
WAIT = 60.0


def start(*words: str | Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "seodang", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables})  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + WAIT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it takes too long"
        time.sleep(0.02)


def has_event(run: Path, name: str) -> Callable[[], bool]:
    return lambda: (run / "events.jsonl").exists() and f'"event": "{name}"' in (run / "events.jsonl").read_text()


def test_help_is_there_in_less_than_a_third_of_a_second() -> None:
    """Processor time, which on a quiet machine is the time that passes."""
    seconds = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "seodang", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if seconds[-1] < 0.3:
            return
    pytest.fail(f"{min(seconds):.2f} s at best of ten")


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["list", "recipes"], ["runs"], ["trian"]])
def test_no_torch_before_it_is_needed(words: list[str]) -> None:
    code = ("import sys; from seodang.cli.app import app; app(sys.argv[1:], standalone_mode=False); "
            "print({'torch', 'numpy', 'sklearn', 'rich'} & set(sys.modules))")  # fmt: skip
    found = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "set()"


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", "digits-mlp", "--run", run, "train.threads=1", "train.epochs=5000", "train.log_every=5")
    wait_until(has_event(run, "stepped"), process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130
    assert out.endswith(f"  seodang resume {run}\n")
    assert err == ""
    folder = RunFolder(run)
    assert folder.status == "stopped"
    step = folder.events[-1]["step"]
    assert folder.checkpoints[-1] == folder.checkpoint_path(step)

    process = start("resume", run, "--allow-numeric-drift", "--json")
    wait_until(lambda: folder.events[-1]["event"] == "stepped" and folder.events[-1]["step"] > step, process)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert code == 143
    assert json.loads(out)["status"] == "stopped"
    assert f"Going on from step {step:,}." in err
    assert int(folder.checkpoints[-1].name.removeprefix("step-")) > step


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    run, plugin = tmp_path / "run", tmp_path / "slow.py"
    plugin.write_text(SLOW_TASK)
    process = start("train", "digits-mlp", "--run", run, "--plugin", plugin, "task=slow", "train.threads=1")
    wait_until(has_event(run, "evaluated"), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first one waits for the update to end"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert time.monotonic() - began < 5
    assert code == 130
    assert err == f"Stopped at once, without saving. Go on from the newest checkpoint:\n  seodang resume {run}\n"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("library", ["pydantic_core", "libtorch"])
def test_ctrl_c_before_training_leaves_nothing(library: str, tmp_path: Path) -> None:
    process = start("train", "digits-mlp", "--run", tmp_path / "run", "train.threads=1")
    wait_until(lambda: library in Path(f"/proc/{process.pid}/maps").read_text(), process)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert err.strip() in ("Interrupted.", "Interrupted before the training began; nothing was written.")
    assert not (tmp_path / "run").exists()


def test_korean() -> None:
    process = start("--help", SEODANG_LANG="ko")
    mistake = start("train", "digits-mpl", SEODANG_LANG="ko")
    code, out, _ = ended(process)
    assert code == 0
    assert "명령:" in out
    assert "정확도" not in out
    assert "학습" in out
    code, _, err = ended(mistake)
    assert code == 2
    assert "'digits-mlp'" in err
    assert "오류" in err


def test_the_locale_chooses_the_language_and_a_poor_terminal_still_works() -> None:
    surroundings = {"SEODANG_LANG": "", "LC_ALL": "ko_KR.UTF-8", "PYTHONIOENCODING": "ascii"}
    code, out, err = ended(start("list", "recipes", **surroundings))
    assert (code, err) == (0, "")
    assert "digits-mlp" in out
    assert "?" in out, "Korean letters stand as question marks"


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", "digits-mlp", "--run", run, "train.devices=2", "train.threads=1", "train.log_every=5")
    process = start(*words, "train.epochs=3000", "--json")
    wait_until(has_event(run, "stepped"), process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130, err
    assert json.loads(out)["status"] == "stopped"
    assert err.endswith(f"everything is saved. Go on:\n  seodang resume {run}\n")
    assert "Traceback" not in err
    folder = RunFolder(run)
    assert folder.events[-1]["event"] == "stopped"
    assert folder.checkpoints[-1] == folder.checkpoint_path(folder.events[-1]["step"])
    assert not folder.is_running
