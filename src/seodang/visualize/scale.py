"""From numbers to places on paper: scales, round tick marks, and numbers as people write them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

from seodang.core.language import say
from seodang.visualize.figure import Axis


class Scale:
    """Maps values between `low` and `high` to pixels between `start` and `end`; logarithmic if the axis is."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log
        self._from, self._to = (math.log10(low), math.log10(high)) if log else (low, high)

    def __call__(self, value: float) -> float:
        place = math.log10(max(value, self.low * 1e-3)) if self.log else value
        return self.start + (place - self._from) / (self._to - self._from) * (self.end - self.start)


def finite(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values if isinstance(value, (int, float)) and math.isfinite(value)]


def limits(values: Sequence[float], axis: Axis, tight: bool = False) -> tuple[float, float]:
    """Return where an axis begins and ends: round numbers around the values, unless it says so itself."""
    if axis.limits:
        return axis.limits
    known = [value for value in values if value > 0] if axis.log else list(values)
    if not known:
        return (0.1, 1.0) if axis.log else (0.0, 1.0)
    low, high = min(known), max(known)
    if axis.log:
        return (low / 1.15, high * 1.15) if low < high else (low / 2, high * 2)
    if low == high > 0 and not tight:
        return 0.0, 2 * high
    if low == high:
        reach = abs(low) / 2 or 0.5
        return low - reach, high + reach
    if tight:
        return low, high
    step = tick_step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def tick_step(low: float, high: float, wanted: int = 5) -> float:
    """Return the step (1, 2 or 5 times a power of ten) that cuts low…high in about `wanted` parts."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if rough <= power * factor * (1 + 1e-9))


MOST_DECADES = 8
"""Powers of ten that are marked on a logarithmic axis; of more, every second or third."""


def ticks(low: float, high: float, log: bool = False, wanted: int = 5) -> list[float]:
    """Return round numbers between `low` and `high`."""
    if not log:
        step = tick_step(low, high, wanted)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]
    decades = math.log10(high) - math.log10(low)
    apart = math.ceil(decades / MOST_DECADES)
    powers = range(math.floor(math.log10(low) / apart) * apart, math.ceil(math.log10(high)) + 1, apart)
    factors = (1,) if decades > 3 else (1, 2, 5) if decades > 0.8 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    places = [factor * 10.0**power for power in powers for factor in factors]
    return [float(f"{place:.12g}") for place in places if low * 0.999 <= place <= high * 1.001]


# ------------------------------------------------------------------------------------------- in words


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits, thousands set apart, no needless zeros: 12,300 or 0.0412."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "−∞" if value == -math.inf else "?"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) < 1e-4 or abs(value) >= 1e15:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(power)}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def percent(value: float) -> str:
    """Return a share of one as per cent, finer near the ends: 7.3 %, 99.43 %."""
    if not math.isfinite(value):
        return "?"
    places = 2 if value > 0.99 and value < 1 else 1
    return f"{value * 100:.{places}f}".rstrip("0").rstrip(".").replace("-", "−") + " %"


def tick_text(value: float, axis: Axis, step: float = 0.0) -> str:
    """Return what stands beside a tick: as many decimals as neighbours, `step` apart, need to differ."""
    if axis.percent:
        return f"{value * 100:.{1 if 0 < step < 0.01 else 0}f} %".replace("-", "−")
    for limit, unit, letter in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return number(value / unit, _digits(value, step)) + letter
    return number(value, _digits(value, step))


def _digits(value: float, step: float) -> int:
    """Return the significant digits that show `value` to within `step`."""
    if not step or not value:
        return 3
    return max(3, math.floor(math.log10(abs(value))) - math.floor(math.log10(step)) + 1)


def shown(value: float, axis: Axis) -> str:
    return percent(value) if axis.percent else number(value, 4)


def large(value: float) -> str:
    """Return a count short enough to compare: 9,610 or 1.81 M."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{number(value / limit)} {letter}"
    return number(value)


def duration(seconds: float) -> str:
    if seconds < 10:
        return say("{value} s", value=number(seconds, 2))
    if seconds < 120:
        return say("{value} s", value=round(seconds))
    minutes = round(seconds / 60)
    if minutes < 120:
        return say("{value} min", value=minutes)
    return say("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it (1 kB = 1,000 bytes)."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{number(count / limit)} {unit}"
    return f"{int(count)} B"


def text_width(text: str, size: float = 12.0) -> float:
    """Return about how wide a text is in a proportional typeface; Korean letters are as wide as they are high."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    narrow = sum(letter in "il.,:;'|![]() " for letter in text)
    return size * (wide * 0.95 + narrow * 0.32 + (len(text) - wide - narrow) * 0.58)
