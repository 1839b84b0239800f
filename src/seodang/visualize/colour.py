"""Colours everyone can tell apart, and the scales that turn numbers into colours.

Source: palette of Okabe & Ito 2008, "Color Universal Design"; viridis of van der Walt & Smith 2015, matplotlib (CC0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seodang.visualize.figure import Pixels

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#5B5B5B")
INK, MUTED, RULE, PAPER = "#1d2530", "#667080", "#e7e5df", "#ffffff"

BLUES = ("#f4f8fb", "#d3e5f1", "#a3cbe3", "#64a8d1", "#2384bd", "#0a629b", "#084b78")
ORANGES = ("#f6f5f2", "#fdeee3", "#f9d3b8", "#f2ab7d", "#e67f43", "#d55e00", "#a84a00")
DIVERGING = ("#084b78", "#2384bd", "#a3cbe3", "#f7f7f5", "#f9c9a6", "#e0752c", "#9c4500")
VIRIDIS = ("#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725")


def colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def rgb(code: str) -> tuple[int, int, int]:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def painted(values: ArrayLike, scale: tuple[str, ...]) -> Pixels:
    """Return the colours (…, 3) of values between 0 and 1; those outside are clipped, NaN is grey."""
    values = np.asarray(values, dtype=np.float64)
    stops = np.array([rgb(code) for code in scale], dtype=np.float64)
    places = np.linspace(0, 1, len(scale))
    clipped = np.clip(np.nan_to_num(values), 0, 1)
    channels = [np.interp(clipped, places, stops[:, channel]) for channel in range(3)]
    colours = np.stack(channels, axis=-1)
    colours[np.isnan(values)] = 200
    return colours.round().astype(np.uint8)


def codes(values: ArrayLike, scale: tuple[str, ...]) -> list[str]:
    """Return ``#rrggbb`` for each value between 0 and 1."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in painted(values, scale).reshape(-1, 3)]


def readable_on(code: str) -> str:
    """Return black or white, whichever is read better on this colour (WCAG relative luminance)."""
    parts = np.array(rgb(code)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return INK if luminance > 0.35 else "#ffffff"


def stretched(values: NDArray[np.float64], low: float | None = None, high: float | None = None) -> NDArray[np.float64]:
    """Return the values moved to 0…1 between `low` and `high` (default: their own extremes)."""
    low = float(np.nanmin(values)) if low is None else low
    high = float(np.nanmax(values)) if high is None else high
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def balanced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values moved to 0…1 so that zero is in the middle: for weights, of either sign."""
    reach = float(np.nanmax(np.abs(values))) if values.size else 0.0
    return values / (2 * reach) + 0.5 if reach else np.full_like(values, 0.5)
