"""Every mistake: one message that says what to do, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from seodang.core.run import RunFolder

HERE = Path(__file__).parent
CALLS = [
    (["trian"], r"no command 'trian'\. Did you mean 'train'\?"),
    (["train"], r"RECIPE is missing"),
    (["train", "digits-mpl"], r"no recipe called 'digits-mpl'\. Did you mean 'digits-mlp'\?"),
    (["train", "nowhere.toml"], r"nowhere\.toml: cannot be read"),
    (["train", "digits-mlp", "model=mpl"], r"no model called 'mpl'\. Did you mean 'mlp'\? .*seodang list models"),
    (["train", "digits-mlp", "task=clasification"], r"no task called .* Did you mean 'classification'"),
    (["train", "digits-mlp", "data=digts"], r"no dataset called 'digts'\. Did you mean 'digits'"),
    (["train", "digits-mlp", "--data", "digts"], r"neither a file, a folder nor a dataset\. Did you mean 'digits'"),
    (["train", "digits-mlp", "--data", "no/where.csv"], r"no/where\.csv: there is no such file or folder"),
    (["train", "digits-mlp", "optimizer=adamv"], r"no optimizer called 'adamv'\. Did you mean 'adam"),
    (["train", "digits-mlp", "train.stps=3"], r"train\.stps: is not a setting here\. Did you mean 'steps'"),
    (["train", "digits-mlp", "model.n_layer=3"], r"model\.n_layer: is not a setting here"),
    (["train", "digits-mlp", "optimizer.learning_rate=3"], r"learning_rate: is not a setting here\. Did you mean 'lr'"),
    (["train", "digits-mlp", "data.validd=0.2"], r"data\.validd: is not a setting here\. Did you mean 'valid'"),
    (["train", "digits-mlp", "optimizer.lr=-1"], r"optimizer\.lr: should be greater than 0(\.0)? \(got -1"),
    (["train", "digits-mlp", "train.steps=many"], r"train\.steps: should be a whole number \(got 'many'\)"),
    (["train", "digits-mlp", "model.dropout=1.5"], r"model\.dropout: should be less than 1(\.0)? \(got 1\.5\)"),
    (["train", "digits-mlp", "train.precision=int8"], r"train\.precision: should be .*'bfloat16'.*\(got 'int8'\)"),
    (["train", "digits-mlp", "train.epochs=2", "train.steps=3"], r"give one length, not 2"),
    (["train", "digits-mlp", "model.out_features=7"], r"model\.out_features=7, but the data has 10"),
    (["train", "digits-mlp", "model={a=1}"], r"model\.name"),
    (["train", "digits-mlp", "model.name=[0.9, 0.99]"], r"model\.name: should be a text"),
    (["train", "digits-mlp", "model.name=true"], r"model\.name: should be a text"),
    (["train", "digits-mlp", "model=0.1"], r"model: .*\(got 0\.1\)"),
    (["train", "digits-mlp", "--data", "~nobody-of-this-name/x.csv"], r"no such file"),
    (["train", "digits-mlp", "epochs"], r"'epochs': a setting is written section\.key=value"),
    (["train", "digits-mlp", "train.devices=4096"], r"train\.devices=4096, but this machine has"),
    (["train", "digits-mlp", "train.threads=4096"], r"train\.threads=4096, but this machine has"),
    (
        ["train", "digits-mlp", "--epochs", "3"],
        r"no option --epochs\. Settings are written without dashes: train\.epochs=",
    ),
    (["train", "digits-mlp", "--lr", "3"], r"without dashes: optimizer\.lr="),
    (["train", "digits-mlp", "--seed", "3"], r"without dashes: seed="),
    (["train", "digits-mlp", "--plugn", "x.py"], r"no option --plugn\. Did you mean '--plugin'"),
    (["train", "digits-mlp", "--plugin", "x.py"], r"x\.py: a plug-in is one Python file"),
    (["train", "digits-mlp", "--run"], r"--run: needs a value"),
    (["resume", "nowhere"], r"nowhere: there is no such folder\. See your runs: seodang runs"),
    (["resume", HERE], r"is not a run: it has no recipe\.toml"),
    (["evaluate", HERE], r"is not a run"),
    (["resume", "a", "b"], r"'b': this command takes no more words"),
    (["list", "modles"], r"there is no 'modles'\. Did you mean 'models'\?"),
    (["list", "augmentation"], r"Did you mean 'augmentations'\?"),
    (["landscape", "bowl", "--plane", "pcb"], r"--plane: there is no 'pcb'\. Did you mean 'pca'\?"),
    (
        ["show", "digits-mpl"],
        r"no recipe, ladder, model, dataset, task or optimizer called 'digits-mpl'\. Did you mean 'digits-mlp'",
    ),
    (["new", "recipe", "x", "--from", "nothing"], r"neither a recipe nor a model called 'nothing'"),
    (["check", "digits-mlp", "--write"], r"belong to --measure"),
    (["check", "--measure"], r"takes one recipe"),
    (["check", "digits-mlp", "--measure", "--at-least", "accuracy"], r"'accuracy': a promise is written name=number"),
]


@pytest.mark.parametrize(("words", "message"), CALLS, ids=[" ".join(map(str, words))[:50] for words, _ in CALLS])
def test_a_mistake_is_explained(words: list[Any], message: str, seodang: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    answer = seodang(*words)
    assert answer.code == 2
    assert re.search(message, answer.err), answer.err
    assert answer.err.startswith("Error: ")
    assert "Traceback" not in answer.err
    assert not list(tmp_path.iterdir()), "something was written"


def test_with_json_the_mistake_is_json_too(seodang: Any) -> None:
    answer = seodang("train", "digits-mpl", "--json")
    assert answer.code == 2
    assert answer.json["exit_code"] == 2
    assert answer.json["error"]["kind"] == "UnknownName"
    assert "Did you mean 'digits-mlp'?" in answer.json["error"]["message"]


def test_a_run_folder_that_exists_is_kept(finished: Path, tmp_path: Path, seodang: Any) -> None:
    before = sorted(path.name for path in finished.rglob("*"))
    answer = seodang("train", "digits-mlp", "--run", finished)
    assert answer.code == 2
    assert f"there is a run here already. Go on with it: seodang resume {finished}" in answer.err
    (tmp_path / "mine.txt").write_text("mine")
    assert "is not empty" in seodang("train", "digits-mlp", "--run", tmp_path).err
    assert "is a file" in seodang("train", "digits-mlp", "--run", tmp_path / "mine.txt").err
    assert sorted(path.name for path in finished.rglob("*")) == before


def test_a_finished_run_is_not_resumed(finished: Path, seodang: Any) -> None:
    answer = seodang("resume", finished)
    assert answer.code == 2
    assert "is finished; there is nothing to resume" in answer.err


def test_a_running_run_is_left_alone(stopped: Path, seodang: Any) -> None:
    with RunFolder(stopped).locked():
        answer = seodang("resume", stopped)
        assert seodang("runs", stopped.parent, "--json").json[0]["status"] == "running"
    assert answer.code == 2
    assert "is running already, in process" in answer.err
    assert f"touch {stopped}/stop" in answer.err


def test_resume_names_what_has_changed(stopped: Path, seodang: Any) -> None:
    recipe = stopped / "recipe.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("threads = 1", "threads = 2"))
    answer = seodang("resume", stopped)
    assert answer.code == 2
    assert "threads: 1 → 2" in answer.err
    assert "--allow-numeric-drift" in answer.err
    recipe.write_text(text.replace("threads = 1", "threads = 1\nclip = 9.0"))
    assert "recipe: " in seodang("resume", stopped).err
    assert seodang("resume", stopped, "--allow-numeric-drift", "--quiet").code == 0


def test_a_damaged_checkpoint_is_named(stopped: Path, seodang: Any) -> None:
    file = next((stopped / "checkpoints").glob("*/model.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    answer = seodang("check", stopped)
    assert answer.code == 2
    assert str(file) in answer.err
    assert "is damaged" in answer.err


def test_an_option_of_another_task_is_refused(finished: Path, seodang: Any) -> None:
    answer = seodang("predict", finished, "x.png", "--temperature", "2")
    assert answer.code == 2
    assert "temperature: is not an option of the task 'classification'" in answer.err


def test_our_own_failure_says_how_to_report_it(seodang: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("seodang.core.shipped.recipe_names", lambda: 1 / 0)
    answer = seodang("list", "recipes")
    assert answer.code == 1
    assert re.search(r"the fault is Seodang's: ZeroDivisionError: division by zero \(.*, line \d+\)", answer.err)
    assert "Traceback" not in answer.err
    traced = seodang("list", "recipes", "--debug")
    assert traced.code == 1
    assert "Traceback" in traced.err


def test_a_failing_plug_in_is_told_from_our_own_failure(seodang: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("raise RuntimeError('not today')\n")
    answer = seodang("list", "models", "--plugin", plugin)
    assert answer.code == 2
    assert f"{plugin}: the plug-in could not be imported: RuntimeError: not today" in answer.err


def test_too_little_memory_says_what_to_change(seodang: Any, monkeypatch: Any) -> None:
    def full() -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 1 TB")

    monkeypatch.setattr("seodang.core.shipped.recipe_names", full)
    answer = seodang("list", "recipes")
    assert answer.code == 2
    assert "Try a smaller train.batch_size" in answer.err
