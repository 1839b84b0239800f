"""Augmentation by moving: shift, crop with padding, flip, rotate, scale."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.inputs import ImageInputs
from seodang.data.augment import Augmentation, augmentations
from seodang.data.dataset import Draws


class ShiftConfig(Config):
    """How far pictures move."""

    pixels: int | None = Field(None, gt=0)
    """Largest move in whole pixels, each way; without it an eighth of the picture."""
    fill: Literal["black", "edge", "reflect"] = "black"
    """What comes in: black, the edge pixel repeated, or the picture mirrored."""


@augmentations.register({"shift": ShiftConfig(), "crop": ShiftConfig(pixels=4)})
class Shift(Augmentation):
    """Move each picture by whole pixels, down and right drawn apart; the same as padding and cropping at random.

    Source: He et al. 2016, "Deep residual learning", arXiv:1512.03385, sec. 4.2 (`crop`: 4 pixels of padding).
    """

    settings: ShiftConfig

    def fit(self, inputs: ImageInputs) -> None:
        pixels, side = self.settings.pixels, min(inputs.height, inputs.width)
        if self.settings.fill == "reflect" and pixels is not None and pixels >= side:
            raise ConfigError("data.augment: pixels={pixels} with fill=reflect mirrors more than a picture of {height}×{width} has. "
                              "Take fewer than {side}.", pixels=pixels, height=inputs.height, width=inputs.width,
                              side=side)  # fmt: skip

    def __call__(self, images: Shaped[Tensor, "B C H W"], draws: Draws) -> Shaped[Tensor, "B C H W"]:
        height, width = images.shape[-2:]
        down, right = (self.settings.pixels or max(1, size // 8) for size in (height, width))
        mode = {"black": "constant", "edge": "replicate", "reflect": "reflect"}[self.settings.fill]
        padded = F.pad(images, (right, right, down, down), mode=mode)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2·down + 1, 2·right + 1, H, W), a view
        top, left = draws.integers(0, 2 * down + 1), draws.integers(0, 2 * right + 1)
        batch = torch.arange(len(images), device=images.device)
        return windows[batch, :, top.to(images.device), left.to(images.device)]


class FlipConfig(Config):
    """How pictures are mirrored."""

    axis: Literal["horizontal", "vertical"] = "horizontal"
    """Left and right exchanged, or top and bottom."""
    probability: float = Field(0.5, gt=0, le=1)
    """Share of pictures mirrored."""


@augmentations.register({"flip": FlipConfig()})
class Flip(Augmentation):
    """Mirror some of the pictures.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification", sec. 4.1.
    """

    settings: FlipConfig

    def __call__(self, images: Shaped[Tensor, "B C H W"], draws: Draws) -> Shaped[Tensor, "B C H W"]:
        chosen = (draws.uniform() < self.settings.probability).to(images.device).view(-1, 1, 1, 1)
        return torch.where(chosen, images.flip(-1 if self.settings.axis == "horizontal" else -2), images)


class AffineConfig(Config):
    """Largest changes; each is drawn uniformly between that much one way and that much the other."""

    degrees: float = Field(10.0, ge=0, le=180)
    """Rotation about the centre."""
    shift: float = Field(2.0, ge=0)
    """Move in pixels, not whole ones; down and right drawn apart."""
    scale: float = Field(0.1, ge=0, lt=1)
    """Change of size: 0.1 draws factors from 0.9 to 1.1."""


AFFINE = {
    "affine": AffineConfig(),
    "rotate": AffineConfig(shift=0.0, scale=0.0),
    "scale": AffineConfig(degrees=0.0, shift=0.0),
}


@augmentations.register(AFFINE)
class Affine(Augmentation):
    """Rotate, resize and move each picture about its centre in one bilinear interpolation.

    Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks", sec. 2.
    Differs: similarity transforms only, no shear and no elastic distortion; uniform, not Gaussian.
    """

    interpolates = True
    settings: AffineConfig

    def __call__(self, images: Float[Tensor, "B C H W"], draws: Draws) -> Float[Tensor, "B C H W"]:
        drawn = draws.uniform(4, low=-1, high=1).to(images.device)
        angle = drawn[:, 0] * math.radians(self.settings.degrees)
        factor = 1 + drawn[:, 1] * self.settings.scale
        grid = similarity_grid(images, angle, factor, drawn[:, 2:] * self.settings.shift)
        return F.grid_sample(images, grid, align_corners=False)


def similarity_grid(
    images: Float[Tensor, "B C H W"],
    angle: Float[Tensor, " B"],
    factor: Float[Tensor, " B"],
    move: Float[Tensor, "B 2"],
) -> Float[Tensor, "B H W 2"]:
    """Return where each output pixel comes from, for `grid_sample`: turned clockwise by `angle`, enlarged, moved.

    Written as an outer sum: `affine_grid` multiplies a matrix per pixel and takes five times as long.
    """
    batch, _, height, width = images.shape
    x = torch.arange(width, device=images.device) + (0.5 - width / 2)
    y = torch.arange(height, device=images.device) + (0.5 - height / 2)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    # output = factor · R(angle) · source + move, so source = R(-angle) / factor · (output - move); units: pixels
    right, down = x - move[:, :1], y - move[:, 1:]  # (B, W), (B, H)
    grid = images.new_empty(batch, height, width, 2)
    torch.add((cos * 2 / width)[:, None, None] * right[:, None, :],
              (sin * 2 / width)[:, None, None] * down[:, :, None], out=grid[..., 0])  # fmt: skip
    torch.add((-sin * 2 / height)[:, None, None] * right[:, None, :],
              (cos * 2 / height)[:, None, None] * down[:, :, None], out=grid[..., 1])  # fmt: skip
    return grid
