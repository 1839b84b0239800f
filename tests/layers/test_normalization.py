"""Each normalisation takes mean and variance over its own axes, and over no others."""

from __future__ import annotations

import pytest
import torch

from seodang.core.errors import ConfigError
from seodang.core.recipe import Choice
from seodang.layers.normalization import map_normalization, normalization
from seodang.models.base import architectures


@pytest.mark.parametrize(
    ("name", "axes"), [("batch", (0, 2, 3)), ("layer", (1, 2, 3)), ("instance", (2, 3)), ("group", (2, 3, 4))]
)
def test_maps_are_normalised_over_the_right_axes(name: str, axes: tuple[int, ...]) -> None:
    maps = torch.randn(6, 32, 5, 4) * 3 + torch.arange(32)[:, None, None]
    shown = maps.view(6, 2, 16, 5, 4) if name == "group" else maps
    mean, variance = shown.mean(axes, keepdim=True), shown.var(axes, correction=0, keepdim=True)
    wanted = ((shown - mean) / (variance + 1e-5).sqrt()).view_as(maps)
    torch.testing.assert_close(map_normalization(name, 32).train()(maps), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "axis"), [("batch", 0), ("layer", 1)])
def test_vectors_too(name: str, axis: int) -> None:
    rows = torch.randn(6, 9) * 3 + 5
    wanted = (rows - rows.mean(axis, keepdim=True)) / (rows.var(axis, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(normalization(name, 9).train()(rows), wanted, atol=1e-5, rtol=0)


def test_running_statistics_are_what_evaluation_uses() -> None:
    layer = map_normalization("batch", 3).train()
    batches = [torch.randn(40, 3, 4, 4) * 2 + 7 for _ in range(200)]
    for batch in batches:
        layer(batch)
    torch.testing.assert_close(layer.running_mean, torch.full((3,), 7.0), atol=0.1, rtol=0)
    torch.testing.assert_close(layer.running_var, torch.full((3,), 4.0), atol=0.2, rtol=0)
    one = batches[0][:1]
    wanted = (one - layer.running_mean[:, None, None]) / (layer.running_var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(layer.eval()(one), wanted)


@pytest.mark.parametrize("name", ["layer", "instance", "group"])
def test_one_example_is_enough_where_the_batch_does_not_matter(name: str) -> None:
    layer, maps = map_normalization(name, 12).train(), torch.randn(4, 12, 3, 3)
    torch.testing.assert_close(layer(maps)[:1], layer(maps[:1]))


@pytest.mark.parametrize(("channels", "groups"), [(128, 8), (32, 2), (16, 1), (8, 1), (24, 3), (6, 3)])
def test_sixteen_channels_to_a_group(channels: int, groups: int) -> None:
    assert map_normalization("group", channels).num_groups == groups


@pytest.mark.parametrize("name", ["none", "batch", "layer", "instance", "group"])
def test_every_choice_learns_in_a_cnn(name: str) -> None:
    network = architectures.make(
        Choice.of({"name": "cnn", **architectures["cnn"].maker.example, "normalization": name})
    )
    images = torch.randn(4, 2, 10, 12)
    network(images).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_maps_of_one_place_cannot_be_normalised_one_by_one() -> None:
    with pytest.raises(ConfigError, match=r"model.normalization=instance: the last maps have a single place"):
        architectures.make(
            Choice.of({"name": "cnn", "image_size": (5, 5), "stages": ((4, 4),), "normalization": "instance"})
        )
