"""Generative adversarial networks: a generator that draws pictures, a discriminator that tells them from real ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.models.base import Architecture, architectures


class DCGANConfig(Config):
    """Sizes of the two networks. Each entry of the channels doubles or halves the picture once."""

    in_channels: int = Field(1, gt=0)
    """Channels of a picture: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (28, 28)
    """Height and width of a picture."""
    latent_dim: int = Field(64, gt=0)
    """Numbers of noise a picture is drawn from."""
    generator_channels: tuple[int, ...] = Field((64, 32), min_length=1)
    """Channels of the generator's maps, from the smallest map to the largest before the picture."""
    discriminator_channels: tuple[int, ...] = Field((32, 64), min_length=1)
    """Channels of the discriminator's maps, from the largest to the smallest."""
    hidden_size: int = Field(0, ge=0)
    """Width of a dense layer beside the noise and before the verdict; 0 = none."""


SIZES = {
    "dcgan": DCGANConfig(),
    "dcgan-64": DCGANConfig(
        in_channels=3, image_size=(64, 64), latent_dim=100,
        generator_channels=(1024, 512, 256, 128), discriminator_channels=(128, 256, 512, 1024),
    ),
}  # fmt: skip


@architectures.register(SIZES)
class DCGAN(Architecture):
    """A generator of transposed convolutions and a discriminator of strided ones.

    The whole model maps noise to pictures: its forward is the generator's. `generator` and `discriminator` are
    trained apart.

    Source: Radford, Metz & Chintala 2016, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", arXiv:1511.06434, sec. 3 and figure 1 (`dcgan-64`); the dense layers of `hidden_size` as in
    Chen et al. 2016, "InfoGAN", arXiv:1606.03657, appendix C.1.
    Shapes: noise (B, Z) → pictures (B, C, H, W) in -1…1; the discriminator gives one logit for each picture (B,).
    Differs: as many doublings as channels are given, where the paper has four; `dcgan` is a size for 28×28.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "image_size": (8, 12), "latent_dim": 4, "generator_channels": (8, 4), "discriminator_channels": (4, 8),
        "hidden_size": 6,
    }  # fmt: skip

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        self.config, self.latent_dim = config, config.latent_dim
        self.generator = Generator(
            config.latent_dim, config.in_channels, config.image_size, config.generator_channels, config.hidden_size
        )
        self.discriminator = Discriminator(
            config.in_channels, config.image_size, config.discriminator_channels, config.hidden_size
        )
        self.initialize()

    def initialize(self) -> None:
        """Draw weights N(0, 0.02) and the gains of normalisation N(1, 0.02); biases zero (sec. 4 of the paper)."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.normal_(module.weight, 1.0, 0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def forward(self, noise: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        return self.generator(noise)


class Generator(nn.Module):
    """Noise to pictures: a small map from a dense layer, doubled by transposed convolutions, tanh at the end."""

    def __init__(
        self,
        latent_dim: int,
        out_channels: int,
        image_size: tuple[int, int],
        channels: tuple[int, ...],
        hidden_size: int,
    ) -> None:
        super().__init__()
        height, width = smallest_map(image_size, len(channels), "generator_channels")
        layers: list[nn.Module] = []
        if hidden_size:
            layers += [nn.Linear(latent_dim, hidden_size, bias=False), nn.BatchNorm1d(hidden_size), nn.ReLU()]
        layers += [
            nn.Linear(hidden_size or latent_dim, channels[0] * height * width, bias=False),
            nn.Unflatten(1, (channels[0], height, width)), nn.BatchNorm2d(channels[0]), nn.ReLU(),
        ]  # fmt: skip
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(channels[-1], out_channels, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        return self.layers(noise)


class Discriminator(nn.Module):
    """Pictures to a logit, positive for real: strided convolutions with leaky ReLU of slope 0.2."""

    def __init__(
        self, in_channels: int, image_size: tuple[int, int], channels: tuple[int, ...], hidden_size: int
    ) -> None:
        super().__init__()
        height, width = smallest_map(image_size, len(channels), "discriminator_channels")
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        layers.append(nn.Flatten())
        features = channels[-1] * height * width
        if hidden_size:
            layers += [nn.Linear(features, hidden_size, bias=False), nn.BatchNorm1d(hidden_size), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_size or features, 1))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
        return self.layers(images).squeeze(1)


def smallest_map(image_size: tuple[int, int], halvings: int, setting: str) -> tuple[int, int]:
    """Return height and width after `halvings`.

    Raises: ConfigError if they do not divide evenly.
    """
    factor = 2**halvings
    if image_size[0] % factor or image_size[1] % factor:
        raise ConfigError("model.{setting} has {count} entries, each halves the picture once, but {height}×{width} is "
                          "not divisible by {factor}. Give fewer entries, or pictures of another size.",
                          setting=setting, count=halvings, height=image_size[0], width=image_size[1],
                          factor=factor)  # fmt: skip
    return image_size[0] // factor, image_size[1] // factor
