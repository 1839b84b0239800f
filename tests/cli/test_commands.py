"""Every command does what its help says, for people and with --json for programs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.cli.settings import DECIDED_BY_DATA
from seodang.core.inputs import Facts, ImageInputs, TokenInputs, WorldInputs
from seodang.core.recipe import Recipe

COMMANDS = ["list", "show", "train", "resume", "find-lr", "depth", "compare", "evaluate", "predict", "look", "landscape", "doctor", "export",
            "import", "check", "new", "runs"]  # fmt: skip
PLUGIN = '''
"""A model of one's own."""

from torch import nn
from seodang import Config, architectures

class OwnConfig(Config):
    """Sizes."""
    in_features: int = 1
    """Numbers in one input."""
    out_features: int = 1
    """Classes."""

@architectures.register({"own-linear": OwnConfig()})
class Own(nn.Module):
    """One dense layer of one's own."""

    def __init__(self, config):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(config.in_features, config.out_features))

    def forward(self, inputs):
        return self.layer(inputs)
'''


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(command: str, seodang: Any) -> None:
    answer = seodang(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: seodang {command} ")
    for option in ("--json", "--debug", "--help"):
        assert option in answer.out


def test_help_lists_every_command_and_no_arguments_are_help(seodang: Any) -> None:
    text = seodang("--help").out
    assert [
        line.split()[0] for line in text.split("Commands:")[1].split("Options:")[0].strip().splitlines()
    ] == COMMANDS
    assert seodang().out == text
    assert seodang("--version").out.strip() == sd.__version__


def test_list(seodang: Any) -> None:
    everything = seodang("list", "--json").json
    assert set(everything) == {"recipes", "ladders", "models", "datasets", "tasks", "optimizers", "augmentations"}
    assert {"digits-mlp", "digits-cnn"} <= {row["name"] for row in everything["recipes"]}
    assert seodang("list", "models", "--json").json == everything["models"]
    shown = seodang("list", "tasks").out
    assert re.search(r"^classification +Tell which", shown, re.MULTILINE)


def test_show_a_recipe(seodang: Any) -> None:
    page = seodang("show", "digits-mlp", "--json").json
    assert page["kind"] == "recipe"
    assert page["recipe"]["model"]["name"] == "mlp"
    assert "Rumelhart" in page["model"]["source"]
    assert page["model"]["parameters"] == sum(layer["parameters"] for layer in page["model"]["layers"])
    assert page["data"]["sizes"]["train"] > 1000
    text = seodang("show", "digits-mlp").out
    assert 'name = "digits-mlp"' in text
    assert f"{page['model']['parameters']:,} parameters" in text
    assert "Licence" in text


def test_show_says_what_data_is_missing_and_fetches_nothing(seodang: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("SEODANG_DATA", raising=False)
    page = seodang("show", "mnist-mlp", "--json").json
    assert "needs files that are not here" in page["data"]["missing"]
    assert "It is fetched when you train" in page["data"]["missing"]
    assert "needs files that are not here" in seodang("show", "mnist-mlp").out


@pytest.mark.parametrize(
    ("name", "kind", "setting"),
    [("mlp", "model", "hidden_sizes"), ("classification", "task", "smoothing"), ("digits", "dataset", "augment"),
     ("adamw", "optimizer", "weight_decay")],
)  # fmt: skip
def test_show_what_is_registered(name: str, kind: str, setting: str, seodang: Any) -> None:
    page = seodang("show", name, "--json").json
    assert page["kind"] == kind
    described = {row["name"]: row["about"] for row in page["settings"]}
    assert described[setting]
    assert described[setting] in re.sub(r"\s+", " ", seodang("show", name).out)


def test_train_tells_and_writes_a_run(seodang: Any, tmp_path: Path) -> None:
    path = tmp_path / "run"
    answer = seodang("train", "digits-mlp", "--run", path, "train.threads=1", "train.epochs=2")
    assert answer.code == 0
    for expected in (r"^digits-mlp: A dense", r"^cpu, 1 thread, float32, .* [\d,]+ parameters$", r"^step 0  valid: loss",
                     r"^ +\d+%  step 20  loss [\d.]+  accuracy [\d.]+ %  [\d,]+ examples/s  .* left$",
                     r"^Scores \(test\) +loss [\d.]+  accuracy", rf"^Run +{path}$", rf"seodang look {path}$",
                     rf"seodang train {path} train.epochs=4$"):  # fmt: skip
        assert re.search(expected, answer.out, re.MULTILINE), expected
    assert answer.err == ""


def test_train_with_json_keeps_standard_output_for_programs(seodang: Any, tmp_path: Path) -> None:
    words = ("train", "digits-mlp", "--run", tmp_path / "run", "--json", "train.threads=1", "train.steps=20")
    answer = seodang(*words)
    assert answer.json["status"] == "finished"
    assert answer.json["run"] == str(tmp_path / "run")
    assert set(answer.json["scores"]) >= {"loss", "accuracy"}
    assert "step 0  valid" in answer.err
    quiet = seodang(*words[:3], tmp_path / "quiet", "--json", "--quiet", *words[5:])
    assert quiet.err == ""
    assert quiet.json["scores"] == answer.json["scores"]


def test_own_model_from_a_plug_in(seodang: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text(PLUGIN)
    assert "own-linear" in seodang("list", "models", "--plugin", plugin).out
    words = [
        "train",
        "digits-mlp",
        "model=own-linear",
        "--plugin",
        plugin,
        "train.threads=1",
        "train.steps=5",
        "--quiet",
    ]
    answer = seodang(*words, "--run", tmp_path / "run", "--json")
    assert answer.code == 0
    assert seodang("evaluate", tmp_path / "run", "--plugin", plugin).code == 0
    shown = seodang(*[word for word in words if word != "--quiet"], "--run", tmp_path / "told").out
    assert "model.name=own-linear has no hidden_sizes" in shown


def test_evaluate_prints_the_baseline_beside(finished: Path, seodang: Any) -> None:
    found = seodang("evaluate", finished, "--json").json
    assert found["split"] == "test"
    assert found["baseline"]["accuracy (most common class)"] < found["scores"]["accuracy"]
    text = seodang("evaluate", finished, "--split", "valid").out
    assert text.startswith("valid: ")
    assert re.search(r"^score +model +most common class$", text, re.MULTILINE)
    assert re.search(r"^accuracy +[\d.]+ % +1\d\.\d\d %$", text, re.MULTILINE)
    assert "There is no split 'tset'" in seodang("evaluate", finished, "--split", "tset").err


def test_predict(finished: Path, seodang: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b=1.png"):
        Image.new("L", (8, 8), 0).save(tmp_path / name)
    one = seodang("predict", finished, tmp_path / "a.png")
    assert re.fullmatch(r"\d \([\d.]+%\)\n", one.out)
    both = seodang("predict", finished, "a.png", "b=1.png", "--json").json
    assert [answer["input"] for answer in both] == ["a.png", "b=1.png"]
    assert sum(both[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_runs(finished: Path, stopped: Path, seodang: Any) -> None:
    (row,) = seodang("runs", finished.parent, "--json").json
    assert row["name"] == "finished"
    assert row["status"] == "finished"
    assert row["scores"]["accuracy"] > 0.1
    assert row["when"][:2] == "20"
    other = stopped.parent / "broken"
    other.mkdir()
    (other / "recipe.toml").write_text("not toml")
    text = seodang("runs", stopped.parent).out
    assert re.search(r"^stopped +digits-mlp +stopped ", text, re.MULTILINE)
    assert re.search(r"^broken +damaged ", text, re.MULTILINE)
    assert "There are no runs in" in seodang("runs").out


def test_resume_goes_on_to_the_end(stopped: Path, seodang: Any) -> None:
    answer = seodang("resume", stopped, "--allow-numeric-drift")
    assert answer.code == 0
    assert "Going on from step 5." in answer.out
    assert seodang("runs", stopped.parent, "--json").json[0]["status"] == "finished"


def test_check_a_recipe_a_run_and_this_machine(finished: Path, seodang: Any) -> None:
    text = seodang("check", "digits-mlp").out
    assert re.search(r"✓ data digits: train [\d,]+, valid", text)
    assert seodang("check", "digits-mlp", "--json").json["ok"] is True
    assert seodang("check", "digits-mlp", "model.hidden_sizes=3").code == 2
    assert re.search(r"\d checkpoints, .* every byte as written; the best is step-\d+", seodang("check", finished).out)
    bundle = next((finished / "checkpoints").iterdir())
    assert seodang("check", bundle, "--json").json["ok"] is True
    facts = seodang("check", "--json").json
    assert facts["seodang"] == sd.__version__
    assert facts["cores"] >= 1
    assert "torch" in seodang("check").out


def test_new_recipe_is_the_recipe_it_begins_with(seodang: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert seodang("new", "recipe", "mine", "--from", "digits-cnn").code == 0
    file = tmp_path / "mine.toml"
    text = file.read_text()
    made = Recipe.of(tomllib.loads(text))
    assert made.digest() == Recipe.of(seodang("show", "digits-cnn", "--json").json["recipe"]).digest()
    assert made.name == "mine"
    for line in text.splitlines():  # every setting stands below its description
        assert line == "" or line[0] in "#[" or re.match(r"[a-z_]+ = ", line)
    assert "# Passes over the training split. (number > 0)\nepochs = " in text
    again = seodang("new", "recipe", "mine")
    assert again.code == 2
    assert "nothing is overwritten" in again.err
    assert file.read_text() == text


def test_every_default_in_a_new_recipe_can_be_switched_on(seodang: Any, tmp_path: Path) -> None:
    seodang("new", "recipe", tmp_path / "all")
    lines = (tmp_path / "all.toml").read_text().splitlines()
    switched = [line.removeprefix("# ") if re.match(r"# [a-z_]+ = ", line) else line for line in lines]
    decided = [line for line in switched if line.partition(" = ")[0] not in DECIDED_BY_DATA]
    (tmp_path / "all.toml").write_text("\n".join(decided))
    answer = seodang("check", tmp_path / "all.toml")
    assert answer.code == 0, answer.err


def test_what_the_data_decides_is_known_to_new_recipes() -> None:
    inputs = [
        ImageInputs(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,)),
        TokenInputs(vocab_size=5, length=3),
        WorldInputs(environment="CartPole-v1", size=4, num_actions=2),
    ]
    known = {name for item in inputs for name in Facts(inputs=item, sizes={}, classes=("a", "b")).known()}
    assert known == DECIDED_BY_DATA


def test_json_is_never_mixed_with_text(finished: Path, seodang: Any) -> None:
    for words in (["list"], ["show", "mlp"], ["runs", finished.parent], ["check", finished], ["evaluate", finished]):
        json.loads(seodang(*words, "--json").out)


def test_export_and_import_and_look(finished: Path, seodang: Any, tmp_path: Path) -> None:
    exported = seodang("export", finished, "--to", "safetensors", "--path", tmp_path / "bundle", "--json").json
    assert exported["format"] == "safetensors"
    weights = tmp_path / "bundle" / "model.safetensors"
    assert weights.is_file()
    words = ["import", weights, "--as", "mlp", "--to", tmp_path / "imported", "in_features=64", "classes=10"]
    wrong = seodang(*words)
    assert wrong.code == 2
    assert "has shape" in wrong.err
    assert not (tmp_path / "imported").exists()
    recipe = tomllib.loads((finished / "recipe.toml").read_text())["model"]
    settings = [f"{name}={json.dumps(value)}" for name, value in recipe.items() if name != "name"]
    done = seodang(*words, *settings)
    assert done.code == 0, done.err
    assert seodang("check", tmp_path / "imported").code == 0
    pictures = seodang("look", finished, "--to", tmp_path / "figures", "--json").json["pictures"]
    assert pictures
    assert all(Path(path).is_file() for path in pictures)


def test_check_looks_through_data(seodang: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    rows = [f"{number},{number * 7 % 11},{'yes' if number % 2 else 'no'}" for number in range(60)]
    good.write_text("a,b,answer\n" + "\n".join(rows) + "\n")
    bad.write_text("a,b,answer\n1,2\n" + "\n".join(rows) + "\n")
    answer = seodang("check", "--data", good, "data.target=answer")
    assert answer.code == 0, answer.err
    assert f"✓ {good}: can be trained on" in answer.out
    wrong = seodang("check", "--data", bad, "--json")
    assert wrong.code == 2
    assert wrong.json["ok"] is False
    assert any("has 2 values" in finding["message"] for finding in wrong.json["findings"])
    assert "✗" in seodang("check", "--data", bad).out
