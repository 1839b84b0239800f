"""Weights of other libraries: names read both ways, official files known again, and everything left over said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seodang.core.errors import ConfigError, DataError, WeightsError
from seodang.core.files import digest
from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data import download
from seodang.data.download import Official, find_path
from seodang.deploy import importing
from seodang.deploy.importing import import_weights
from seodang.models import published
from seodang.models.base import architectures
from seodang.models.bundle import Bundle
from seodang.models.key_maps import dialects, key_maps, translate
from seodang.models.published import IMAGENET_MEAN, IMAGENET_STD, PUBLISHED, Published, imagenet_classes, recognize

SMALL = {"block": "bottleneck", "depths": [1, 2], "width": 4, "stem": "large", "image_size": 32}
MAPPED = ("resnet18", "resnet50", "resnet20-cifar", "densenet121", "googlenet", "vgg16", "vgg16-bn")


def on_meta(name: str) -> Any:
    with torch.device("meta"):
        return architectures.make(Choice(name=name))


def small() -> Any:
    torch.manual_seed(1)
    return architectures.make(Choice.of({"name": "resnet50", **SMALL, "image_size": (32, 32), "num_classes": 1000}))


def saved(path: Path, source: str, without: str = "nothing") -> dict[str, torch.Tensor]:
    """Write the small network's weights as `source` names them; return them under our names."""
    model = small()
    theirs = next(found for found in key_maps(model) if source in found.source).theirs
    weights = {theirs[name]: value.clone() for name, value in model.state_dict().items()}
    save_file({name: value for name, value in weights.items() if without not in name}, path)
    return model.state_dict()


@pytest.mark.parametrize("name", MAPPED)
def test_every_map_reads_both_ways(name: str) -> None:
    model = on_meta(name)
    assert len(key_maps(model)) > 1
    for found in key_maps(model):
        assert set(found.theirs) == set(model.state_dict())
        assert all(found.ours[theirs] == ours for ours, theirs in found.theirs.items())
        assert len(found.ours) == len(found.theirs)
        weights = {
            theirs: value for theirs, value in zip(found.theirs.values(), model.state_dict().values(), strict=True)
        }
        assert set(translate(model, weights, "x").weights) == set(model.state_dict())


def test_architectures_whose_names_are_torchvision_s_need_no_map() -> None:
    assert not list(dialects(on_meta("alexnet")))
    assert {"features.0.weight", "classifier.6.bias"} <= on_meta("alexnet").state_dict().keys()
    assert {"features.28.weight", "classifier.6.bias"} <= on_meta("vgg16").state_dict().keys()


@pytest.mark.parametrize("source", ["torchvision", "Transformers", "seodang"])
def test_a_file_of_another_library_becomes_a_bundle(source: str, tmp_path: Path) -> None:
    weights = saved(tmp_path / "w.safetensors", source)
    notes = import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "b", {**SMALL, "classes": "imagenet"})
    found = Bundle.read(tmp_path / "b")
    assert all(torch.equal(value, weights[name]) for name, value in found.model.state_dict().items())
    assert found.record.facts.inputs == ImageInputs(
        channels=3, height=32, width=32, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    assert found.record.facts.classes == imagenet_classes()
    assert any(source in note for note in notes) == (source != "seodang")


def test_what_pixels_go_in_is_said_if_nobody_said_it(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors", "torchvision")
    notes = import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "b", SMALL)
    assert "No mean and std were given" in notes[-1]
    notes = import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "c", {**SMALL, "mean": 0.5, "std": 0.2})
    assert "mean" not in notes[-1]


def test_counters_may_be_missing_all_together_and_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors", "torchvision", without="num_batches_tracked")
    notes = import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "b", SMALL)
    assert any("no counters" in note for note in notes)
    saved(tmp_path / "w.safetensors", "torchvision", without="layer2.0.bn1.num_batches_tracked")
    with pytest.raises(
        WeightsError, match=r"not in the file: layer2\.0\.bn1\.num_batches_tracked \(stages\.1\.0\.normalization1\."
    ):
        import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "c", SMALL)


def test_everything_left_over_is_listed(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors", "torchvision", without="layer2.1")
    with pytest.raises(WeightsError) as caught:
        import_weights(tmp_path / "w.safetensors", "resnet50", tmp_path / "b", {**SMALL, "depths": [2, 1]})
    text = str(caught.value)
    assert "names of torchvision" in text
    model = small()
    theirs = [name for name in key_maps(model)[1].theirs.values() if name.startswith("layer1.0.conv")]
    assert theirs
    assert all(f"not in the file: {name.replace('1.0', '1.1')} (stages.0.1." in text for name in theirs)
    assert not (tmp_path / "b").exists()


def test_dense_layers_that_are_convolutions_elsewhere() -> None:
    model = on_meta("vgg11")
    theirs = next(found for found in key_maps(model) if found.source == "timm").theirs
    weights = {theirs[name]: value for name, value in model.state_dict().items()}
    weights["pre_logits.fc1.weight"] = torch.empty(4096, 512, 7, 7, device="meta")
    weights["pre_logits.fc2.weight"] = torch.empty(4096, 4096, 1, 1, device="meta")
    found = translate(model, weights, "x").weights
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


# -------------------------------------------------------------------------------------------- addresses


def test_the_table_of_official_files() -> None:
    for address, file in PUBLISHED.items():
        assert address.split(".")[0] == file.model
        assert file.model in architectures
        assert file.name.removesuffix(".pth").endswith("-" + file.sha256[:8])
        assert len(file.sha256) in (8, 64)
        assert set(file.sha256) <= set("0123456789abcdef")
        assert 0.5 < file.top1 < file.top5 < 1
        weights = sum(weight.numel() for weight in on_meta(file.model).parameters())
        assert 4 * weights < file.most_bytes < 4.3 * weights + 2**20, address  # 32-bit numbers, and little else
    assert len({file.sha256[:8] for file in PUBLISHED.values()}) == len(PUBLISHED)
    names = imagenet_classes()
    assert len(set(names)) == len(names) == 1000
    assert (names[0], names[207], names[999]) == ("tench", "golden retriever", "toilet tissue")
    assert recognize(PUBLISHED["resnet50.imagenet"].sha256) == "resnet50.imagenet"
    assert recognize("0" * 64) is None


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish the small network's weights under the address resnet50.small."""
    path = tmp_path / "small.safetensors"
    saved(path, "torchvision")
    file = Published("resnet50", "https://example.org/small.safetensors", 0.03, digest(path.read_bytes())[:8], 0.7, 0.9,
                     mean=(0.5, 0.5, 0.5))  # fmt: skip
    for module in (published, importing):
        monkeypatch.setattr(module, "PUBLISHED", {**PUBLISHED, "resnet50.small": file})
    return path


@pytest.mark.parametrize("name", ["resnet50", "resnet50.small"])
def test_an_official_file_is_known_again(name: str, official: Path, tmp_path: Path) -> None:
    notes = import_weights(official, name, tmp_path / "b", SMALL)
    found = Bundle.read(tmp_path / "b").record
    assert found.model.name == "resnet50"
    assert found.facts.inputs.mean == (0.5, 0.5, 0.5)  # type: ignore[union-attr]
    assert found.facts.inputs.std == IMAGENET_STD  # type: ignore[union-attr]
    assert found.facts.classes == imagenet_classes()
    assert any("official file resnet50.small" in note and "70.0%" in note and "BSD-3-Clause" in note for note in notes)


def test_another_file_is_not_taken_for_it(official: Path, tmp_path: Path) -> None:
    official.write_bytes(official.read_bytes() + b" ")
    with pytest.raises(
        WeightsError, match=r"is not the official file of resnet50\.small\. Its SHA-256 is .*…\. For other"
    ):
        import_weights(official, "resnet50.small", tmp_path / "b", SMALL)


def test_a_file_whose_digest_is_known_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_CACHE", str(tmp_path))
    monkeypatch.setenv("SEODANG_DATA", str(tmp_path))
    monkeypatch.setenv("SEODANG_DOWNLOAD", "0")
    file = Official("w.pth", "https://example.org/w.pth", 10, digest(b"weights")[:8])
    with pytest.raises(DataError, match="forbids downloads"):
        find_path("resnet50.small", file)
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert find_path("resnet50.small", file) == tmp_path / "w.pth"
    (tmp_path / "w.pth").write_bytes(b"other")
    with pytest.raises(DataError, match="is not the file"):
        find_path("resnet50.small", file)
    assert download.cache_folder() == tmp_path


def test_without_an_address_the_model_must_be_named(tmp_path: Path) -> None:
    from seodang.cli.using import _weights

    with pytest.raises(ConfigError, match=r"--as resnet50.*resnet50\.imagenet"):
        _weights(str(tmp_path / "w.pth"), "")
    assert _weights(str(tmp_path / "w.pth"), "vgg11") == (tmp_path / "w.pth", "vgg11")
