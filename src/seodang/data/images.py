"""Pictures: decoding, normalisation, and augmentation of whole batches at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from seodang.core.inputs import ImageInputs
from seodang.data.dataset import Draws, ImageBatch


class MemoryImages:
    """Pictures held as bytes (N, C, H, W), normalised and augmented a whole batch at a time."""

    def __init__(
        self, images: UInt8[Tensor, "N C H W"], labels: Tensor | None, inputs: ImageInputs, augment: Sequence[str] = ()
    ) -> None:
        self.images, self.labels, self.inputs, self.augment = images, labels, inputs, augment

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor, draws: Draws | None) -> ImageBatch:
        images = self.images[rows].float().div_(255)
        if draws is not None:
            for name in self.augment:
                images = AUGMENTATIONS[name](images, draws)
        labels = None if self.labels is None else self.labels[rows]
        return ImageBatch(normalize(images, self.inputs), labels)


def normalize(images: Float[Tensor, "B C H W"], inputs: ImageInputs) -> Float[Tensor, "B C H W"]:
    """Subtract the mean and divide by the standard deviation of each channel."""
    mean = torch.tensor(inputs.mean, device=images.device).view(-1, 1, 1)
    std = torch.tensor(inputs.std, device=images.device).view(-1, 1, 1)
    return (images - mean) / std


def pixels(images: Float[Tensor, "B C H W"], inputs: ImageInputs) -> Float[Tensor, "B C H W"]:
    """Undo `normalize`: pixels in 0…1."""
    mean = torch.tensor(inputs.mean, device=images.device).view(-1, 1, 1)
    std = torch.tensor(inputs.std, device=images.device).view(-1, 1, 1)
    return (images * std + mean).clamp_(0, 1)


def shift(images: Float[Tensor, "B C H W"], draws: Draws) -> Float[Tensor, "B C H W"]:
    """Move each picture by up to an eighth of its size, whole pixels, zeros coming in."""
    height, width = images.shape[-2:]
    reach = max(1, height // 8), max(1, width // 8)
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    down, right = draws.integers(0, 2 * reach[0] + 1), draws.integers(0, 2 * reach[1] + 1)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    batch = torch.arange(len(images))[:, None, None, None]
    channels = torch.arange(images.shape[1])[None, :, None, None]
    return padded[batch, channels, rows, columns]


AUGMENTATIONS = {"shift": shift}
