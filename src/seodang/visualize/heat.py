"""Maps over a picture: warm where they are high, signs in two colours, frames around a part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seodang.visualize.colour import DIVERGING, VIRIDIS, painted, rgb
from seodang.visualize.figure import Pixels

SHARE = 99.0
"""Per cent of the pixels below the brightest colour: a few large values do not darken all others."""
FRAME = "#D55E00"


def in_colour(image: Pixels) -> Pixels:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)


def over(image: Pixels, values: Tensor) -> Pixels:
    """Return the picture in grey under a map (H, W) of numbers from zero up, each in half: dark is zero, yellow the most."""
    heat = _array(values).clip(0)
    most = float(heat.max())
    grey = in_colour(image).mean(-1, keepdims=True)
    colours = painted(heat / most if most > 0 else heat, VIRIDIS).astype(np.float64)
    return (0.5 * grey + 0.5 * colours).round().astype(np.uint8)


def signed(values: Tensor) -> Pixels:
    """Return a map of either sign: blue speaks against, white says nothing, orange speaks for. (C, H, W) is summed over C."""
    numbers = _array(values)
    numbers = numbers.sum(0) if numbers.ndim == 3 else numbers
    return painted(numbers / (2 * _reach(numbers)) + 0.5, DIVERGING)


def gradient_picture(values: Tensor) -> Pixels:
    """Return a gradient (C, H, W) as a picture around grey: in colours where it has three channels, else its sum."""
    numbers = _array(values)
    numbers = numbers if len(numbers) == 3 else numbers.sum(0, keepdims=True)
    shown = (numbers / (2 * _reach(numbers)) + 0.5).clip(0, 1)
    pixels: Pixels = (shown * 255).round().astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def framed(image: Pixels, box: tuple[int, int, int, int], factor: int, colour: str = FRAME) -> Pixels:
    """Return the picture enlarged by a whole number with a frame around top, left, bottom, right; parts outside are paler."""
    top, left, bottom, right = (edge * factor for edge in box)
    colours = in_colour(image).repeat(factor, axis=0).repeat(factor, axis=1).astype(np.float64)
    pale = colours * 0.45 + 255 * 0.55
    pale[top:bottom, left:right] = colours[top:bottom, left:right]
    wide = max(1, min(pale.shape[:2]) // 100)
    inside = pale[top + wide : bottom - wide, left + wide : right - wide].copy()
    pale[top:bottom, left:right] = rgb(colour)
    pale[top + wide : bottom - wide, left + wide : right - wide] = inside
    return pale.round().astype(np.uint8)


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _reach(numbers: NDArray[np.float64]) -> float:
    """Return the size of a large value: the largest, unless a few stand far above all others."""
    sizes = np.abs(numbers)
    return float(np.percentile(sizes, SHARE)) or float(sizes.max()) or 1.0
