"""The layer table against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, TokenInputs
from seodang.core.recipe import Choice
from seodang.models.base import architectures
from seodang.visualize.figure import Table
from seodang.visualize.summary import layer_figure, layer_table


def by_path(model: nn.Module, example: Any) -> dict[str, Any]:
    return {layer.path: layer for layer in layer_table(model, example).layers}


def test_a_small_convolutional_network() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4),
                          nn.Flatten(), nn.Linear(8 * 2 * 3, 5))  # fmt: skip
    table = layer_table(model, (3, 8, 10))
    found = {layer.path: layer for layer in table.layers}
    assert [layer.kind for layer in table.layers] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "Flatten", "Linear"]
    assert found["0"].output == (8, 4, 5)
    assert found["0"].parameters == 8 * 3 * 9 + 8
    assert found["0"].multiply_adds == (8 * 4 * 5) * (3 * 9)
    assert found["1"].multiply_adds == 8 * 4 * 5
    assert found["2"].multiply_adds == 0
    assert found["3"].output == (8, 2, 3)
    assert found["3"].multiply_adds == (8 * 2 * 3) * (8 // 4 * 9)
    assert found["5"].multiply_adds == 48 * 5
    assert found["5"].state_bytes == 4 * (48 * 5 + 5)
    assert found["1"].state_bytes == 4 * 8 * 4 + 8, "two weights, two statistics, one counter of eight bytes"
    assert found["0"].output_bytes == 4 * 8 * 4 * 5
    assert table.parameters == sum(weight.numel() for weight in model.parameters())
    assert table.multiply_adds == sum(layer.multiply_adds for layer in table.layers)


def test_recurrent_layers_are_counted_gate_by_gate() -> None:
    assert by_path(nn.LSTM(3, 7, batch_first=True), (5, 3))["LSTM"].multiply_adds == 4 * 5 * 7 * (3 + 7)
    two_ways = nn.GRU(3, 7, 2, batch_first=True, bidirectional=True)
    assert by_path(two_ways, (5, 3))["GRU"].multiply_adds == 3 * 5 * 7 * 2 * ((3 + 7) + (14 + 7))


def test_attention_is_projections_and_two_products() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    found = by_path(layer, (5, 16))
    assert found["self_attn"].multiply_adds == 5 * 16 * 48 + 5 * 16 * 16 + 2 * 5 * 5 * 16
    assert found["linear1"].multiply_adds == 5 * 16 * 32
    assert found["norm1"].multiply_adds == 3 * 5 * 16
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled


def test_a_shared_layer_counts_its_weights_once_and_its_work_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(3, 4))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(self.layer(inputs)) @ self.scale.T

    found = by_path(Twice(), (4,))
    assert found["layer"].multiply_adds == 2 * 16
    assert found["layer"].parameters == 20
    assert found["Twice"].parameters == 12
    assert found["Twice"].multiply_adds == 12, "its own product, not those of its parts"


def test_tied_weights_of_a_gpt() -> None:
    choice = Choice.of({"name": "gpt", **architectures["gpt"].maker.example, "tied": True})
    model = architectures.make(choice)
    facts = Facts(inputs=TokenInputs(vocab_size=11, length=6), sizes={})
    table = layer_table(model, facts)
    found = {layer.path: layer for layer in table.layers}
    assert found["embedding"].parameters == 11 * 8
    assert found["head"].parameters == 0
    assert found["head"].multiply_adds == 6 * 8 * 11
    assert sum(layer.parameters for layer in table.layers) == table.parameters
    attention = [layer.multiply_adds for path, layer in found.items() if path.endswith(".attention")]
    assert attention == [2 * 6 * 6 * 8] * 2, (
        "query with key, weights with value; the projections are layers of their own"
    )


def test_parts_with_inputs_of_their_own() -> None:
    model = nn.ModuleDict({"generator": nn.Linear(2, 6), "discriminator": nn.Linear(6, 1)})
    table = layer_table(model, {"generator": torch.zeros(1, 2), "discriminator": torch.zeros(1, 6)})
    assert [(layer.path, layer.multiply_adds) for layer in table.layers] == [("generator", 12), ("discriminator", 6)]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_table(model, (3,))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks


def test_the_table_people_read() -> None:
    figure = layer_figure(layer_table(nn.Sequential(nn.Linear(1000, 2000), nn.ReLU()), (1000,)))
    assert isinstance(figure, Table)
    assert figure.rows[0][:5] == ("0", "Linear", "2000", "2,002,000", "2,000,000")
    assert figure.rows[1][3:5] == ("–", "–")
    assert figure.total[3:5] == ("2,002,000", "2 M")


@pytest.mark.parametrize("name", architectures.names())
def test_every_architecture_has_a_table(name: str) -> None:
    """At the size of its `example`, on an input its own contract test would give it."""
    example = getattr(architectures[name].maker, "example", {})
    takes = getattr(architectures[name].maker, "takes", ())
    model = architectures.make(Choice.of({"name": name, **example}))
    config = model.config
    if "tokens" in takes:
        inputs = {"": torch.zeros(1, min(6, config.max_len), dtype=torch.long)}
    elif hasattr(config, "latent_dim") and hasattr(model, "generator"):
        inputs = {"": torch.zeros(1, config.latent_dim)}
    elif hasattr(config, "image_size"):
        inputs = {"": torch.zeros(1, config.in_channels, *config.image_size)}
    else:
        inputs = {"": torch.zeros(1, config.in_features)}
    table = layer_table(model, inputs)
    assert sum(layer.parameters for layer in table.layers) == sum(weight.numel() for weight in model.parameters())
    assert table.multiply_adds > 0
