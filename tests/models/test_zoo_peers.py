"""The zoo beside the libraries themselves, where they are installed: random weights, as a file of theirs, through import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seodang.deploy.importing import import_weights
from seodang.models.bundle import Bundle

TORCHVISION = (
    "alexnet",
    "vgg11",
    "vgg16-bn",
    "googlenet",
    "resnet18",
    "resnet50",
    "resnet152",
    "densenet121",
    "densenet161",
)


def torchvision_models() -> Any:
    """Import torchvision beside a PyTorch it was perhaps not built for; its compiled operators are not needed here."""
    pytest.importorskip("torchvision", exc_type=ImportError)
    import torchvision  # type: ignore[import-not-found]

    return torchvision.models


def answers_alike(source: Any, name: str, folder: Path) -> bool:
    """Whether what is imported from a file of `source` gives its logits."""
    torch.manual_seed(0)
    source = source.eval()
    save_file({key: value.contiguous() for key, value in source.state_dict().items()}, folder / "w.safetensors")
    import_weights(folder / "w.safetensors", name, folder / "bundle", {"image_size": 64, "classes": "imagenet"})
    model, images = Bundle.read(folder / "bundle").model, torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = source(images), model(images)
    expected = expected if isinstance(expected, torch.Tensor) else expected.logits
    return bool((found - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.peers
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str, tmp_path: Path) -> None:
    options = {"init_weights": True, "transform_input": False} if name == "googlenet" else {}
    assert answers_alike(getattr(torchvision_models(), name.replace("-", "_"))(**options), name, tmp_path)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["vgg11", "vgg13-bn", "resnet34", "resnet101", "densenet169"])
def test_timm(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", exc_type=ImportError)
    assert answers_alike(timm.create_model(name.replace("-", "_")), name, tmp_path)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "depths"), [("resnet50", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))])
def test_transformers(name: str, depths: tuple[int, ...], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    config = transformers.ResNetConfig(depths=list(depths), num_labels=1000)
    assert answers_alike(transformers.ResNetForImageClassification(config), name, tmp_path)
