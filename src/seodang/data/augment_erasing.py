"""Augmentation by loss: rectangles erased, squares cut out, noise added."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.inputs import ImageInputs
from seodang.data.augment import Augmentation, augmentations
from seodang.data.augment_crop import TRIES, first_fitting
from seodang.data.dataset import Draws


class EraseConfig(Config):
    """How often, how much, of what shape, and what stands there afterwards."""

    probability: float = Field(0.5, gt=0, le=1)
    """Share of pictures with an erased rectangle."""
    least: float = Field(0.02, gt=0, lt=1)
    """Smallest share of the picture's area that is erased."""
    most: float = Field(0.4, gt=0, lt=1)
    """Largest share of the picture's area that is erased."""
    aspect: float = Field(0.3, gt=0, le=1)
    """Least ratio of height to width; the largest is 1 through it."""
    value: Literal["random", "mean", "black", "white"] = "random"
    """A random level for each pixel and channel; the mean of the training pictures; 0; or 255."""


class CutoutConfig(Config):
    """How large the squares are, how many, and what stands there afterwards."""

    size: int | None = Field(None, gt=0)
    """Side of the square in pixels; without it half of the picture's shorter side."""
    holes: int = Field(1, gt=0)
    """Squares in each picture."""
    value: Literal["mean", "black"] = "mean"
    """The mean of the training pictures, which is 0 after normalisation; or black."""


class _Covering(Augmentation):
    """Knows the mean of the training pictures, with which both papers cover up."""

    settings: EraseConfig | CutoutConfig
    mean: Tensor

    def __init__(self, settings: EraseConfig | CutoutConfig) -> None:
        super().__init__(settings)
        self.interpolates = settings.value == "mean"  # which is no whole byte

    def fit(self, inputs: ImageInputs) -> None:
        self.mean = 255 * torch.tensor(inputs.mean).view(1, -1, 1, 1)


@augmentations.register({"erase": EraseConfig()})
class Erase(_Covering):
    """Cover a rectangle of random size, shape and place in some of the pictures: random erasing.

    Area and ratio of height to width are drawn uniformly, until the rectangle fits; then its place.

    Source: Zhong et al. 2020, "Random erasing data augmentation", arXiv:1708.04896, algorithm 1 and sec. 4.1.
    Differs: ten tries, not as many as it takes; where none fits, which is rare, the picture stays whole.
    """

    settings: EraseConfig

    def fit(self, inputs: ImageInputs) -> None:
        super().fit(inputs)
        if self.settings.least > self.settings.most:
            raise ConfigError("data.augment: erase has least={least}, but most={most}; least is the smaller one.",
                              least=self.settings.least, most=self.settings.most)  # fmt: skip

    def __call__(self, images: Shaped[Tensor, "B C H W"], draws: Draws) -> Shaped[Tensor, "B C H W"]:
        settings, (channels, height, width) = self.settings, images.shape[1:]
        drawn, chosen = draws.uniform(TRIES, 2), draws.uniform(3)
        areas = (settings.least + drawn[..., 0] * (settings.most - settings.least)) * (height * width)
        upright = settings.aspect + drawn[..., 1] * (1 / settings.aspect - settings.aspect)
        tall, wide, fits = first_fitting(areas, 1 / upright, height, width)
        top, left = (chosen[:, 1] * (height - tall + 1)).floor(), (chosen[:, 2] * (width - wide + 1)).floor()
        fits &= chosen[:, 0] < settings.probability
        inside = (
            span(top, top + tall * fits, height)[:, None, :, None] & span(left, left + wide, width)[:, None, None, :]
        )
        value = {"black": torch.zeros(()), "white": torch.full((), 255.0)}.get(settings.value)
        if value is None:
            value = self.mean if settings.value == "mean" else draws.bytes(channels, height, width)
        return torch.where(inside.to(images.device), value.to(images), images)


@augmentations.register({"cutout": CutoutConfig()})
class Cutout(_Covering):
    """Cover a square in every picture. Its centre is any pixel, so that part of it may lie outside.

    Source: DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout",
    arXiv:1708.04552, sec. 3.2; 16 of 32 pixels as for CIFAR-10.
    """

    settings: CutoutConfig

    def fit(self, inputs: ImageInputs) -> None:
        super().fit(inputs)
        size, side = self.settings.size, max(inputs.height, inputs.width)
        if size is not None and size >= side:
            raise ConfigError("data.augment: cutout with size={size} can leave nothing of a picture of {height}×{width}. "
                              "Take less than its sides, for example {half}.", size=size, height=inputs.height,
                              width=inputs.width, half=side // 2)  # fmt: skip

    def __call__(self, images: Shaped[Tensor, "B C H W"], draws: Draws) -> Shaped[Tensor, "B C H W"]:
        height, width = images.shape[-2:]
        size, holes = self.settings.size or max(1, min(height, width) // 2), self.settings.holes
        rows, columns = (draws.integers(0, side, holes) - size // 2 for side in (height, width))
        inside = span(rows, rows + size, height)[..., :, None] & span(columns, columns + size, width)[..., None, :]
        covered = inside[:, 0] if holes == 1 else inside.any(1)
        value = self.mean if self.settings.value == "mean" else torch.zeros(())
        return torch.where(covered[:, None].to(images.device), value.to(images), images)


def span(start: Shaped[Tensor, "*B"], end: Shaped[Tensor, "*B"], whole: int) -> Bool[Tensor, "*B whole"]:
    """Return which of `whole` places lie from `start` to before `end`."""
    places = torch.arange(whole)
    return (places >= start[..., None]) & (places < end[..., None])


class NoiseConfig(Config):
    """How strong the noise is."""

    std: float = Field(12.0, gt=0, le=255)
    """Standard deviation in grey levels, on the scale of 0 to 255."""


@augmentations.register({"noise": NoiseConfig()})
class Noise(Augmentation):
    """Add Gaussian noise to every pixel and channel, drawn anew each time a picture is seen.

    To first order this is a penalty on how steeply the outputs change with the inputs. Levels may leave 0…255, so that
    the noise has mean zero on black and white too.

    Source: Sietsma & Dow 1991, "Creating artificial neural networks that generalize", Neural Networks 4; Bishop 1995,
    "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7.
    """

    interpolates = True
    settings: NoiseConfig

    def __call__(self, images: Float[Tensor, "B C H W"], draws: Draws) -> Float[Tensor, "B C H W"]:
        return images + draws.normal(*images.shape[1:]).to(images.device).mul_(self.settings.std)
