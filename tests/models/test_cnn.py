"""The small CNN: its size worked out by hand, its order of layers, its head, and pictures too small for it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.models.cnn import CNN, CNNConfig


def cnn(**settings: object) -> CNN:
    return CNN(CNNConfig.of(settings))


def test_parameters_are_those_counted_by_hand() -> None:
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 64 + 64 * 128)
    normalization = 2 * (32 + 64 + 64 + 128)
    head = 128 * 2 * 2 * 10 + 10
    assert sum(weight.numel() for weight in cnn().parameters()) == convolutions + normalization + head == 135_018


@pytest.mark.parametrize(
    ("settings", "maps"),
    [
        ({}, (128, 2, 2)),
        ({"stages": [[32, 32], [64]], "image_size": [8, 8], "padding": "same"}, (64, 4, 4)),
        ({"stages": [[4]], "image_size": [5, 9]}, (4, 3, 7)),
        ({"stages": [[4], [5], [6]], "image_size": [33, 21], "padding": "same", "kernel_size": 5}, (6, 8, 5)),
        ({"stages": [[4, 4], [6]], "image_size": [12, 14], "in_channels": 3, "normalization": "none"}, (6, 2, 3)),
    ],
)
@pytest.mark.parametrize("head", ["flatten", "average"])
def test_maps_have_the_size_the_settings_say(settings: dict[str, object], maps: tuple[int, ...], head: str) -> None:
    model = cnn(**settings, head=head).eval()
    config = model.config
    images = torch.randn(2, config.in_channels, *config.image_size)
    assert model.features(images).shape == (2, *maps)
    assert model(images).shape == (2, 10)
    width = maps[0] if head == "average" else maps[0] * maps[1] * maps[2]
    last = model.classifier[-1]
    assert isinstance(last, nn.Linear)
    assert last.in_features == width


def test_it_computes_what_its_docstring_says() -> None:
    torch.manual_seed(0)
    model = cnn(stages=[[3, 4], [5]], image_size=[10, 10], padding="same", activation="tanh", hidden_sizes=[7]).eval()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    x = images = torch.randn(3, 1, 10, 10)
    for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        x = F.conv2d(x, convolution.weight, padding=1)
        if number == 1:  # the last of the first stage
            x = F.max_pool2d(x, 2)
        shape = (1, -1, 1, 1)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
        x = (x * norm.weight.view(shape) + norm.bias.view(shape)).tanh()
    hidden, last = (module for module in model.classifier if isinstance(module, nn.Linear))
    expected = F.linear(F.linear(x.flatten(1), hidden.weight, hidden.bias).tanh(), last.weight, last.bias)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_pooling_before_normalisation_changes_nothing_in_evaluation() -> None:
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(6).eval(), torch.randn(2, 6, 8, 8)
    nn.init.uniform_(norm.weight, 0.1, 2.0)
    torch.testing.assert_close(norm(F.max_pool2d(x, 2)).relu(), F.max_pool2d(norm(x).relu(), 2))


def test_initial_weights_have_the_deviation_of_their_source() -> None:
    torch.manual_seed(0)
    model = cnn(stages=[[64], [64, 128]], image_size=[28, 28], hidden_sizes=[256], normalization="none")
    weighted = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for module in weighted:
        gain = 1 if module is weighted[-1] else 2
        expected = (gain / module.weight[0].numel()) ** 0.5
        assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
        assert module.bias is not None
        assert not module.bias.any()


def test_dropout_is_before_each_dense_layer_and_only_in_training() -> None:
    model = cnn(dropout=0.5, hidden_sizes=[8])
    kinds = [type(module).__name__ for module in model.classifier]
    assert kinds == ["Flatten", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    images = torch.randn(4, 1, 28, 28)
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (8, 8)}, r"8×8 pixels is used up in stage 2 of 3. Take fewer stages"),
        (
            {"stages": ((4,), (4,), (4,), (4,)), "image_size": (7, 28), "padding": "same"},
            "used up in stage 4|in stage 3 of 4",
        ),
        ({"stages": ((4,), ())}, r"stage 2 is \[\]; it needs one or more numbers above 0"),
        ({"stages": ((4, 0),)}, r"stage 1 is \[4, 0\]"),
        ({"stages": ()}, "model.stages"),
        ({"dropout": 1.0}, "model.dropout: should be less than 1"),
    ],
)
def test_what_cannot_be_built_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sd.model("cnn", **settings)
