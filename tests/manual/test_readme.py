"""The commands of the README, run one after another in an empty folder; and the examples of the documentation."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import seodang as sd
from seodang.api import open_run
from seodang.cli.app import app
from seodang.core.shipped import recipe_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(block: str = "commands") -> list[str]:
    found = re.search(rf"<!-- {block}: .*?```console\n(.*?)```", README, re.DOTALL)
    assert found
    return [line.removeprefix("$ ").removeprefix("seodang ") for line in found.group(1).splitlines()]


def test_the_commands_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEODANG_RUNS")
    subprocess.run([sys.executable, ROOT / "docs" / "examples" / "digit_picture.py", "digit.png"], check=True)
    assert len(commands()) >= 8
    for command in commands():
        extra = ["train.threads=1"] if command.startswith("train ") else []
        result = CliRunner().invoke(app, [*shlex.split(command), *extra])
        assert result.exit_code == 0, f"seodang {command}\n{result.output}"
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
    assert (tmp_path / "mine.toml").is_file()


def test_the_three_lines_for_own_data_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    for place, (image, label) in enumerate(zip(digits.images[:120], digits.target[:120], strict=True)):
        folder = Path("photos", f"class {label}")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("uint8")).save(folder / f"{place}.png")
    rows = [f"{size},{'abc'[size % 3]},{'' if size % 7 == 0 else size * size},{3 * size + 1}" for size in range(60)]
    Path("table.csv").write_text("\n".join(["rooms,town,area,price", *rows]))
    Path("poems.txt").write_text("The moon is over the hill, and nobody looks.\n" * 200)
    short = [["train.epochs=2"], ["train.epochs=2"], ["train.minutes=0.01"]]
    assert len(commands("own data")) == len(short)
    for command, less in zip(commands("own data"), short, strict=True):
        result = CliRunner().invoke(app, [*shlex.split(command, comments=True), *less, "train.threads=1"])
        assert result.exit_code == 0, f"seodang {command}\n{result.output}"


def test_the_lines_for_several_processes_work(tmp_path: Path) -> None:
    scores = []
    for command in commands("ranks"):
        words = [*shlex.split(command), "train.epochs=2", "train.threads=1"]
        program = (
            [Path(sys.executable).parent / "torchrun", *words[1:]]
            if words[0] == "torchrun"
            else [sys.executable, "-m", "seodang", *words]
        )
        ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert ended.returncode == 0, ended.stderr
        scores.append(open_run(tmp_path / words[words.index("--run") + 1]).scores)
    assert scores[0] == scores[1]


def test_the_python_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block
    names: dict[str, object] = {}
    exec(block.group(1).replace('"epochs": 5', '"epochs": 1, "threads": 1'), names)
    assert not names["model"].training  # type: ignore[attr-defined]
    assert set(names["run"].scores) >= {"loss", "accuracy"}  # type: ignore[attr-defined]


def test_both_readmes_show_the_same_commands() -> None:
    korean = (ROOT / "README.ko.md").read_text()
    console = [re.findall(r"^\$ (.*?)(?:\s{2,}#.*)?$", text, re.MULTILINE) for text in (README, korean)]
    assert [line.split("PATH")[0] for line in console[0]] == [line.split("PATH")[0] for line in console[1]]


def test_every_recipe_stands_in_both_readmes() -> None:
    for name in recipe_names():
        if name == "mnist-judge":
            continue  # it makes the classifier that ships; people have no use for it
        for file in ("README.md", "README.ko.md"):
            assert f"`{name}`" in (ROOT / file).read_text(), f"{file}: {name}"


def test_own_model_dataset_and_task_in_one_file(tmp_path: Path) -> None:
    examples = ROOT / "docs" / "examples"
    run = sd.train(examples / "own-recipe.toml", plugin=examples / "own_everything.py", run=tmp_path / "run",
                   train={"threads": 1})  # fmt: skip
    assert run.scores["accuracy"] >= 0.98
    (answer,) = run.predict("0.0,1.0")
    assert answer.text == "upper"
    again = sd.resume  # a plug-in's run is resumed like any other
    with pytest.raises(sd.SeodangError, match="is finished"):
        again(run, plugin=examples / "own_everything.py")
