"""Variational autoencoder: an encoder to a distribution over latents, a decoder back to pictures."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.models.base import Architecture, architectures


class VAEConfig(Config):
    """Sizes of the two networks."""

    in_channels: int = Field(1, gt=0)
    """Channels of a picture: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (28, 28)
    """Height and width of a picture."""
    latent_dim: int = Field(20, gt=0)
    """Numbers a picture is described by."""
    hidden_sizes: tuple[int, ...] = (512, 512)
    """Width of each hidden layer of the encoder; the decoder has them in reverse."""
    activation: ActivationName = "relu"
    """Non-linearity after each hidden layer."""
    normalization: Literal["none", "batch"] = "batch"
    """Normalise hidden layers before the non-linearity."""


class Reconstruction(NamedTuple):
    """`logits` (B, C, H, W) of the pixels for one drawn latent; `mean` and `log_variance` (B, Z) it was drawn from."""

    logits: Tensor
    mean: Tensor
    log_variance: Tensor


class Dense(nn.Module):
    """Dense layers of the given widths, normalised and with a non-linearity in between, linear at the end."""

    def __init__(self, widths: tuple[int, ...], config: VAEConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            layers.append(nn.Linear(before, after))
            if config.normalization == "batch":
                layers.append(nn.BatchNorm1d(after))
            layers.append(ACTIVATIONS[config.activation]())
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, inputs: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        return self.layers(inputs)


@architectures.register({"vae": VAEConfig()})
class VAE(Architecture):
    r"""Encode a picture as a Gaussian over latents, decode a latent as independent pixels.

    $q(z|x) = N(μ(x), \mathrm{diag}\,σ^2(x))$, $p(x|z)$ by the logits of each pixel, $p(z) = N(0, I)$.

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", arXiv:1312.6114, sec. 3 and appendix C.
    Shapes: images (B, C, H, W) → logits (B, C, H, W), mean (B, Z), log_variance (B, Z).
    Differs: any number of hidden layers with a chosen non-linearity and batch normalisation, where the paper has
    one hidden layer of tanh; initialisation as in `initialize`, where the paper draws N(0, 0.01).
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (Dense,)
    example: ClassVar[dict[str, Any]] = {"image_size": (6, 5), "latent_dim": 3, "hidden_sizes": (16, 8)}

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.shape = (config.in_channels, *config.image_size)
        pixels = prod(self.shape)
        self.encoder = Dense((pixels, *config.hidden_sizes, 2 * config.latent_dim), config)
        self.decoder = Dense((config.latent_dim, *config.hidden_sizes[::-1], pixels), config)
        self.initialize()

    def initialize(self) -> None:
        """Draw hidden weights N(0, 2 / fan-in), the last of each network N(0, 1 / fan-in); biases zero."""
        for network in (self.encoder, self.decoder):
            linear = [module for module in network.layers if isinstance(module, nn.Linear)]
            for module in linear:
                gain = 1.0 if module is linear[-1] else 2.0
                nn.init.normal_(module.weight, std=(gain / module.in_features) ** 0.5)
                nn.init.zeros_(module.bias)

    def encode(self, images: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and logarithm of the variance of each latent."""
        mean, log_variance = self.encoder(images.flatten(1)).float().chunk(2, -1)
        return mean, log_variance

    def decode(self, latents: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        """Return the logits of the pixels."""
        return self.decoder(latents).view(-1, *self.shape)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Reconstruction:
        mean, log_variance = self.encode(images)
        latents = reparameterize(mean, log_variance)
        return Reconstruction(self.decode(latents), mean, log_variance)


def reparameterize(mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
    r"""Return $μ + σ \odot ε$ with $ε \sim N(0, I)$ from torch's global generator: differentiable in both.

    Source: Kingma & Welling 2014, arXiv:1312.6114, sec. 2.4.
    """
    return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
