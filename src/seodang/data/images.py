"""Pictures in memory: normalisation and augmentation of whole batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data.augment import changed, fitted
from seodang.data.dataset import Draws, ImageBatch


class MemoryImages:
    """Pictures held as bytes (N, C, H, W), normalised and augmented a whole batch at a time.

    `augment` are names of augmentations or choices with settings; they change training batches only.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "N C H W"],
        labels: Tensor | None,
        inputs: ImageInputs,
        augment: Sequence[str | Choice] = (),
    ) -> None:
        self.images, self.labels, self.inputs = images, labels, inputs
        self.augment = fitted(augment, inputs)
        # on the scale of bytes, so that a batch needs no division by 255
        mean, std = statistics(inputs, images.device)
        self._mean, self._scale = mean * 255, 1 / (std * 255)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor, draws: Draws | None) -> ImageBatch:
        images = self.images.index_select(0, rows)
        if draws is not None:
            images = changed(images, self.augment, draws)
        labels = None if self.labels is None else self.labels.index_select(0, rows)
        return ImageBatch(images.float().sub_(self._mean).mul_(self._scale), labels)


@lru_cache(maxsize=8)
def statistics(
    inputs: ImageInputs, device: torch.device
) -> tuple[Float[Tensor, "#C #1 #1"], Float[Tensor, "#C #1 #1"]]:
    """Return mean and standard deviation of each channel, shaped to meet a batch."""
    mean, std = torch.tensor(inputs.mean, device=device), torch.tensor(inputs.std, device=device)
    return mean.view(-1, 1, 1), std.view(-1, 1, 1)


def normalize(images: Float[Tensor, "B C H W"], inputs: ImageInputs) -> Float[Tensor, "B C H W"]:
    """Subtract the mean and divide by the standard deviation of each channel, of pixels in 0…1."""
    mean, std = statistics(inputs, images.device)
    return (images - mean) / std


def pixels(images: Float[Tensor, "B C H W"], inputs: ImageInputs) -> Float[Tensor, "B C H W"]:
    """Undo `normalize`: pixels in 0…1."""
    mean, std = statistics(inputs, images.device)
    return (images * std + mean).clamp_(0, 1)


def channel_statistics(images: UInt8[Tensor, "N C H W"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, of pixels in 0…1, to four digits.

    Counted in whole numbers, piece by piece: the same on every machine, and no float copy of the data.
    """
    total = torch.zeros(images.shape[1], dtype=torch.int64)
    squares = torch.zeros_like(total)
    for part in images.split(2048):
        values = part.transpose(0, 1).flatten(1).to(torch.int32)
        total += values.sum(1)
        squares += values.square().sum(1)
    count = images.numel() // images.shape[1]
    mean = total.double() / count
    std = (squares.double() / count - mean.square()).clamp(min=0).sqrt()
    return (tuple(round(value / 255, 4) for value in mean.tolist()),
            tuple(round(value / 255, 4) or 1.0 for value in std.tolist()))  # fmt: skip
