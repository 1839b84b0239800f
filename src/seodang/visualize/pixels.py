"""Pictures made of pixels: from tensors to bytes, grids and films as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from seodang.core.inputs import ImageInputs
from seodang.visualize.colour import DIVERGING, VIRIDIS, balanced, painted, stretched
from seodang.visualize.figure import Film, Images, Pixels

SMALL = 64
"""Pictures up to this side keep their pixels as squares when they are enlarged."""
GAP = 2


def picture(image: Tensor, inputs: ImageInputs | None = None) -> Pixels:
    """Return a picture (C, H, W) as pixels; with `inputs` its normalisation is undone, without it is 0…1 already."""
    values = image.detach().float().cpu().numpy()
    if inputs is not None:
        shape = (-1, 1, 1)
        values = values * np.array(inputs.std).reshape(shape) + np.array(inputs.mean).reshape(shape)
    values = (np.clip(np.nan_to_num(values), 0, 1) * 255).round().astype(np.uint8)
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return values.mean(0).round().astype(np.uint8)
    return np.ascontiguousarray(values[:3].transpose(1, 2, 0))


def weights_picture(weights: Tensor) -> Pixels:
    """Return weights of either sign as blue (negative), white (none) and orange; three channels as colour."""
    values = weights.detach().float().cpu().numpy().astype(np.float64)
    if values.ndim == 3 and len(values) == 3:
        return (balanced(values).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    values = values.mean(0) if values.ndim == 3 else values
    return painted(balanced(values), DIVERGING)


def activation_picture(values: Tensor, low: float | None = None, high: float | None = None) -> Pixels:
    """Return an activation map (H, W) in viridis: dark is low, yellow is high."""
    return painted(stretched(values.detach().float().cpu().numpy().astype(np.float64), low, high), VIRIDIS)


def enlarged(image: Pixels, least: int) -> Pixels:
    """Return the picture with whole-number magnification, at least `least` pixels on its longer side."""
    factor = max(1, -(-least // max(image.shape[:2])))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def grid(images: Sequence[Pixels], columns: int, gap: int = GAP) -> Pixels:
    """Return the pictures side by side on white, row after row."""
    if not images:
        return np.full((1, 1, 3), 255, dtype=np.uint8)
    height, width = (max(image.shape[side] for image in images) for side in (0, 1))
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = colours
    return sheet


def png(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", optimize=image.size < 1_000_000)
    return buffer.getvalue()


def images_png(figure: Images, least: int = 96) -> bytes:
    """Return the grid of a figure as one PNG, small pictures enlarged."""
    return png(grid([enlarged(image, least) for image in figure.images], figure.columns, gap=6))


def film_png(figure: Film) -> bytes:
    """Return an animated PNG that repeats for ever."""
    frames = [Image.fromarray(np.ascontiguousarray(frame)) for frame in figure.frames]
    buffer = io.BytesIO()
    milliseconds = round(figure.seconds * 1000)
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    return buffer.getvalue()


def data_address(image: Pixels | bytes) -> str:
    """Return a picture as a ``data:`` address, so that a page needs no other file."""
    data = image if isinstance(image, bytes) else png(image)
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
