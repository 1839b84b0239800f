"""Named datasets: what they hold, how they are read, how they are split, and what damaged files lead to."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seodang.core.errors import ConfigError, DataError
from seodang.core.files import digest
from seodang.core.recipe import Choice
from seodang.data import cifar, mnist
from seodang.data.cifar import BATCH_PICTURES, RECORD_BYTES, TEST, TRAIN, read_members
from seodang.data.dataset import Dataset, datasets
from seodang.data.download import Official
from seodang.data.images import MemoryImages
from seodang.data.mnist import FASHION_FILES, MNIST_FILES, read_idx, read_npz
from tests.conftest import needs_data


def ready(name: str, seed: int = 0, **settings: object) -> Dataset:
    dataset = datasets.make(Choice.of({"name": name, **settings}), None, seed)
    dataset.prepare()
    return dataset


def labels(dataset: Dataset, split: str) -> torch.Tensor:
    examples = dataset.split(split)
    assert isinstance(examples, MemoryImages)
    assert examples.labels is not None
    return examples.labels


# ------------------------------------------------------------------------------------------ gates, digits


@pytest.mark.parametrize("gate", ["and", "or", "nand", "nor", "xor"])
def test_a_gate_is_its_truth_table(gate: str) -> None:
    dataset = ready("gates", gate=gate)
    features, targets = dataset.split("train").batch(torch.arange(4), None)
    rule = {"and": all, "or": any, "nand": lambda row: not all(row), "nor": lambda row: not any(row),
            "xor": lambda row: sum(row) == 1}[gate]  # fmt: skip
    assert features.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert targets.tolist() == [int(rule(row)) for row in features.tolist()]
    assert dataset.facts.sizes == {"train": 4, "test": 4}
    assert dataset.facts.classes == ("0", "1")
    assert "the same four" in dataset.facts.notes[0]


def test_gates_have_different_fingerprints() -> None:
    assert len({ready("gates", gate=gate).facts.digest for gate in ("and", "or", "nand", "nor", "xor")}) == 5


def test_digits_are_split_in_proportion_and_by_seed() -> None:
    dataset = ready("digits", valid=0.15, test=0.15)
    assert dataset.facts.sizes == {"train": 1259, "valid": 269, "test": 269}
    share = labels(dataset, "test").bincount() / labels(dataset, "train").bincount()
    assert (share - 0.15 / 0.7).abs().max() < 0.01
    assert dataset.facts.digest == ready("digits", valid=0.15, test=0.15).facts.digest
    assert dataset.facts.digest != ready("digits", seed=1, valid=0.15, test=0.15).facts.digest
    assert dataset.facts.digest != ready("digits").facts.digest


# -------------------------------------------------------------------------------------------------- MNIST


@needs_data("mnist")
def test_mnist_is_whole_and_in_the_official_order() -> None:
    dataset = ready("mnist")
    assert dataset.facts.sizes == {"train": 60_000, "test": 10_000}
    assert (dataset.facts.inputs.mean, dataset.facts.inputs.std) == ((0.1307,), (0.3081,))
    assert labels(dataset, "train")[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert labels(dataset, "test")[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert labels(dataset, "train").bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    first = dataset.split("train").batch(torch.tensor([0]), None)[0]
    assert first.shape == (1, 1, 28, 28)
    assert not any("held out" in note for note in dataset.facts.notes)


@needs_data("mnist")
def test_mnist_holds_out_and_limits_by_seed() -> None:
    dataset = ready("mnist", valid=5000, limit=1000, test_limit=500)
    assert dataset.facts.sizes == {"train": 1000, "valid": 5000, "test": 500}
    rows = dataset._rows  # type: ignore[attr-defined]
    assert not set(rows["train"].tolist()) & set(rows["valid"].tolist())
    more = ready("mnist", valid=5000, limit=2000)
    assert torch.equal(rows["valid"], more._rows["valid"])  # type: ignore[attr-defined]
    assert dataset.facts.digest != more.facts.digest
    counts = labels(dataset, "valid").bincount()
    assert counts.sum() == 5000
    assert (counts - torch.tensor([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 12).abs().max() < 1
    assert any("5000 training pictures held out with seed 0" in note for note in dataset.facts.notes)
    assert any("500 pictures of 10000 only" in note for note in dataset.facts.notes)


@needs_data("mnist")
def test_mnist_is_not_held_out_whole() -> None:
    with pytest.raises(ConfigError, match=r"data.valid=60000: there are only 60000 training pictures"):
        ready("mnist", valid=60_000)


@needs_data("mnist")
@pytest.mark.parametrize(("normalize", "low", "high"), [("unit", 0.0, 1.0), ("symmetric", -1.0, 1.0)])
def test_grey_levels_can_be_left_as_they_are(normalize: str, low: float, high: float) -> None:
    images = ready("mnist", limit=100, normalize=normalize).split("train").batch(torch.arange(100), None)[0]
    assert images.min().item() == pytest.approx(low, abs=1e-6)
    assert images.max().item() == pytest.approx(high, abs=1e-6)


@needs_data("mnist")
def test_only_the_training_part_is_augmented() -> None:
    dataset = ready("mnist", limit=50, test_limit=50, valid=50, augment=["shift"])
    augments = {split: len(dataset.split(split).augment) for split in ("train", "valid", "test")}  # type: ignore[attr-defined]
    assert augments == {"train": 1, "valid": 0, "test": 0}


@pytest.mark.parametrize("files", [MNIST_FILES, FASHION_FILES], ids=["mnist", "fashion-mnist"])
def test_pinned_sizes_are_those_of_the_format(files: tuple[Official, ...]) -> None:
    sizes = {"train-images": 16 + 60_000 * 784, "train-labels": 8 + 60_000, "t10k-images": 16 + 10_000 * 784,
             "t10k-labels": 8 + 10_000}  # fmt: skip
    for file in files:
        assert file.content_bytes == next(size for name, size in sizes.items() if file.name.startswith(name))
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.url.startswith("https://")


@needs_data("fashion_mnist_subset")
def test_the_subset_of_fashion_mnist() -> None:
    dataset = ready("fashion-mnist-subset")
    assert dataset.facts.sizes == {"train": 2900, "test": 2000}
    assert labels(dataset, "test")[:5].tolist() == [9, 2, 1, 1, 6]
    assert dataset.facts.classes is not None
    assert dataset.facts.classes[9] == "Ankle boot"


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4) for size in values.shape) + values.tobytes()


def test_idx_is_read_back() -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    assert (read_idx("x", idx(values)) == values).all()


GOOD = idx(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize("data", [b"", b"\0\0\x08", GOOD[:-1], GOOD + b"\0", b"\0\0\x0d" + GOOD[3:], b"PK" + GOOD[2:]])
def test_a_damaged_idx_file_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="x-ubyte: is not an idx file of bytes, or it is cut off"):
        read_idx("x-ubyte", data)


def test_an_npz_with_objects_is_refused() -> None:
    file = io.BytesIO()
    np.savez(file, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"x.npz: array .x. cannot be read: it holds Python objects"):
        read_npz("x.npz", file.getvalue(), ["x"])
    with pytest.raises(DataError, match=r"x.npz: is not a whole .npz file"):
        read_npz("x.npz", b"nothing of the kind", ["x"])


def small_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tiny dataset of the right format where MNIST is looked for, and pin it."""
    files = []
    for official, shape in zip(MNIST_FILES, [(30, 28, 28), (30,), (10, 28, 28), (10,)], strict=True):
        values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % (10 if len(shape) == 1 else 256)
        data = gzip.compress(idx(values.astype(np.uint8)))
        (folder / official.name).write_bytes(data)
        files.append(Official(official.name, official.url, len(data), digest(data), len(gzip.decompress(data))))
    monkeypatch.setattr(mnist.MNIST, "files", files)
    monkeypatch.setenv("SEODANG_DATA", str(folder))


def test_mnist_is_read_from_its_official_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_mnist(tmp_path, monkeypatch)
    dataset = ready("mnist", normalize="unit")
    assert dataset.facts.sizes == {"train": 30, "test": 10}
    images, numbers = dataset.split("train").batch(torch.tensor([3]), None)
    torch.testing.assert_close(
        images.flatten() * 255, (torch.arange(3 * 784, 4 * 784) % 256).float(), rtol=0, atol=1e-4
    )
    assert numbers.tolist() == [3]


# ------------------------------------------------------------------------------------------------ CIFAR-10


def archive(**changes: bytes | None) -> bytes:
    """Return a tar.gz like the official one, each batch filled with one number, after `changes`."""
    contents: dict[str, bytes | None] = {
        name: bytes([number]) * (BATCH_PICTURES * RECORD_BYTES) for number, name in enumerate((*TRAIN, *TEST))
    }
    contents |= changes
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/batches.meta.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in contents.items():
            if data is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def test_cifar_is_read_member_by_member(monkeypatch: pytest.MonkeyPatch) -> None:
    records = np.zeros((BATCH_PICTURES, RECORD_BYTES), np.uint8)
    records[:, 0] = np.arange(BATCH_PICTURES) % 10
    records[:, 1:] = np.arange(3072, dtype=np.int64) // 1024 * 50 + 10  # planes of 10, 60 and 110
    data = archive(**{TRAIN[0]: records.tobytes()})
    monkeypatch.setattr(cifar, "find_files", lambda name, files: {cifar.ARCHIVE.name: data})
    dataset = ready("cifar10", normalize="unit", test_limit=100)
    assert dataset.facts.sizes == {"train": 50_000, "test": 100}
    assert labels(dataset, "train")[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    image = dataset.split("train").batch(torch.tensor([5]), None)[0][0] * 255
    assert image.shape == (3, 32, 32)
    assert [round(plane.mean().item()) for plane in image] == [10, 60, 110]


@pytest.mark.parametrize(
    "changes",
    [{TRAIN[2]: None}, {TRAIN[2]: b"short"}, {TEST[0]: bytes(BATCH_PICTURES * RECORD_BYTES + 1)}],
    ids=["missing", "short", "long"],
)
def test_a_batch_that_is_missing_or_has_another_size_is_named(changes: dict[str, bytes | None]) -> None:
    with pytest.raises(DataError, match=f"lacks {next(iter(changes))}"):
        read_members("cifar.tar.gz", archive(**changes), (*TRAIN, *TEST))


def test_a_cut_off_archive_is_refused() -> None:
    whole = archive()
    for data in (whole[: len(whole) // 2], b"", b"no archive at all"):
        with pytest.raises(DataError, match=r"cifar.tar.gz: (cannot be read|lacks)"):
            read_members("cifar.tar.gz", data, (*TRAIN, *TEST))


def jpegs(broken: int | None = None) -> bytes:
    parts: dict[str, np.ndarray] = {}
    for part, count in (("train", 6), ("test", 3)):
        files = []
        for number in range(count):
            file = io.BytesIO()
            Image.new("RGB", (32, 32), (number * 20, 100, 200)).save(file, "JPEG", quality=95)
            files.append(file.getvalue() if (part, number) != ("train", broken) else b"\xff\xd8 no picture")
        parts[f"{part}_bytes"] = np.frombuffer(b"".join(files), np.uint8)
        parts[f"{part}_offsets"] = np.cumsum([0, *map(len, files)])
        parts[f"{part}_labels"] = np.arange(count, dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, **parts)
    return file.getvalue()


def test_the_jpeg_copy_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "find_files", lambda name, files, folders: {cifar.JPEG_COPY.name: jpegs()})
    dataset = ready("cifar10-jpeg", normalize="unit")
    assert dataset.facts.sizes == {"train": 6, "test": 3}
    image = dataset.split("train").batch(torch.tensor([4]), None)[0][0] * 255
    assert [round(plane.mean().item()) for plane in image] == pytest.approx([80, 100, 200], abs=2)


def test_a_broken_jpeg_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "find_files", lambda name, files, folders: {cifar.JPEG_COPY.name: jpegs(broken=2)})
    with pytest.raises(DataError, match="picture 2 of 'train' cannot be read"):
        ready("cifar10-jpeg")


def test_an_idx_file_of_nothing_is_refused() -> None:
    """Found by fuzzing: a side of 0 makes any length right."""
    shape = (2, 4294901760, 0, 512)
    with pytest.raises(DataError, match="is not an idx file"):
        read_idx("x", b"\x00\x00\x08\x04" + b"".join(side.to_bytes(4) for side in shape))
