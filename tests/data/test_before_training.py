"""The check that runs by itself: what it says, when it stops, that it is paid for once, and that a resume sees the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seodang as sd
from seodang.core.errors import DataError
from seodang.core.events import Event, Noticed
from seodang.core.recipe import Choice
from seodang.core.run import RunFolder
from seodang.data import before_training, inspect
from seodang.data.before_training import look_over, remarks
from seodang.data.dataset import Dataset, datasets
from tests.data.test_own_data_runs import flowers
from tests.harness import assert_same_end, killed_after

SMALL: dict[str, Any] = {"epochs": 2, "threads": 1, "log_every": 1000}


def prepared(path: Path, name: str = "table", **settings: Any) -> Dataset:
    data = datasets.make(Choice.of({"name": name, "path": str(path), **settings}))
    data.prepare()
    return data


def quiet(text: str) -> None:
    raise AssertionError(f"nothing should be said: {text}")


def with_copy(path: Path) -> Path:
    """Write the flowers with a column that is the target, and one that numbers the rows."""
    lines = flowers(path).read_text().splitlines()
    path.write_text(
        "\n".join(f"{'kind' if index == 0 else line.split(',')[-1]},{line}" for index, line in enumerate(lines))
    )
    return path


def test_what_is_noticed_reaches_listeners_and_the_history(tmp_path: Path) -> None:
    events: list[Event] = []
    run = sd.train(
        "iris-mlp", data=with_copy(tmp_path / "iris.csv"), run=tmp_path / "run", train=SMALL, listeners=[events.append]
    )
    said = [event.text for event in events if isinstance(event, Noticed)]
    assert said[0].startswith("Split at random with seed 0, every class in proportion: train ")
    assert "Training examples: setosa " in said[0]
    assert said[1].startswith("Column 'id' is left out: it numbers the rows")
    assert "Warning:" in said[2]
    assert "'kind' says the same as the target 'species'" in said[2]
    assert said[3].endswith(f"seodang check --data {tmp_path / 'iris.csv'}")
    assert [event["text"] for event in run.events if event["event"] == "noticed"] == said
    assert [event["event"] for event in run.events][:2] == ["started", "noticed"]


def test_a_fault_that_would_teach_wrong_things_stops_before_there_is_a_folder(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    labels = np.arange(60) % 2
    np.savez(tmp_path / "x.npz", train_x=rows[:40], train_y=labels[:40], test_x=rows[40:], test_y=labels[40:] + 1)
    with pytest.raises(DataError, match="class '2' is in test but not in train"):
        sd.train("iris-mlp", data=tmp_path / "x.npz", run=tmp_path / "run", train=SMALL)
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npz"]


def test_a_second_look_is_not_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_copy(tmp_path / "iris.csv")
    first = look_over(prepared(path), quiet)
    looked: list[Path] = []
    check = inspect.CHECKS[type(prepared(path).settings)]

    def counting(path: Path, settings: Any) -> Any:
        looked.append(path)
        return check(path, settings)

    monkeypatch.setitem(inspect.CHECKS, type(prepared(path).settings), counting)
    assert look_over(prepared(path), quiet) == first
    assert not looked
    look_over(prepared(path, valid=0.2), quiet)
    assert len(looked) == 1, "other settings, other findings"
    monkeypatch.setenv("SEODANG_LANG", "ko")
    assert look_over(prepared(path), quiet) != first
    assert len(looked) == 2
    monkeypatch.setenv("SEODANG_LANG", "en")
    path.write_text(path.read_text() + "\n\n")  # the same rows in another file
    look_over(prepared(path), quiet)
    assert len(looked) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": 1}', b'{"findings": [["fatal", "a", "b"]]}'])
def test_a_kept_look_that_is_damaged_is_taken_again(content: bytes, tmp_path: Path) -> None:
    path = with_copy(tmp_path / "iris.csv")
    first = look_over(prepared(path), quiet)
    (kept,) = (before_training.cache_folder() / "checks").iterdir()
    mark = json.loads(kept.read_bytes())["fingerprint"]
    kept.write_bytes(content.replace(b'{"findings"', f'{{"fingerprint": "{mark}", "findings"'.encode()))
    assert look_over(prepared(path), quiet) == first
    assert json.loads(kept.read_bytes())["fingerprint"] == mark


def test_without_a_place_to_keep_it_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SEODANG_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert look_over(prepared(flowers(tmp_path / "iris.csv")), said.append)
    assert "could not be kept" in said[0]


def test_a_long_look_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before_training, "LARGE", 1000)
    said: list[str] = []
    path = flowers(tmp_path / "iris.csv")
    look_over(prepared(path), said.append)
    assert said == [f"Looking through {path} (0 MB) once before training …"]
    look_over(prepared(path), quiet)


def test_data_that_is_not_the_users_own_is_not_looked_through() -> None:
    data = datasets.make(Choice.of("iris"))
    data.prepare()
    assert look_over(data, quiet) == []
    assert remarks(data, []) == []


def pictures(root: Path) -> Path:
    draw = np.random.default_rng(0)
    for index in range(40):
        path = root / ("dark" if index % 2 else "light") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((draw.integers(0, 128, (8, 8)) + 127 * (index % 2 == 0)).astype(np.uint8)).save(path)
    for name in ("dark/1.png", "light/20.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    return root


def test_skipped_pictures_are_in_the_record_and_the_same_after_a_resume(tmp_path: Path) -> None:
    recipe, own = "digits-mlp", {"name": "folder", "path": str(pictures(tmp_path / "photos")), "on_unreadable": "skip"}
    settings = {"train": {**SMALL, "batch_size": 8, "save_every": 2, "evaluate_every": 2}}
    whole = sd.train(recipe, data=own, run=tmp_path / "whole", **settings)
    with killed_after(5):
        sd.train(recipe, data=own, run=tmp_path / "killed", **settings)
    before = RunFolder(tmp_path / "killed").read_json("environment.json")
    resumed = sd.resume(tmp_path / "killed")
    after = resumed.read_json("environment.json")
    assert before is not None
    assert after is not None
    skipped = [note for note in after["notes"] if note.startswith("Skipped: ")]
    assert [note.split()[1] for note in skipped] == ["dark/1.png", "light/20.png"]
    assert before["notes"] == after["notes"]
    said = [event["text"] for event in whole.events if event["event"] == "noticed"]
    assert all(note in said[1] for note in skipped)
    assert_same_end(whole, resumed)


def test_many_things_left_out_are_counted(tmp_path: Path) -> None:
    lines = flowers(tmp_path / "iris.csv").read_text().splitlines()
    extra = [",".join(f"c{column}" for column in range(9)), *([",".join("1" * 9)] * (len(lines) - 1))]
    (tmp_path / "iris.csv").write_text("\n".join(f"{more},{line}" for more, line in zip(extra, lines, strict=True)))
    data = prepared(tmp_path / "iris.csv")
    assert len([note for note in data.facts.notes if "is left out" in note]) == 10
    said = remarks(data, look_over(data, quiet))
    assert said[1].count("is left out") == 3
    assert said[1].endswith("… and 7 more; the run's environment.json has all.")
