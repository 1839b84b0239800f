"""Augmentation of colours: brightness, contrast, saturation and hue of each picture, in one matrix product."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.inputs import ImageInputs
from seodang.data.augment import Augmentation, augmentations
from seodang.data.dataset import Draws

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue add to the grey level: ITU-R BT.601, as in Pillow."""
TO_YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


class ColourConfig(Config):
    """Largest changes, each drawn for each picture by itself; 0 leaves that one out."""

    brightness: float = Field(0.0, ge=0, le=1)
    """Factor of all grey levels: 0.4 draws from 0.6 to 1.4."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Factor of the distance from the picture's mean grey level."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Factor of the distance of a pixel's colour from its grey level; for colour pictures."""
    hue: float = Field(0.0, ge=0, le=180)
    """Turn of the colours about grey, in degrees; for colour pictures."""


COLOUR = {
    "colour": ColourConfig(brightness=0.4, contrast=0.4, saturation=0.4),
    "brightness": ColourConfig(brightness=0.4),
    "contrast": ColourConfig(contrast=0.4),
    "saturation": ColourConfig(saturation=0.4),
    "hue": ColourConfig(hue=18.0),
}


@augmentations.register(COLOUR)
class Colour(Augmentation):
    r"""Change brightness, contrast, saturation and hue of each picture.

    With $P$ the projection of a pixel on its grey level and $Q$ a quarter turn of what is left, a picture $x$ with mean grey
    level $\mu$ becomes $b\,[c\,(P + s \cos\theta (I - P) + s \sin\theta\, Q)\,x + (1 - c)\,\mu]$. The four commute, so there
    is no order to draw, and one 3×3 matrix for each picture does it all.

    Source: Howard 2013, "Some improvements on deep convolutional neural network based image classification",
    arXiv:1312.5402, sec. 2.2; colour changes as one matrix Karras et al. 2020, arXiv:2006.06676, appendix B.
    Differs: levels are cut to 0…255 once, after all four, where Pillow rounds and cuts after each (and so depends on the
    order, which Howard draws); the hue turns in the IQ plane of YIQ, keeping the grey level, where Pillow and torchvision
    turn it in HSV.
    """

    interpolates = True
    settings: ColourConfig

    def fit(self, inputs: ImageInputs) -> None:
        for name in ("saturation", "hue"):
            if inputs.channels != 3 and (value := getattr(self.settings, name)):
                raise ConfigError("data.augment: {name}={value} changes colours, but these pictures have {channels} channel(s), not "
                                  "red, green and blue. Take brightness or contrast.", name=name, value=value,
                                  channels=inputs.channels)  # fmt: skip

    def __call__(self, images: Float[Tensor, "B C H W"], draws: Draws) -> Float[Tensor, "B C H W"]:
        settings, (batch, channels, height, width) = self.settings, images.shape
        drawn = draws.uniform(4, low=-1, high=1).to(images.device)
        brightness, contrast, saturation = (
            1 + drawn[:, place] * strength
            for place, strength in enumerate((settings.brightness, settings.contrast, settings.saturation))
        )
        flat = images.flatten(2)
        matrix: Tensor | None = None
        if channels == 3 and (settings.saturation or settings.hue):
            matrix = colour_matrix(saturation, drawn[:, 3] * math.radians(settings.hue))
            matrix *= (brightness * contrast).view(-1, 1, 1)
        offset: Tensor | None = None
        if settings.contrast:
            offset = (mean_grey(flat) * brightness * (1 - contrast)).view(-1, 1, 1)
        if matrix is None:
            flat = flat * (brightness * contrast).view(-1, 1, 1)
            flat = flat if offset is None else flat.add_(offset)
        elif offset is None:
            flat = torch.bmm(matrix, flat)
        else:
            flat = torch.baddbmm(offset, matrix, flat)
        return flat.clamp_(0, 255).view(batch, channels, height, width)


def colour_matrix(saturation: Float[Tensor, " B"], angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Return for each picture what its pixels are multiplied with: colours stretched, and turned about grey."""
    to_yiq = torch.tensor(TO_YIQ, dtype=torch.float64)
    quarter = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    turn = torch.linalg.solve(to_yiq, quarter @ to_yiq)
    grey = torch.tensor([LUMA] * 3, dtype=torch.float64)
    parts = torch.stack([grey, torch.eye(3, dtype=torch.float64) - grey, turn]).to(saturation)
    shares = torch.stack([torch.ones_like(saturation), saturation * angle.cos(), saturation * angle.sin()], 1)
    return (shares @ parts.flatten(1)).view(-1, 3, 3)


def mean_grey(flat: Float[Tensor, "B C P"]) -> Float[Tensor, " B"]:
    """Return the mean grey level of each picture: of red, green and blue by luma, of other channels their mean."""
    means = flat.mean(2)
    return means @ torch.tensor(LUMA).to(means) if means.shape[1] == 3 else means.mean(1)
