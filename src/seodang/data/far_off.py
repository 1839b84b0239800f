"""Numbers so far from all others that nobody can have meant them."""

from __future__ import annotations

import numpy as np

MOST = 0.05
"""Share of the values that may be far off; more of them are how the data is."""
GAP = 10.0
"""How many times farther from the middle the nearest of them is than the farthest of the others."""
SPREADS = 20.0
"""How many times the distance between the tenths at both ends they are away from the middle."""


def far_off(values: np.ndarray) -> list[int]:
    """Return the places of a few numbers behind a wide gap, seen from the median; NaN stands for a missing value.

    A long tail has no such gap: its numbers grow by and by.
    """
    places = np.isfinite(values).nonzero()[0]
    known = values[places].astype(np.float64)
    if len(known) < 10:
        return []
    low, middle, high = np.quantile(known, (0.1, 0.5, 0.9)).tolist()
    distances = abs(known - middle)
    order = distances.argsort(kind="stable")
    away = distances[order]
    start = len(away) - max(1, int(MOST * len(away)))
    wide = (away[start:] > GAP * away[start - 1 : -1]) & (away[start:] > SPREADS * (high - low))
    if high == low or not wide.any():
        return []
    return sorted(places[order[start + int(wide.argmax()) :]].tolist())
