"""Pictures a task can make of a model: what `look` and the report draw, and how one is written as a PNG."""

from __future__ import annotations

import io
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


class Picture(NamedTuple):
    """Images that belong together.

    `images` (N, C, H, W): float32 in 0…1, or uint8; C is 1 (grey) or 3. A ``"grid"`` is shown side by side,
    `columns` in a row; a ``"film"`` one after the other, `milliseconds` each.
    """

    title: str
    images: Tensor
    columns: int
    about: str = ""
    kind: Literal["grid", "film"] = "grid"
    milliseconds: int = 100


def as_bytes(images: Tensor) -> UInt8[Tensor, "N C H W"]:
    """Return images as uint8; floats in 0…1 are rounded to 256 levels."""
    return images if images.dtype == torch.uint8 else images.float().clamp(0, 1).mul(255).round().byte()


def grid(images: UInt8[Tensor, "N C H W"], columns: int, gap: int = 1) -> UInt8[Tensor, "C Y X"]:
    """Return one picture of all, `columns` in a row, with `gap` grey pixels between; missing places are grey."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.full((rows * columns, channels, height + gap, width + gap), 128, dtype=torch.uint8)
    sheet[:count, :, gap:, gap:] = images
    sheet = sheet.view(rows, columns, channels, height + gap, width + gap).permute(2, 0, 3, 1, 4)
    sheet = sheet.reshape(channels, rows * (height + gap), columns * (width + gap))
    return sheet[:, gap:, gap:]


def png(image: UInt8[Tensor, "C H W"], scale: int = 1) -> bytes:
    """Return the PNG file of one picture, each pixel drawn as `scale` × `scale`."""
    pixels = image.repeat_interleave(scale, 1).repeat_interleave(scale, 2).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def whole_pictures(images: Float[Tensor, "N C H W"]) -> list[list[list[int]]]:
    """Return pixels 0…255 as nested lists, for programs: (N, H, W), with channels last where there are three."""
    pixels = as_bytes(images.cpu())
    return (pixels[:, 0] if pixels.shape[1] == 1 else pixels.permute(0, 2, 3, 1)).tolist()
