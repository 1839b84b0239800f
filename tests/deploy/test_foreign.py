"""Weights under the names of other libraries: read back here as they were, and by the library itself where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.deploy.export import export
from seodang.deploy.importing import import_weights
from seodang.models.base import architectures
from seodang.models.bundle import Bundle, BundleRecord
from seodang.models.published import IMAGENET_MEAN, IMAGENET_STD, imagenet_classes

RESNET = {"block": "bottleneck", "depths": (1, 2), "width": 4}
VGG = {"depths": (1, 1), "widths": (4, 6), "places": 2, "hidden_sizes": (8, 8)}
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("torchvision", "resnet50", RESNET),
    ("timm", "resnet50", RESNET),
    ("huggingface", "resnet50", RESNET),
    ("torchvision", "densenet121", {"depths": (2, 2), "growth": 4, "stem_channels": 6}),
    ("torchvision", "googlenet", {"width": 0.0625}),
    ("torchvision", "vgg11", VGG),
    ("timm", "vgg11", VGG),
    ("torchvision", "alexnet", {"channels": (4, 4, 4, 4, 4), "places": 1, "hidden_sizes": (8, 8)}),
)


def bundle_of(name: str, settings: dict[str, Any], side: int = 64) -> Bundle:
    inputs = ImageInputs(channels=3, height=side, width=side, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize=side + 8)
    facts = Facts(inputs=inputs, classes=imagenet_classes(), sizes={})
    choice = Choice.of({"name": name, **settings})
    torch.manual_seed(2)
    model = architectures.make(choice, facts.known()).eval()
    record = BundleRecord(
        model=Choice.of({"name": name, **model.config.values()}), task=Choice(name="classification"), facts=facts
    )
    return Bundle(model, record)


@pytest.mark.parametrize(("library", "name", "settings"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES])
def test_what_is_written_reads_back_bit_for_bit(
    library: str, name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    bundle = bundle_of(name, settings)
    path = export(bundle, library, tmp_path / "out")
    written = load_file(path)
    assert len(written) == len(bundle.model.state_dict())
    if (library, name) not in (("torchvision", "vgg11"), ("torchvision", "alexnet")):
        assert set(written) != set(bundle.model.state_dict())
    own = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    import_weights(path, name, tmp_path / "back", {**own, "image_size": 64, "classes": "imagenet"})
    found = Bundle.read(tmp_path / "back").model.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in bundle.model.state_dict().items())


@pytest.mark.parametrize(("library", "name", "settings", "reason"), [
    ("timm", "cnn", {}, "no network like this CNN. Formats for it: safetensors, torch, onnx"),
    ("huggingface", "vgg11", VGG, "no network like this VGG. Formats for it: timm, torchvision, safetensors"),
    ("torchvision", "resnet50", {**RESNET, "stride_at": "1x1"}, "no ResNet with stride_at=1x1"),
    ("timm", "resnet18", {"stem": "small", "width": 4}, "no ResNet with stem=small"),
    ("torchvision", "alexnet-2012", {"channels": (4, 4, 4, 4, 4), "places": 1, "hidden_sizes": (8, 8)}, "no network like this AlexNet"),
])  # fmt: skip
def test_what_a_library_does_not_have_is_refused(
    library: str, name: str, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason.replace(".", r"\.")):
        export(bundle_of(name, settings), library, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_for_transformers(tmp_path: Path) -> None:
    export(bundle_of("resnet50", RESNET), "huggingface", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["depths"], config["hidden_sizes"], config["embedding_size"]) == ([1, 2], [16, 32], 4)
    assert config["id2label"]["207"] == "golden retriever"
    pictures = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert (pictures["size"], pictures["crop_size"]) == ({"shortest_edge": 72}, {"height": 64, "width": 64})


# ------------------------------------------------------------------------------------- the libraries themselves


def answers_alike(source: torch.nn.Module, bundle: Bundle) -> bool:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted, found = bundle.model(images), source.eval()(images)
    found = getattr(found, "logits", found)
    return bool((found - wanted).abs().max() <= 1e-5 * wanted.abs().max())


@pytest.mark.peers
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vgg11"])
def test_timm_loads_it(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", exc_type=ImportError)
    bundle = bundle_of(name, {})
    source = timm.create_model(name)
    source.load_state_dict(load_file(export(bundle, "timm", tmp_path / "out")))
    assert answers_alike(source, bundle)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "settings"), [("resnet50", RESNET), ("resnet50", {**RESNET, "stride_at": "1x1"})])
def test_transformers_loads_the_folder(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    bundle = bundle_of(name, settings)
    export(bundle, "huggingface", tmp_path / "out")
    assert answers_alike(transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out"), bundle)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["resnet18", "alexnet", "googlenet"])
def test_torchvision_loads_it(name: str, tmp_path: Path) -> None:
    from tests.models.test_zoo_peers import torchvision_models

    bundle = bundle_of(name, {})
    options = {"init_weights": False, "transform_input": False} if name == "googlenet" else {}
    source = getattr(torchvision_models(), name)(**options)
    source.load_state_dict(load_file(export(bundle, "torchvision", tmp_path / "out")))
    assert answers_alike(source, bundle)
