"""What is drawn of the normalisations is what they do: the axes are found again by moving one number."""

from __future__ import annotations

import pytest
import torch

from seodang.models.cnn import CNN, CNNConfig
from seodang.models.gpt import GPT, GPTConfig
from seodang.models.mlp import MLP, MLPConfig
from seodang.visualize.normalizing import normalization_figures, normalizations, together


def model(name: str) -> CNN:
    return CNN(CNNConfig(stages=((32,), (48,)), image_size=(12, 12), normalization=name))


@pytest.mark.parametrize("name", ["batch", "layer", "instance", "group"])
def test_the_axes_are_those_of_the_layer(name: str) -> None:
    """Nudge one example's channel: the outputs of those that share its mean change, and no others."""
    network = model(name).train()
    means = normalizations(network, {"": torch.zeros(1, 1, 12, 12)})[0]
    layer = network.get_submodule(means.path)
    assert means.shape == (32, 5, 5)
    torch.manual_seed(0)
    x = torch.randn(4, *means.shape)
    nudged = x.clone()
    nudged[0, 0, 0, 0] += 1
    moved = ((layer(nudged) - layer(x)).abs().flatten(2).amax(2) > 1e-6).float().numpy()
    assert (moved == together(means.kind, 32, means.group, 4)).all()
    assert means.kind == name
    assert means.over(4) == moved.sum() * 25, "so many numbers go into that mean"
    assert means.running == (name == "batch")


def test_the_figure_marks_the_own_kind_and_the_table_lists_all_layers() -> None:
    chart, table = normalization_figures(model("group"), {"": torch.zeros(1, 1, 12, 12)}, 64)
    titles = [panel.title for panel in chart.panels]  # type: ignore[attr-defined]
    assert titles == ["batch: mean of 1,600", "layer: mean of 800", "instance: mean of 25", "group (here): mean of 400"]
    assert [row[:5] for row in table.rows] == [  # type: ignore[attr-defined]
        ("features.0.2", "group", "32 × 5 × 5", "channels of a group, and places", "400"),
        ("features.1.1", "group", "48 × 3 × 3", "channels of a group, and places", "144"),
    ]


def test_vectors_tokens_and_networks_without() -> None:
    chart, _ = normalization_figures(MLP(MLPConfig(in_features=6, normalization="batch")), {"": torch.zeros(1, 6)}, 8)
    assert [panel.title for panel in chart.panels] == ["batch (here): mean of 8", "layer: mean of 256"]  # type: ignore[attr-defined]
    gpt = GPT(GPTConfig(**GPT.example))
    chart, table = normalization_figures(gpt, {"": torch.zeros(1, 6, dtype=torch.long)}, 8)
    assert [panel.title for panel in chart.panels] == ["layer (here): mean of 8"]  # type: ignore[attr-defined]
    assert len(table.rows) == 5 and table.rows[0][3] == "the numbers of one token"  # type: ignore[attr-defined]
    assert normalization_figures(MLP(MLPConfig(in_features=6)), {"": torch.zeros(1, 6)}, 8) == []
