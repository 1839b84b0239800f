"""Suspicious examples are named as their owner would look for them: by file, by line of a table, by place in an array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image

import seodang as sd
from seodang import api
from seodang.core.recipe import Choice
from seodang.data.dataset import datasets
from seodang.diagnosis.finding import Finding

COUNT, WRONG = 360, range(0, 360, 5)
"""Digits below four that are used; those of them with another label than their own."""


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures in 0…16 and labels, every fifth of which is wrong."""
    loaded = sklearn.datasets.load_digits()
    few = np.flatnonzero(loaded.target < 4)[:COUNT]
    images, labels = loaded.images[few], loaded.target[few]
    labels[list(WRONG)] = (labels[list(WRONG)] + 1) % 4
    return images, labels


def found(data: dict[str, Any], folder: Path, illness: str) -> Finding:
    recipe = {"name": "suspects", "model": {"name": "mlp", "hidden_sizes": [16]}, "data": data, "task": "classification",
              "optimizer": {"name": "adam", "lr": 0.003}, "train": {"epochs": 2, "threads": 1}}  # fmt: skip
    sd.train(recipe, run=folder / "run")
    return next(finding for finding in sd.doctor(folder / "run").findings if finding.illness == illness)


def test_pictures_are_named_by_their_files(digits: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = digits
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "my photos" / f"digit {label}" / f"{place:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(path)
    finding = found({"name": "folder", "path": str(tmp_path / "my photos")}, tmp_path, "label-noise")
    named = [Path(text.split(": ")[0]) for text in finding.examples]
    assert len(named) == 20
    assert all(path.is_file() for path in named)
    assert sum(int(path.stem) in WRONG for path in named) >= 18
    assert finding.command == f"seodang check --data '{tmp_path}/my photos'"


def test_rows_of_a_table_are_named_by_their_lines(digits: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = digits
    path = tmp_path / "digits.csv"
    names = [f"pixel{place}" for place in range(64)]
    lines = [",".join(map(str, [*image.ravel(), f"digit{label}"])) for image, label in zip(images, labels, strict=True)]
    path.write_text("\n".join([",".join([*names, "label"]), *lines]) + "\n")
    finding = found({"name": "table", "path": str(path)}, tmp_path, "label-noise")
    places = [text.split(": ")[:2] for text in finding.examples]
    assert {place[0] for place in places} == {str(path)}
    assert sum(int(place[1].removeprefix("line ")) - 2 in WRONG for place in places) >= 18
    line = path.read_text().splitlines()[int(places[0][1].removeprefix("line ")) - 1]
    assert f"is '{line.split(',')[-1]}'" in finding.examples[0]


def test_examples_of_arrays_are_named_by_their_places(digits: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = digits
    path = tmp_path / "digits.npz"
    pixels = (images * 15).astype(np.uint8)
    copied = np.concatenate([pixels[300:], pixels[:30]])
    np.savez(
        path,
        train_x=pixels[:300],
        train_y=labels[:300],
        test_x=copied,
        test_y=np.concatenate([labels[300:], labels[:30]]),
    )
    data = {"name": "arrays", "path": str(path)}
    finding = found(data, tmp_path, "test-in-training")
    for text in finding.examples:
        test, train = (int(part.rsplit("[")[1].rstrip("]")) for part in text.split(" = "))
        assert (copied[test] == pixels[train]).all()
    assert finding.examples[0].startswith(f"{path}: test_x[")
    suspects = next(item for item in sd.doctor(tmp_path / "run").findings if item.illness == "label-noise").examples
    assert sum(int(text.split("[")[1].split("]")[0]) in WRONG for text in suspects) >= 18


@pytest.mark.parametrize("name", ["digits", "iris", "gates"])
def test_every_dataset_says_where_an_example_comes_from(name: str) -> None:
    data = datasets.make(Choice(name=name), None, 0)
    data.prepare()
    places = [data.where("train", row) for row in range(4)]
    assert len(set(places)) == 4
    if name == "digits":
        loaded = sklearn.datasets.load_digits()
        rows = [int(place.split("[")[1].rstrip("]")) for place in places]
        batch = data.split("train").batch(torch.arange(4), None)
        assert batch[1].tolist() == loaded.target[rows].tolist()
