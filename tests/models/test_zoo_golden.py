"""The convolutional zoo beside other libraries: the same weights give the same logits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seodang.core.recipe import Choice
from seodang.layers.auxiliary import WithAuxiliary
from seodang.models.base import architectures
from seodang.models.key_maps import KeyMap, key_maps, translate

FOLDER = Path(__file__).parent / "golden"
GOLDEN = json.loads((FOLDER / "logits.json").read_text())["models"]
spec = importlib.util.spec_from_file_location("golden_formula", FOLDER / "formula.py")
assert spec and spec.loader
formula = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formula)

KEPT = 100
NARROW = {"alexnet": {"hidden_sizes": (64, 64)}, "vgg": {"hidden_sizes": (64, 64)}}
"""As make.py narrowed the sources."""


def on_meta(name: str, **settings: object) -> Any:
    with torch.device("meta"):
        return architectures.make(Choice.of({"name": name, **settings}))


def map_of(model: nn.Module, source: str) -> KeyMap:
    """Return the names of a source; where it has no entry of its own, its names are ours."""
    maps = key_maps(model)
    return next((found for found in maps[1:] if source.partition(" ")[0] in found.source.lower()), maps[0])


def logits_of(model: Any, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        if model.config.__class__.__name__ == "GoogLeNetConfig":
            model.training = True  # itself alone: normalisation and dropout stay as in evaluation
        outputs = model(images)
    return [outputs.logits, *outputs.auxiliary] if isinstance(outputs, WithAuxiliary) else [outputs]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['model']}-{golden['source'].partition(' ')[0]}")
def test_same_weights_same_logits(golden: dict[str, Any]) -> None:
    name, size = golden["model"], golden["size"]
    narrow = next((value for prefix, value in NARROW.items() if name.startswith(prefix)), {})
    model = on_meta(name, image_size=(size, size), **narrow)
    names = map_of(model, golden["source"]).theirs
    theirs = {}
    for ours, value in model.state_dict().items():
        shape = value.shape
        if golden["source"].startswith("timm") and ours in ("classifier.0.weight", "classifier.3.weight"):
            shape = torch.Size((64, 512, 7, 7) if ours.startswith("classifier.0") else (64, 64, 1, 1))
        theirs[names[ours]] = formula.weight(names[ours], shape)
    found = translate(model, theirs, "file")
    model.load_state_dict(found.weights, assign=True)
    outputs = logits_of(model.eval(), formula.pictures(size))
    assert len(outputs) == len(golden["logits"])
    for output, kept in zip(outputs, golden["logits"], strict=True):
        expected = torch.tensor(kept, dtype=torch.float64)
        output = output[:, ::KEPT] if output.shape[1] > KEPT else output
        torch.testing.assert_close(output, expected, rtol=1e-7, atol=1e-9 * expected.abs().max().item())
        assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max(), "the pictures hardly matter"


def test_every_family_with_published_weights_has_golden_logits() -> None:
    from seodang.models.published import PUBLISHED

    covered = {golden["model"] for golden in GOLDEN}
    assert {file.model for file in PUBLISHED.values()} <= covered
