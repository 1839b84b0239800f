"""Receptive fields: which part of the picture a unit can see, by composing windows layer after layer; and what it really uses.

While a model runs once, every convolution and pooling it calls, as a module or as a function, is seen with its kernel,
stride, padding and dilation. Branches that meet again see what any of them sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seodang.layers.record import record
from seodang.task.base import evaluating
from seodang.visualize.backward import forward

Places = NDArray[np.int64]

_POINTWISE = (
    "relu relu_ relu6 relu6_ leaky_relu leaky_relu_ prelu elu elu_ selu selu_ celu gelu silu mish hardswish hardsigmoid hardtanh "
    "softplus softsign sigmoid sigmoid_ tanh tanh_ logsigmoid tanhshrink softshrink hardshrink threshold clamp clamp_ "
    "batch_norm local_response_norm group_norm instance_norm dropout dropout_ dropout2d feature_dropout alpha_dropout "
    "add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ __rsub__ rsub mul mul_ __mul__ __rmul__ __imul__ div div_ truediv "
    "__truediv__ __rtruediv__ neg __neg__ square sqrt exp log abs pow __pow__ maximum minimum cat concat concatenate where "
    "contiguous to float double half bfloat16 type detach clone chunk split __getitem__ view view_as "
    "reshape channel_shuffle native_channel_shuffle requires_grad_"
)
POINTWISE = frozenset(_POINTWISE.split())
"""Operations that leave every place where it is, by the names PyTorch calls them. Statistics over places, which group
and instance normalisation divide by, are not counted as seeing."""


class Side(NamedTuple):
    """What the units along one axis see of the picture: from pixel `low` to pixel `high`, both seen, cut off at its edges.

    `size`, `jump` and `start` are those of the infinite picture: unit u sees `size` pixels from `start` + `jump` · u on;
    None behind a layer whose windows differ from place to place.
    """

    low: Places
    high: Places
    size: int | None
    jump: int | None
    start: int | None


class Field(NamedTuple):
    """The receptive fields of all units of a layer: its rows and its columns."""

    rows: Side
    columns: Side

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Return top, left, bottom, right of what the unit there sees; the last two are behind the last pixel."""
        return (int(self.rows.low[row]), int(self.columns.low[column]), int(self.rows.high[row]) + 1,
                int(self.columns.high[column]) + 1)  # fmt: skip


def whole(side: int) -> Side:
    """Return the picture itself: each pixel sees itself."""
    places = np.arange(side)
    return Side(places, places, 1, 1, 0)


def windowed(seen: Side, count: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> Side:
    r"""Return what units see that look through windows at what `seen` sees.

    $r' = r + (k - 1) d j$, $j' = j s$, start' = start − p j (r the size, j the jump, d the dilation).

    Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks", Distill, eq. 1 to 5.
    """
    low, high = [], []
    for unit in range(count):
        first = unit * stride - padding
        inside = [at for at in range(first, first + (kernel - 1) * dilation + 1, dilation) if 0 <= at < len(seen.low)]
        low.append(min((int(seen.low[at]) for at in inside), default=0))
        high.append(max((int(seen.high[at]) for at in inside), default=-1))
    if seen.size is None or seen.jump is None or seen.start is None:
        return Side(np.array(low), np.array(high), None, None, None)
    return Side(np.array(low), np.array(high), seen.size + (kernel - 1) * dilation * seen.jump, seen.jump * stride,
                seen.start - padding * seen.jump)  # fmt: skip


def divided(seen: Side, count: int) -> Side:
    """Return what the units of an adaptive pooling see: `count` windows that cover all places."""
    old = len(seen.low)
    if old % count == 0:
        return windowed(seen, count, old // count, old // count, 0)
    spans = [(unit * old // count, -(-(unit + 1) * old // count)) for unit in range(count)]
    low, high = (np.array([edge(side[first:last]) for first, last in spans]) for edge, side in
                 ((np.min, seen.low), (np.max, seen.high)))  # fmt: skip
    return Side(low, high, None, None, None)


def joined(sides: Sequence[Side]) -> Side:
    """Return what units see that look at several maps of the same places at once."""
    low, high = np.min([side.low for side in sides], 0), np.max([side.high for side in sides], 0)
    regular = [(side.size, side.jump, side.start) for side in sides]
    jumps = {jump for _, jump, _ in regular}
    if len(jumps) > 1 or None in jumps:
        return Side(low, high, None, None, None)
    first = min(start for _, _, start in regular if start is not None)
    last = max(start + size for size, _, start in regular if start is not None and size is not None)
    return Side(low, high, last - first, regular[0][1], first)


class FieldsOf(TorchFunctionMode):
    """While active, keeps for every tensor that is computed from `inputs` which part of them its places see.

    What it does not know how to compose is named in `unknown`, and nothing behind it has a field.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        height, width = inputs.shape[-2:]
        self._alive: list[Any] = [inputs]  # an id is that of one tensor only while the tensor lives
        self.fields: dict[int, Field] = {id(inputs): Field(whole(height), whole(width))}
        self.unknown: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for output in made if isinstance(made, (tuple, list)) else (made,):
            given = [
                self.fields[id(item)] for item in _tensors((*args, *(kwargs or {}).values())) if id(item) in self.fields
            ]
            if isinstance(output, Tensor) and output.ndim == 4 and given and id(output) not in self.fields:
                self._keep(func, output, given, args, kwargs or {})
        return made

    def _keep(self, func: Any, output: Tensor, given: list[Field], args: Any, kwargs: Mapping[str, Any]) -> None:
        name = func.__name__
        height, width = output.shape[-2:]
        field: Field | None = None
        if name in WINDOWS:
            rows, columns = WINDOWS[name](*args, **kwargs)
            field = Field(windowed(given[0].rows, height, *rows), windowed(given[0].columns, width, *columns))
        elif name.startswith("adaptive_") and name.endswith("pool2d"):
            field = Field(divided(given[0].rows, height), divided(given[0].columns, width))
        elif name in POINTWISE and all(
            (len(item.rows.low), len(item.columns.low)) == (height, width) for item in given
        ):
            field = Field(joined([item.rows for item in given]), joined([item.columns for item in given]))
        if field is None:
            self.unknown[name] = None
        else:
            self.fields[id(output)] = field
            self._alive.append(output)


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        found += [value] if isinstance(value, Tensor) else _tensors(value) if isinstance(value, (tuple, list)) else []
    return found


Window = tuple[int, int, int, int]


def _pair(value: Any) -> tuple[int, int]:
    values = [int(item) for item in value] if isinstance(value, (tuple, list)) else [int(value)]
    return values[0], values[-1]


def _windows(kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Window, Window]:
    """Return kernel, stride, padding and dilation along rows and along columns."""
    sides = zip(
        _pair(kernel), _pair(kernel if stride is None else stride), _pair(padding), _pair(dilation), strict=True
    )
    rows, columns = sides
    return rows, columns


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Window, Window]:
    kernel = weight.shape[-2:]
    if isinstance(padding, str):
        steps = _pair(dilation)
        padding = tuple(d * (k - 1) // 2 if padding == "same" else 0 for d, k in zip(steps, kernel, strict=True))
    return _windows(tuple(kernel), stride, padding, dilation)


def _max_pooling(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Window, Window]:  # fmt: skip
    return _windows(kernel_size, stride or None, padding, dilation)


def _mean_pooling(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> tuple[Window, Window]:  # fmt: skip
    return _windows(kernel_size, stride or None, padding)


WINDOWS: dict[str, Callable[..., tuple[Window, Window]]] = {
    "conv2d": _convolution,
    "max_pool2d": _max_pooling,
    "max_pool2d_with_indices": _max_pooling,
    "avg_pool2d": _mean_pooling,
}


class Fields(NamedTuple):
    """The field of every layer that gives maps, in the order they ended; and operations that could not be composed."""

    layers: Mapping[str, Field]
    unknown: tuple[str, ...]


def receptive_fields(model: nn.Module, inputs: Float[Tensor, "B C H W"]) -> Fields:
    """Return the theoretical receptive fields of all layers of `model` for pictures like `inputs`."""
    with evaluating(model), record(model, detach=False) as kept, FieldsOf(inputs) as mode:
        model(inputs)
    found = {path: mode.fields[id(value)] for path, value in kept.items() if path and id(value) in mode.fields}
    return Fields(found, tuple(mode.unknown))


def effective_field(
    model: nn.Module, inputs: Float[Tensor, "B C H W"], layer: str, row: int, column: int, channel: int | None = None
) -> Float[Tensor, "H W"]:
    r"""Return how much each pixel moves the unit: the size of $\partial y / \partial x$, its channels added, mean of the batch.

    $y$ is the sum of all channels of `layer` at this place, or the one `channel`.

    Source: Luo, Li, Urtasun & Zemel 2016, "Understanding the effective receptive field in deep convolutional neural
    networks", arXiv:1701.04128, sec. 3 (whose pictures are random and their gradients averaged).
    """
    made = forward(model, inputs)
    places = made.kept[layer][:, :, row, column]
    unit = places.sum() if channel is None else places[:, channel].sum()
    (gradient,) = torch.autograd.grad(unit, made.inputs)
    return gradient.abs().sum(1).mean(0).detach()


EFFECTIVE = 1 - 0.9545
"""A pixel counts as used from this share of the largest on: two standard deviations of a normal curve, Luo et al. 2016, sec. 4."""


def effective_side(values: Float[Tensor, "H W"]) -> float:
    """Return the side of a square with as many pixels as are used; 0 if none moves the unit."""
    largest = float(values.max())
    return float((values >= EFFECTIVE * largest).sum()) ** 0.5 if largest > 0 else 0.0
