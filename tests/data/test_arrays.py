from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seodang.core.errors import ConfigError, DataError, SeodangError
from seodang.core.inputs import ImageInputs, VectorInputs
from seodang.core.recipe import Choice
from seodang.data.arrays import ArrayData
from seodang.data.dataset import datasets

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 8, 6, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3
ROWS = RNG.normal(5, 2, (30, 4))


def arrays(
    folder: Path, adopt: Any = None, seed: int = 0, given: dict[str, Any] | None = None, **content: Any
) -> ArrayData:
    path = folder / "data.npz"
    np.savez(path, **content)
    data = datasets.make(Choice.of({"name": "arrays", "path": str(path), **(given or {})}), None, seed)
    data.adopt(adopt)
    data.prepare()
    assert isinstance(data, ArrayData)
    return data


def batch(data: ArrayData, split: str = "train") -> Any:
    return data.split(split).batch(torch.arange(data.facts.sizes[split]), None)


@pytest.mark.parametrize(
    ("images", "shape", "layout"),
    [
        (IMAGES, (3, 8, 6), "auto"),
        (IMAGES.transpose(0, 3, 1, 2), (3, 8, 6), "auto"),
        (IMAGES[..., 0], (1, 8, 6), "auto"),
        (IMAGES[..., :2], (2, 8, 6), "NHWC"),
        (RNG.integers(0, 256, (30, 3, 5, 3), dtype=np.uint8), (3, 5, 3), "NCHW"),
    ],
)
def test_bytes_become_pictures(tmp_path: Path, images: np.ndarray, shape: tuple[int, ...], layout: str) -> None:
    data = arrays(tmp_path, x=images, y=LABELS, given={"layout": layout})
    assert data.facts.inputs.shape == shape
    assert data.facts.classes == ("0", "1", "2")
    found, labels = batch(data)
    row = int(data._rows["train"][0])
    channels_first = images[row, None] if images.ndim == 3 else images[row]
    if images.ndim == 4 and channels_first.shape != shape:
        channels_first = channels_first.transpose(2, 0, 1)
    inputs = data.facts.inputs
    assert isinstance(inputs, ImageInputs)
    mean, std = (np.array(values)[:, None, None] for values in (inputs.mean, inputs.std))
    np.testing.assert_allclose(found[0].numpy(), (channels_first / 255 - mean) / std, atol=1e-4)
    assert labels[0].item() == LABELS[row]
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3), unbiased=False), torch.ones(shape[0]), atol=1e-3, rtol=0)


def test_rows_of_numbers_are_standardised_by_training_rows(tmp_path: Path) -> None:
    data = arrays(tmp_path, x=ROWS, y=np.array(["b", "a", "c"])[LABELS])
    assert isinstance(data.facts.inputs, VectorInputs)
    assert data.facts.classes == ("a", "b", "c")
    assert data.facts.sizes == {"train": 21, "valid": 3, "test": 6}
    features, labels = batch(data)
    torch.testing.assert_close(features.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(0, unbiased=False), torch.ones(4), atol=1e-5, rtol=0)
    assert labels.bincount().tolist() == [7, 7, 7]
    assert set(data.baseline("test") or ()) >= {"accuracy (logistic regression)", "accuracy (random forest)"}


def test_floats_are_quantities(tmp_path: Path) -> None:
    data = arrays(tmp_path, x=ROWS, y=ROWS[:, :1] * 3 + 1)
    assert data.facts.classes is None
    assert [target.name for target in data.facts.targets] == ["y"]
    _, targets = batch(data)
    assert targets.shape == (21, 1)
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert "r2 (ridge regression)" in (data.baseline("test") or {})
    two = arrays(tmp_path, x=ROWS, y=ROWS[:, :2])
    assert [target.name for target in two.facts.targets] == ["y_0", "y_1"]
    assert two.baseline("test") is None
    assert arrays(tmp_path, x=ROWS, y=LABELS.astype(float), given={"kind": "classes"}).facts.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "names",
    [
        ("train_x", "train_y", "test_x", "test_y"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train-images", "train-labels", "test-images", "test-labels"),
        ("X_TRAIN", "Y_TRAIN", "X_TEST", "Y_TEST"),
    ],
)
def test_splits_are_taken_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    values = (ROWS[:20], LABELS[:20], ROWS[20:], LABELS[20:])
    data = arrays(tmp_path, **dict(zip(names, values, strict=True)), given={"valid": 0.2})
    assert data.facts.sizes == {"train": 17, "test": 10, "valid": 3}
    inputs = data.facts.inputs
    assert isinstance(inputs, VectorInputs)
    np.testing.assert_allclose(inputs.mean, ROWS[data._rows["train"].numpy()].mean(0), rtol=1e-5)
    assert batch(data, "test")[1].tolist() == LABELS[20:].tolist()


def test_names_of_classes_come_along(tmp_path: Path) -> None:
    data = arrays(tmp_path, x=ROWS, y=LABELS, classes=np.array(["zebra", "ape", "cat"]))
    assert data.facts.classes == ("zebra", "ape", "cat")
    assert batch(data)[1].tolist() == LABELS[data._rows["train"].numpy()].tolist()


def test_pictures_without_answers(tmp_path: Path) -> None:
    data = arrays(tmp_path, images=IMAGES)
    assert data.facts.classes is None
    assert batch(data)[1] is None


NAN = ROWS.copy()
NAN[3, 1] = NAN[7, 0] = np.nan
BAD = {
    "objects": ({"x": ROWS, "y": np.array([[1]] * 30, dtype=object)}, {}, "array 'y' cannot be read: it holds Python objects"),
    "no inputs": ({"y": LABELS}, {}, r"cannot tell inputs from targets by the names of its arrays \(y\). Call them x and y"),
    "strange names": ({"x": ROWS, "y": LABELS, "weights": ROWS}, {}, r"names of its arrays \(weights, x, y\)"),
    "x beside train_x": ({"x": ROWS, "train_x": ROWS, "y": LABELS}, {}, "cannot tell inputs from targets"),
    "lengths": ({"x": ROWS, "y": LABELS[:29]}, {}, "'x' has 30 examples, 'y' has 29 answers"),
    "nan": ({"x": NAN, "y": LABELS}, {}, r"array 'x' holds NaN or infinity in 2 places \(rows 3, 7, counted from 0\)"),
    "nan answers": ({"x": ROWS, "y": NAN[:, 0]}, {}, r"array 'y' holds NaN or infinity in 1 places \(rows 7"),
    "texts as inputs": ({"x": np.array([["a"]] * 30), "y": LABELS}, {}, "array 'x' holds <U1; inputs are numbers"),
    "one number": ({"x": ROWS[:, 0], "y": LABELS}, {}, r"array 'x' has shape \(30,\); it needs a row for each example"),
    "float pictures": ({"x": IMAGES / 255, "y": LABELS}, {}, r"'x' is float64 of shape \(30, 8, 6, 3\); pictures are uint8.*255 \* x"),
    "unknown axes": ({"x": IMAGES[..., :2], "y": LABELS}, {}, "say which axes these are: data.layout=NHW, NHWC or NCHW"),
    "wrong axes": ({"x": IMAGES, "y": LABELS}, {"layout": "NHW"}, "say which axes these are"),
    "one-hot": ({"x": ROWS, "y": np.eye(3, dtype=int)[LABELS]}, {}, r"'y' is int64 of shape \(30, 3\); labels are one.*y.argmax\(1\)"),
    "fractions as classes": ({"x": ROWS, "y": ROWS[:, 0]}, {"kind": "classes"}, "array 'y' holds fractions"),
    "texts as quantities": ({"x": ROWS, "y": LABELS.astype(str)}, {"kind": "quantity"}, "array 'y' is <U21 of shape"),
    "one class": ({"x": ROWS, "y": LABELS * 0}, {}, r"array 'y' holds one class only \(0\)"),
    "one quantity": ({"x": ROWS, "y": LABELS * 0.0}, {}, "'y' is the same in every training example"),
    "label without a name": ({"x": ROWS, "y": LABELS, "classes": np.array(["a", "b"])}, {}, "the label 2, but 'classes' names 2"),
    "rows without answers": ({"x": ROWS}, {}, "has inputs but no answers; add an array 'y'"),
    "no train": ({"test_x": ROWS, "test_y": LABELS}, {}, "has arrays for test but none for train"),
    "different shapes": (
        {"train_x": ROWS, "train_y": LABELS, "test_x": ROWS[:, :3], "test_y": LABELS}, {}, r"different shapes: \(3,\), \(4,\)"),
    "different kinds": (
        {"train_x": ROWS, "train_y": LABELS, "test_x": ROWS, "test_y": LABELS.astype(str)}, {}, "answers of different kinds: int64, <U"),
    "answers without inputs": ({"train_x": ROWS, "train_y": LABELS, "test_y": LABELS}, {}, "there is 'test_y' but no inputs for it"),
    "inputs without answers": ({"train_x": ROWS, "train_y": LABELS, "test_x": ROWS}, {}, "there is 'test_x' but no answers for it"),
    "empty": ({"x": ROWS[:0], "y": LABELS[:0]}, {}, "array 'x' is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused(tmp_path: Path, case: str) -> None:
    content, given, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        arrays(tmp_path, given=given, **content)
    assert "data.npz" in str(caught.value)


def test_files_that_are_no_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> None:
        datasets.make(Choice(name="arrays", path=str(path)), None, 0).prepare()  # type: ignore[call-arg]

    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x.npz: is not a whole .npz file"):
        read(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "y.npz", x=ROWS, y=LABELS)
    whole = (tmp_path / "y.npz").read_bytes()
    (tmp_path / "y.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is not a whole .npz file"):
        read(tmp_path / "y.npz")
    damaged = bytearray(whole)
    damaged[200:220] = bytes(20)
    (tmp_path / "y.npz").write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"y.npz: "):
        read(tmp_path / "y.npz")
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "nowhere.npz")
    with pytest.raises(ConfigError, match=r"data.path: is missing"):
        datasets.make(Choice(name="arrays"), None, 0).prepare()
    np.savez(tmp_path / "z.npz", x=ROWS, y=LABELS)
    monkeypatch.setattr("seodang.data.array_reading.free_memory", lambda: 1000)
    with pytest.raises(DataError, match="bytes, more than half of free memory"):
        read(tmp_path / "z.npz")


def test_a_model_is_judged_on_other_arrays(tmp_path: Path) -> None:
    facts = arrays(tmp_path, x=ROWS, y=LABELS).facts
    data = arrays(tmp_path, adopt=facts, x=ROWS[:4] + 1, y=LABELS[:4])
    assert data.facts.inputs == facts.inputs
    assert data.facts.sizes == {"test": 4}
    inputs = facts.inputs
    assert isinstance(inputs, VectorInputs)
    np.testing.assert_allclose(batch(data, "test")[0], (ROWS[:4] + 1 - inputs.mean) / inputs.std, rtol=1e-4)
    with pytest.raises(
        DataError, match=r"gives vector of shape \(3,\); the model was trained with vector of shape \(4,\)"
    ):
        arrays(tmp_path, adopt=facts, x=ROWS[:, :3], y=LABELS)
    with pytest.raises(DataError, match="'5' is not among the classes"):
        arrays(tmp_path, adopt=facts, x=ROWS, y=LABELS + 5)
    quantity = arrays(tmp_path, x=ROWS, y=ROWS[:, 0]).facts
    again = arrays(tmp_path, adopt=quantity, x=ROWS, y=ROWS[:, 0])
    assert again.facts.targets == quantity.targets
    with pytest.raises(SeodangError, match="has 2 quantities, the model predicts 1"):
        arrays(tmp_path, adopt=quantity, x=ROWS, y=ROWS[:, :2])
