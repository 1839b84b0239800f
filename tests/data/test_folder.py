from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seodang.core.errors import ConfigError, DataError, SeodangError
from seodang.core.recipe import Choice
from seodang.data import decoding, picture_loading
from seodang.data.dataset import Loader, datasets
from seodang.data.decoding import decode
from seodang.data.picture_files import lay_out
from seodang.data.picture_loading import DiskImages
from tests.data.pictures import digests, folder, photos, picture

# ---------------------------------------------------------------------------------------------- layouts


def test_a_folder_per_class_is_split_in_proportion(tmp_path: Path) -> None:
    before = digests(photos(tmp_path, {"cat": 20, "dog": 10}))
    data = folder(tmp_path)
    assert data.facts.classes == ("cat", "dog")
    assert data.facts.sizes == {"train": 21, "valid": 3, "test": 6}
    assert (data.facts.inputs.channels, data.facts.inputs.height, data.facts.inputs.width) == (3, 10, 12)
    rows = torch.cat(list(data._rows.values()))
    assert sorted(rows.tolist()) == list(range(30))
    assert data._labels is not None
    assert data._labels[data._rows["test"]].tolist() == [0] * 4 + [1] * 2
    assert any("seed 0, every class in proportion: train 21, valid 3, test 6" in note for note in data.facts.notes)
    assert folder(tmp_path).facts == data.facts
    assert folder(tmp_path, seed=1).facts.digest != data.facts.digest
    assert digests(tmp_path) == before


def test_pixels_labels_and_statistics_are_right(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 6, "b": 6})
    data = folder(tmp_path)
    for name, rows in data._rows.items():
        images, labels = data.split(name).batch(torch.arange(len(rows)), None)
        for image, label, row in zip(images, labels, rows.tolist(), strict=True):
            file = data._files[row]
            true = torch.from_numpy(np.asarray(Image.open(file.path)).copy()).permute(2, 0, 1) / 255
            mean, std = (torch.tensor(getattr(data.facts.inputs, key)).view(3, 1, 1) for key in ("mean", "std"))
            torch.testing.assert_close(image * std + mean, true, atol=1e-5, rtol=0)
            assert data.facts.classes is not None
            assert data.facts.classes[label] == file.label
    train, _ = data.split("train").batch(torch.arange(data.facts.sizes["train"]), None)
    assert train.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (train.std(dim=(0, 2, 3), unbiased=False) - 1).abs().max() < 1e-3


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    photos(tmp_path / "training", {"a": 10, "b": 10})
    photos(tmp_path / "Test", {"a": 3, "b": 2}, start=50)
    data = folder(tmp_path, valid=0.2)
    assert data.facts.sizes == {"train": 16, "test": 5, "valid": 4}
    assert any("no folder 'valid'" in note for note in data.facts.notes)
    photos(tmp_path / "val", {"a": 2, "b": 2}, start=90)
    assert folder(tmp_path).facts.sizes == {"train": 20, "valid": 4, "test": 5}


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    photos(tmp_path, {".": 20})
    data = folder(tmp_path)
    assert data.facts.classes is None
    assert data.facts.sizes == {"train": 14, "valid": 2, "test": 4}
    images, labels = data.split("train").batch(torch.tensor([0, 1]), None)
    assert images.shape == (2, 3, 10, 12)
    assert labels is None


def test_order_depends_on_names_alone(tmp_path: Path) -> None:
    photos(tmp_path / "one", {"a": 12, "b": 12})
    for path in reversed(sorted((tmp_path / "one").rglob("*.png"))):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(path.read_bytes())
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    assert one.facts.digest == two.facts.digest
    assert [file.path.name for file in one._files[:12]] == [f"{index}.png" for index in range(12)]


def test_deeper_folders_links_and_other_files(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 4, "b/deep/deeper": 4})
    (tmp_path / "b" / "round").symlink_to(tmp_path / "b")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    (tmp_path / "a" / "Thumbs.db").write_text("x")
    layout = lay_out(tmp_path)
    assert [(finding.level, "link" in finding.message) for finding in layout.findings] == [("warning", True)]
    data = folder(tmp_path)
    assert sum(data.facts.sizes.values()) == 8
    assert any("1 files that are no pictures were passed over: a/notes.txt" in note for note in data.facts.notes)


def test_equal_files_never_fall_on_both_sides(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 20, "b": 20})
    for index in range(20):
        (tmp_path / "a" / f"copy-{index}.png").write_bytes((tmp_path / "a" / f"{index}.png").read_bytes())
    data = folder(tmp_path)
    home = {hashlib.sha256(data._files[row].path.read_bytes()).hexdigest(): name
            for name, rows in data._rows.items() for row in rows.tolist()}  # fmt: skip
    for name, rows in data._rows.items():
        for row in rows.tolist():
            assert home[hashlib.sha256(data._files[row].path.read_bytes()).hexdigest()] == name
    assert any("20 pictures are there more than once" in note for note in data.facts.notes)


def test_a_picture_in_two_classes_is_said(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "b" / "x.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    assert any("in two classes at once (a/0.png = b/x.png)" in note for note in folder(tmp_path).facts.notes)


def test_a_leak_between_your_splits_is_refused_or_dropped(tmp_path: Path) -> None:
    photos(tmp_path / "train", {"a": 5, "b": 5})
    photos(tmp_path / "test", {"a": 2, "b": 2}, start=50)
    (tmp_path / "test" / "a" / "leak.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    with pytest.raises(
        DataError, match=r"train/a/0.png: is the same file as .*test/a/leak.png.*data.on_duplicate=drop"
    ):
        folder(tmp_path)
    data = folder(tmp_path, on_duplicate="drop", valid=0.0)
    assert data.facts.sizes == {"train": 9, "test": 5}
    assert any("Left out of train because they are held out too: train/a/0.png" in note for note in data.facts.notes)


# ------------------------------------------------------------------------------------------ size, memory


def test_pictures_of_many_sizes_are_brought_to_one(tmp_path: Path) -> None:
    for index, size in enumerate([(70, 50), (50, 90), (64, 64), (100, 52)] * 3):
        picture(tmp_path / "ab"[index % 2] / f"{index}.jpg", index, size)
    data = folder(tmp_path)
    assert data.facts.inputs.shape == (3, 48, 48)
    assert any(
        "the shorter side is scaled, the longer one cut" in note and "48 × 48" in note for note in data.facts.notes
    )
    assert folder(tmp_path, image_size=20).facts.inputs.shape == (3, 20, 20)
    assert folder(tmp_path, image_size=[16, 24]).facts.inputs.shape == (3, 16, 24)


def test_large_pictures_are_not_taken_whole_unasked(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 2, "b": 2}, size=(640, 480), suffix="jpg")
    assert folder(tmp_path, test=0.0, valid=0.0).facts.inputs.shape == (3, 224, 224)


def test_the_middle_is_kept_when_sides_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(path)
    assert (decode(path.read_bytes(), 3, (10, 10)) == 255).all()


def test_grey_is_kept_grey(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 5, "b": 5}, mode="L")
    assert folder(tmp_path).facts.inputs.channels == 1
    assert folder(tmp_path, channels=3).facts.inputs.channels == 3
    picture(tmp_path / "a" / "colour.png", 99)
    data = folder(tmp_path)
    assert data.facts.inputs.channels == 3
    assert any("10 of 11 pictures are grey" in note for note in data.facts.notes)


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_from_disk_gives_the_same_batches_as_memory(tmp_path: Path, workers: int) -> None:
    photos(tmp_path, {"a": 12, "b": 12}, size=(20, 15), suffix="jpg")
    kept = folder(tmp_path, image_size=12, augment=["flip"])
    read = folder(tmp_path, image_size=12, augment=["flip"], memory=False)
    assert read._images is None
    assert kept.facts.inputs == read.facts.inputs
    one = Loader(kept.split("train"), 5, seed=3)
    two = Loader(read.split("train"), 5, seed=3, workers=workers)
    for _ in range(4):
        for first, second in zip(next(one), next(two), strict=True):
            assert torch.equal(first, second)


def test_memory_decides_where_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, {"a": 4, "b": 4})
    assert folder(tmp_path)._images is not None
    monkeypatch.setattr(picture_loading, "free_memory", lambda: 8 * 3 * 12 * 10 * 2 - 1)
    data = folder(tmp_path)
    assert data._images is None
    assert any("read from disk for each batch" in note for note in data.facts.notes)


def test_a_picture_that_went_away_is_named(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 4, "b": 4})
    data = folder(tmp_path, memory=False)
    data._files[0].path.unlink()
    examples = DiskImages([file.path for file in data._files], data._labels, data.facts.inputs)
    with pytest.raises(DataError, match=r"a/0.png: cannot be read \(No such file"):
        examples.batch(torch.tensor([0]), None)


# --------------------------------------------------------------------------------------------- refusals


def empty(root: Path) -> None:
    root.mkdir(exist_ok=True)


def one_class(root: Path) -> None:
    photos(root, {"cats": 5})


def empty_class(root: Path) -> None:
    photos(root, {"a": 5, "b": 5})
    (root / "c").mkdir()


def loose(root: Path) -> None:
    photos(root, {"a": 5, "b": 5, ".": 2})


def named_like_a_picture(root: Path) -> None:
    photos(root, {"a": 5, "b": 5, "a/x.jpg": 2})


def beside_splits(root: Path) -> None:
    photos(root, {"train/a": 5, "train/b": 5, "test/a": 2, "test/b": 2, "more/a": 1})


def strange_class(root: Path) -> None:
    photos(root, {"train/cat": 5, "train/dog": 5, "test/cat": 2, "test/cats": 2})


def only_test(root: Path) -> None:
    photos(root, {"test/a": 2, "test/b": 2})


def all_bad(root: Path) -> None:
    photos(root, {"a": 2, "b": 2})
    for path in root.rglob("*.png"):
        path.write_bytes(b"x")


def one_class_all_bad(root: Path) -> None:
    photos(root, {"a": 4, "b": 2})
    for path in (root / "b").glob("*.png"):
        path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, r"holds no pictures. Looked for .jpg"),
        (one_class, r"there is one class only \('cats'\)"),
        (empty_class, r"/c: holds no picture; a class needs some"),
        (loose, r"holds 2 pictures beside the folders of classes \(0.png, 1.png\)"),
        (named_like_a_picture, r"a/x.jpg: is a folder with the name of a picture"),
        (beside_splits, r"/more: lies beside train, valid and test"),
        (strange_class, r"class 'cats' is in test but not in train. Did you mean 'cat'\?"),
        (only_test, r"has test but no folder 'train'"),
        (all_bad, r"none of its 4 pictures can be read"),
        (one_class_all_bad, r"no picture of class 'b' can be read"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path: Path, make: Any, message: str) -> None:
    root = tmp_path / "photos"
    make(root)
    before = digests(root)
    with pytest.raises(DataError, match=message) as caught:
        folder(root, on_unreadable="skip")
    assert "photos" in str(caught.value)
    assert digests(root) == before


def test_missing_folders_and_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"data.path: is missing"):
        datasets.make(Choice(name="folder"), None, 0).prepare()
    photos(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ConfigError, match=r"data.image_size=0: a side should be 1 or more"):
        folder(tmp_path, image_size=0)
    with pytest.raises(SeodangError, match=r"flop.*Did you mean 'flip'"):
        folder(tmp_path, augment=["flop"])


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 4, "b": 4})
    odd = os.fsdecode(os.fsencode(tmp_path / "a") + b"/caf\xe9.png")
    os.rename(tmp_path / "a" / "0.png", odd)
    data = folder(tmp_path)
    assert sum(data.facts.sizes.values()) == 8
    Path(odd).write_bytes(b"x")
    with pytest.raises(DataError, match=r"caf\\xe9.png: is no picture"):
        folder(tmp_path)
    os.rename(tmp_path / "b", os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    with pytest.raises(DataError, match=r"b\\xff: has a name that is no UTF-8"):
        folder(tmp_path)


def test_files_without_permission_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, {"a": 4, "b": 4})

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(DataError, match=r"a/0.png: cannot be read \(Permission denied\)"):
        folder(tmp_path)
    monkeypatch.setattr(decoding, "LARGEST_FILE", 10)
    with pytest.raises(DataError, match=r"a/0.png: has \d+ bytes, more than 10"):
        folder(tmp_path)


# ---------------------------------------------------------------------------------------- another folder


def test_a_model_is_judged_on_another_folder(tmp_path: Path) -> None:
    photos(tmp_path / "one", {"a": 8, "b": 8, "c": 8}, size=(20, 20))
    facts = folder(tmp_path / "one").facts
    photos(tmp_path / "two", {"c": 3, "b": 2}, start=70, size=(33, 50), mode="L")
    data = folder(tmp_path / "two", adopt=facts)
    assert data.facts.inputs == facts.inputs
    assert data.facts.classes == ("a", "b", "c")
    assert data.facts.sizes == {"test": 5}
    images, labels = data.split("test").batch(torch.arange(5), None)
    assert images.shape == (5, 3, 20, 20)
    assert labels.tolist() == [1, 1, 2, 2, 2]
    photos(tmp_path / "three", {"a": 2, "cc": 2})
    with pytest.raises(DataError, match=r"class 'cc' is not among those .*\(a, b, c\)"):
        folder(tmp_path / "three", adopt=facts)
    photos(tmp_path / "flat", {".": 2})
    with pytest.raises(DataError, match="has no folders of classes, so there is nothing to compare"):
        folder(tmp_path / "flat", adopt=facts)
