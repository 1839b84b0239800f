"""DCGAN: shapes, range, initial weights, the sizes of the paper, pictures that do not divide."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seodang.core.errors import ConfigError
from seodang.models.base import architectures
from seodang.models.gan import DCGAN, DCGANConfig


@pytest.mark.parametrize("hidden", [0, 32])
def test_shapes_and_range(hidden: int) -> None:
    model = DCGAN(DCGANConfig(in_channels=3, image_size=(8, 12), latent_dim=5, hidden_size=hidden))
    drawn = model(torch.randn(4, 5) * 10)
    assert drawn.shape == (4, 3, 8, 12)
    assert drawn.abs().max() <= 1
    assert model.discriminator(drawn).shape == (4,)


def test_one_channel_entry_is_one_doubling() -> None:
    config = DCGANConfig(image_size=(6, 10), generator_channels=(8,), discriminator_channels=(8,))
    assert DCGAN(config)(torch.randn(2, 64)).shape == (2, 1, 6, 10)


def test_the_size_of_the_paper() -> None:
    """Radford et al. 2016, figure 1: 100 numbers, 4×4×1024, then 512, 256, 128 channels up to 64×64×3."""
    settings = architectures["dcgan-64"].settings
    assert isinstance(settings, DCGANConfig)
    with torch.device("meta"):
        model = DCGAN(settings)
    first, *up = [layer for layer in model.generator.layers if isinstance(layer, (nn.Linear, nn.ConvTranspose2d))]
    assert (first.in_features, first.out_features) == (100, 4 * 4 * 1024)
    assert [(layer.in_channels, layer.out_channels) for layer in up] == [(1024, 512), (512, 256), (256, 128), (128, 3)]
    assert isinstance(model.generator.layers[-1], nn.Tanh)
    down = [layer for layer in model.discriminator.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.stride for layer in down] == [(2, 2)] * 4
    assert all(layer.negative_slope == 0.2 for layer in model.discriminator.layers if isinstance(layer, nn.LeakyReLU))


def test_initial_weights() -> None:
    model = DCGAN(DCGANConfig(hidden_size=256))
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and module.weight.numel() > 500:
            assert abs(module.weight.std().item() - 0.02) < 0.002
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert abs(module.weight.mean().item() - 1) < 0.02
            assert 0.01 < module.weight.std().item() < 0.03
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


def test_a_picture_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        DCGAN(DCGANConfig(image_size=(28, 30)))
    assert str(caught.value) == (
        "model.generator_channels has 2 entries, each halves the picture once, but 28×30 is not divisible by 4. "
        "Give fewer entries, or pictures of another size."
    )
