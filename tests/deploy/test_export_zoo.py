"""Every convolutional network of the zoo, exported tiny: right at every batch, and at every size where its maps are averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seodang.core.files import read_manifest
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.deploy.export import _program, export, told
from seodang.deploy.exported import read_exported
from seodang.deploy.free_sizes import freedoms
from seodang.models.base import architectures
from seodang.models.bundle import Bundle, BundleRecord
from tests.deploy.test_export import needs_onnx

SIZES = {"lenet-5": "fixed", "nin-cifar": "any", "alexnet": "fixed", "vgg11": "fixed", "resnet18": "any", "resnet20-cifar": "any",
         "densenet121": "any"}  # fmt: skip
"""What sizes of pictures each family can take: any where its last maps are averaged to one place."""


def bundle_of(name: str, **settings: Any) -> Bundle:
    given = {**architectures[name].maker.example, **settings}  # type: ignore[attr-defined]
    channels, (height, width) = given["in_channels"], given["image_size"]
    facts = Facts(inputs=ImageInputs(channels=channels, height=height, width=width, mean=(0.4,) * channels, std=(0.2,) * channels,
                                     resize=2 * max(height, width)), classes=("a", "b", "c"), sizes={})  # fmt: skip
    torch.manual_seed(1)
    model = architectures.make(Choice.of({"name": name, **given})).eval()
    for module in model.modules():  # statistics of something, so that normalisation matters
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    record = BundleRecord(
        model=Choice.of({"name": name, **model.config.values()}), task=Choice(name="classification"), facts=facts
    )
    return Bundle(model, record)


@needs_onnx
@pytest.mark.parametrize("name", SIZES)
def test_the_file_alone_answers_like_the_network(name: str, tmp_path: Path) -> None:
    bundle = bundle_of(name)
    path = export(bundle, "onnx", tmp_path / "out")
    alone = path.rename(tmp_path / "alone.onnx")
    found = read_exported(alone)
    assert found.record == bundle.record
    channels, height, width = bundle.record.facts.inputs.shape
    sizes = [(1, height, width), (5, height, width)]
    if SIZES[name] == "any":
        sizes += [(2, height + 3, width + 8), (2, 2 * height, 3 * width + 1)]
    for count, rows, columns in sizes:
        images = torch.randn(count, channels, rows, columns)
        with torch.no_grad():
            wanted = bundle.model(images)
        assert (found.model(images) - wanted).abs().max() <= 1e-4 * max(1.0, float(wanted.abs().max()))
    assert read_manifest(tmp_path / "out")["sizes"] == SIZES[name]
    assert ("pictures may have any size" in told(tmp_path / "out")) == (SIZES[name] == "any")


@pytest.mark.slow
def test_windows_that_reach_over_the_edge_are_right_at_every_size() -> None:
    bundle = bundle_of("googlenet", image_size=(64, 64))
    program = _program(bundle)
    assert program.sizes == "any"
    for height, width in ((96, 128), (70, 70), (65, 97), (87, 111)):
        images = torch.randn(2, 2, height, width)
        with torch.no_grad():
            assert torch.allclose(program.graph.module()(images), bundle.model(images), atol=1e-5)


def test_a_dense_head_takes_one_size_only() -> None:
    bundle = bundle_of("cnn")
    shape = (1, *bundle.record.facts.inputs.shape)
    assert [freedom.sizes for freedom in freedoms(bundle.model, torch.zeros(shape))] == ["fixed"]
    bundle = bundle_of("cnn", head="average")
    assert [freedom.sizes for freedom in freedoms(bundle.model, torch.zeros(shape))] == ["any", "fixed"]


@needs_onnx
def test_other_programs_are_told_what_to_do_with_a_picture(tmp_path: Path) -> None:
    import onnx

    bundle = bundle_of("nin-cifar")
    proto = onnx.load(export(bundle, "onnx", tmp_path / "out"))
    notes = {
        entry.key: json.loads(entry.value)
        for entry in proto.metadata_props
        if entry.key in ("preprocessing", "classes")
    }
    assert notes["classes"] == ["a", "b", "c"]
    assert notes["preprocessing"] == {
        "colours": "RGB", "resize": 28, "interpolation": "bilinear", "height": 12, "width": 14, "sizes": "any", "pixels": [0, 1],
        "mean": [0.4, 0.4], "std": [0.2, 0.2], "layout": "NCHW",
    }  # fmt: skip
    sizes = [size.dim_param or size.dim_value for size in proto.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 2, "height", "width"]
