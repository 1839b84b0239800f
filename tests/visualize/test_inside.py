"""Filters are the weights, maps are what was recorded, attention is the softmax."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs
from seodang.layers.attention import attend
from seodang.visualize.colour import DIVERGING, rgb
from seodang.visualize.figure import Images, Matrix, Panels, Strips
from seodang.visualize.inside import activation_figures, attention_figures, recorded, weight_figures
from seodang.visualize.pixels import activation_picture, grid, picture, weights_picture

IMAGE = ImageInputs(channels=1, height=6, width=6, mean=(0.5,), std=(0.25,))
FACTS = Facts(inputs=IMAGE, classes=("a", "b"), sizes={})


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(180, 2))


def test_filters_are_the_weights_largest_first() -> None:
    model = network()
    (found,) = weight_figures(model, FACTS)
    assert isinstance(found, Images)
    weights = model[0].weight.detach()
    order = sorted(range(5), key=lambda place: -float(weights[place].norm()))
    for image, place in zip(found.images, order, strict=True):
        assert (image == weights_picture(weights[place])).all()
    strongest = weights[order[0], 0].abs().argmax()
    value = weights[order[0], 0].flatten()[strongest]
    colour = found.images[0].reshape(-1, 3)[int(strongest)]
    assert tuple(colour) == rgb(DIVERGING[-1] if value > 0 else DIVERGING[0])


def test_dense_weights_on_pictures_are_pictures_and_on_tables_a_heat_map() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    (found,) = weight_figures(dense, FACTS)
    assert isinstance(found, Images)
    assert found.images[0].shape == (6, 6, 3)
    columns = (Column(name="age", kind="number"), Column(name="town", kind="category", categories=("x", "y")))
    (table,) = weight_figures(nn.Linear(3, 4), Facts(inputs=TableInputs(columns=columns), sizes={}))
    assert isinstance(table, Matrix)
    assert table.rows == ("age", "town 1", "town 2")
    assert table.values.shape == (3, 4)
    assert weight_figures(nn.ReLU(), FACTS) == []


def test_activation_maps_are_the_recorded_outputs() -> None:
    model = network().train()
    example = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    (found,) = activation_figures(model, example, FACTS)
    assert model.training
    assert isinstance(found, Images)
    assert found.captions == ("input\n1 × 6 × 6", "0 Conv2d\n5 × 6 × 6", "1 ReLU\n5 × 6 × 6")
    assert (found.images[0] == picture(example[0], IMAGE)).all()
    with torch.no_grad():
        maps = model[0](example)[0]
    order = maps.flatten(1).std(1).argsort(descending=True)
    low, high = float(maps.min()), float(maps.max())
    wanted = grid([activation_picture(maps[place], low, high) for place in order], columns=4, gap=1)
    assert (found.images[1] == wanted).all()


def test_vectors_are_strips() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Tanh())
    example = torch.ones(1, 1, 6, 6)
    (found,) = activation_figures(model, example, FACTS)
    assert isinstance(found, Strips)
    assert found.names == ("1 Linear", "2 Tanh")
    assert np.allclose(found.values[1], np.tanh(found.values[0]))


def test_attention_is_the_softmax_of_scaled_products() -> None:
    class Look(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return attend(inputs, inputs * 2, inputs)

    inputs = torch.randn(1, 2, 3, 4)
    model = nn.Sequential(Look())
    (found,) = attention_figures(recorded(model, inputs), ("a", "b", "c"))
    assert isinstance(found, Panels)
    assert [panel.title for panel in found.panels] == ["head 1", "head 2"]
    for head, panel in enumerate(found.panels):
        scores = inputs[0, head] @ (2 * inputs[0, head]).T / 4**0.5
        assert np.allclose(panel.values, scores.softmax(-1).numpy(), atol=1e-6)
        assert panel.rows == panel.columns == ("a", "b", "c")
    assert attention_figures(recorded(model, inputs), ("a", "b")) == [], "names that do not fit are not guessed"
