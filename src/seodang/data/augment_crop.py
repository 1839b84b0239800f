"""Random resized crop: a part of each picture, of random size and shape, enlarged to the whole."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.data.augment import Augmentation, augmentations
from seodang.data.dataset import Draws

TRIES = 10
"""Rectangles drawn for each picture; the first that fits is taken."""


class ResizedCropConfig(Config):
    """Which part is taken."""

    least: float = Field(0.08, gt=0, le=1)
    """Smallest share of the picture's area; the largest is all of it."""
    aspect: float = Field(4 / 3, ge=1)
    """How many times wider than high, or higher than wide, the part may be."""


@augmentations.register({"resized-crop": ResizedCropConfig()})
class ResizedCrop(Augmentation):
    """Take a part of each picture, of random area and shape at a random place, and enlarge it to the whole, bilinearly.

    Area is drawn uniformly, the logarithm of the ratio of width to height too; of ten tries the first that fits is
    taken, else the whole picture.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842, sec. 6.
    Differs: the paper leaves open how the ratio is drawn and how often; both are as in torchvision.
    """

    interpolates = True
    settings: ResizedCropConfig

    def __call__(self, images: Float[Tensor, "B C H W"], draws: Draws) -> Float[Tensor, "B C H W"]:
        height, width = images.shape[-2:]
        ratio = math.log(self.settings.aspect)
        tall, wide, fits = rectangles(draws, height, width, (self.settings.least, 1.0), (-ratio, ratio))
        tall, wide = tall.where(fits, height), wide.where(fits, width)
        place = draws.uniform(2)
        top, left = ((height - tall + 1) * place[:, 0]).floor(), ((width - wide + 1) * place[:, 1]).floor()
        sides = (left, wide, width), (top, tall, height)
        x, y = (spread(start, size, whole).to(images.device) for start, size, whole in sides)
        grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
        return F.grid_sample(images, grid, align_corners=False)


def spread(start: Float[Tensor, " B"], size: Int[Tensor, " B"], whole: int) -> Float[Tensor, "B whole"]:
    """Return where each of `whole` pixels comes from when `size` pixels from `start` on are enlarged, for `grid_sample`.

    Nothing comes from outside the part: at its borders the edge pixel goes on, as when the part is resized by itself.
    """
    step = (size / whole)[:, None]
    place = ((torch.arange(whole) + 0.5) * step - 0.5).clamp(min=0).minimum(size[:, None] - 1)
    return (start[:, None] + place + 0.5) * (2 / whole) - 1


def rectangles(
    draws: Draws, height: int, width: int, area: tuple[float, float], log_aspect: tuple[float, float]
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Return height and width, in pixels, of a random rectangle for each picture, and whether any of the tries fitted."""
    drawn = draws.uniform(TRIES, 2)
    areas = (area[0] + drawn[..., 0] * (area[1] - area[0])) * (height * width)
    aspects = (log_aspect[0] + drawn[..., 1] * (log_aspect[1] - log_aspect[0])).exp()
    return first_fitting(areas, aspects, height, width)


def first_fitting(
    areas: Float[Tensor, "B N"], aspects: Float[Tensor, "B N"], height: int, width: int
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Return the sides of the first rectangle that fits, by area and ratio of width to height."""
    wide, tall = (areas * aspects).sqrt().round().long(), (areas / aspects).sqrt().round().long()
    fitting = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    first = fitting.byte().argmax(1, keepdim=True)
    return tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0], fitting.any(1)
