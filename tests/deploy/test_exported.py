"""An exported file answers alone, as the network it was made from; a hostile one does nothing."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seodang as sd
from seodang.core.errors import ConfigError, DataError, MissingExtra, WeightsError
from seodang.core.files import digest
from seodang.deploy import exported as module
from seodang.deploy import importing, opening
from seodang.deploy.export import export
from seodang.deploy.exported import read_exported
from seodang.models import published
from seodang.models.bundle import Bundle
from seodang.models.published import PUBLISHED, Published
from tests.deploy.test_export import bundle_of, needs_onnx
from tests.deploy.test_published_weights import saved

FILES = [pytest.param("onnx", "model.onnx", marks=needs_onnx), ("torch", "model.pt2")]


def picture(path: Path, width: int = 20, height: int = 13) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(("to", "name"), FILES)
def test_predict_needs_the_file_alone(to: str, name: str, tmp_path: Path) -> None:
    bundle_of("cnn").write(tmp_path / "bundle")
    path = sd.export(tmp_path / "bundle", to)
    assert path == tmp_path / "bundle" / "export" / to / name
    alone = path.rename(tmp_path / f"alone{path.suffix}")
    image = str(picture(tmp_path / "cat.png"))
    (wanted,), (found,) = sd.predict(tmp_path / "bundle", image), sd.predict(alone, image)
    assert found.text == wanted.text
    for label, value in wanted.values["probabilities"].items():
        assert found.values["probabilities"][label] == pytest.approx(value, abs=1e-5)
    with pytest.raises(ConfigError, match="exported file already"):
        sd.export(alone, to, tmp_path / "again")


@pytest.mark.parametrize(("to", "name"), FILES)
def test_a_damaged_file_is_named(to: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello" * 100)
    with pytest.raises(WeightsError, match=name):
        read_exported(path)


@needs_onnx
def test_a_file_of_another_program_says_too_little(tmp_path: Path) -> None:
    import onnx

    path = export(bundle_of("mlp"), "onnx", tmp_path / "out")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    (tmp_path / "bare.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(WeightsError, match="does not say what goes in"):
        read_exported(tmp_path / "bare.onnx")


@needs_onnx
def test_tasks_that_need_parts_of_the_network(tmp_path: Path) -> None:
    path = export(bundle_of("vae"), "onnx", tmp_path / "out")
    with pytest.raises(ConfigError, match="parts of the network that an exported file does not have"):
        read_exported(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"seodang\[export\]"):
        read_exported(tmp_path / "model.onnx")


def poisoned(path: Path, code: str) -> bytes:
    """Return a .pt2 file in which the size of the batch is an expression that runs `code`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith("models/model.json"):
                assert b'"expr_str": "' in data
                text = json.loads(data)
                data = json.dumps(_replaced(text, code)).encode()
            target.writestr(item, data)
    return buffer.getvalue()


def _replaced(value: object, code: str) -> object:
    if isinstance(value, dict):
        return {key: code if key == "expr_str" else _replaced(item, code) for key, item in value.items()}
    return [_replaced(item, code) for item in value] if isinstance(value, list) else value


def test_a_file_that_runs_something_changes_nothing(tmp_path: Path) -> None:
    path = export(bundle_of("mlp"), "torch", tmp_path / "out")
    mark = tmp_path / "ran"
    data = poisoned(path, f"__import__('os').mkdir('{mark}')")
    (tmp_path / "evil.pt2").write_bytes(data)
    with pytest.raises(WeightsError, match=r"evil\.pt2"):
        read_exported(tmp_path / "evil.pt2")
    assert not mark.exists()
    with suppress(Exception):  # PyTorch's reader alone does what the file wants
        torch.export.load(io.BytesIO(data))
    assert mark.is_dir()


# --------------------------------------------------------------------------------------- published weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish a small network as resnet50.small; the cache is empty, and nothing may be fetched."""
    weights = tmp_path / "small.safetensors"
    saved(weights, "torchvision")
    file = Published(
        "resnet50", "https://example.org/small.safetensors", 0.1, digest(weights.read_bytes())[:8], 0.7, 0.9
    )
    for place in (published, opening, importing):
        monkeypatch.setattr(place, "PUBLISHED", {**PUBLISHED, "resnet50.small": file})
    for name, value in (("SEODANG_CACHE", tmp_path / "cache"), ("SEODANG_DATA", tmp_path), ("SEODANG_DOWNLOAD", "0")):
        monkeypatch.setenv(name, str(value))
    small = {"block": "bottleneck", "depths": [1, 2], "width": 4, "stem": "large"}
    monkeypatch.setattr(Published, "settings", _with(small, Published.settings))
    return tmp_path / "cache"


def _with(more: dict[str, object], settings: object) -> object:
    return lambda self: {**settings(self), **more}  # type: ignore[operator]


def test_an_address_answers_from_the_cache(cache: Path, tmp_path: Path) -> None:
    image = str(picture(tmp_path / "cat.png", 300, 260))
    (answer,) = sd.predict("resnet50.small", image)
    bundle = Bundle.read(cache / "bundles" / "resnet50.small")
    inputs = bundle.record.facts.inputs
    assert (inputs.height, inputs.width, inputs.resize) == (224, 224, 256)  # type: ignore[union-attr]
    (tmp_path / "small.safetensors").unlink()
    assert sd.predict("resnet50.small", image)[0] == answer
    assert len(answer.values["probabilities"]) == 1000
    with pytest.raises(ConfigError, match="Say where to"):
        sd.export("resnet50.small", "torchvision")


def test_nothing_is_fetched_unasked(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "small.safetensors").unlink()
    with pytest.raises(DataError, match="forbids downloads"):
        sd.predict("resnet50.small", "cat.png")
    assert not (cache / "bundles").exists()


# ---------------------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize(("width", "height"), [(300, 201), (201, 300), (256, 256), (100, 80), (257, 999)])
def test_pictures_are_scaled_and_cut_as_torchvision_does(width: int, height: int, tmp_path: Path) -> None:
    """Resize(256), CenterCrop(224): shorter side 256, longer rounded down, what is left over halved and rounded."""
    from seodang.data.decoding import decode

    path = picture(tmp_path / "a.png", width, height)
    found = decode(path.read_bytes(), 3, (224, 224), 256)
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = np.asarray(Image.open(path).resize(size, Image.Resampling.BILINEAR))
    top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
    assert np.array_equal(found, image[top : top + 224, left : left + 224])
