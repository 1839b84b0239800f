"""The arithmetic of one thread through a network, in full: every sum with its terms, every product with its factors.

A thread is one number in each layer: from the output that the loss answers to most, back through the input that matters
most to it, down to one number of the example. Each account computes its result anew from its formula; beside it
stands what autograd recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from seodang.core.language import say
from seodang.layers.activation import ACTIVATIONS
from seodang.visualize.scale import number
from seodang.visualize.steps import Numbers, Step, Walk

Index: TypeAlias = tuple[int, ...]
Row: TypeAlias = tuple[str, tuple[float, ...]]

DIGITS = 4


class Account(NamedTuple):
    """How one number comes about. `rows` are a label and the factors of a term; `computed` is their sum of products,
    `extra` added; an account without rows says it in its `line`."""

    title: str
    formula: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    extra: tuple[tuple[str, float], ...]
    line: str
    name: str
    computed: float
    recorded: float


class Place(NamedTuple):
    """Where the thread enters a layer and where it leaves it."""

    given: Index
    gave: Index


def thread(walk: Walk) -> list[Place]:
    """Return the place of the thread in every layer, first layer first."""
    last = walk.steps[-1]
    score = np.abs(last.dy) + 1e-12 * np.abs(last.y)
    index: Index = tuple(int(part) for part in np.unravel_index(int(np.argmax(score)), last.y.shape))
    places = []
    for step in reversed(walk.steps):
        before = source(step, index)
        places.append(Place(before, index))
        index = before
    return places[::-1]


def source(step: Step, index: Index) -> Index:
    """Return the input that matters most to the output at `index`."""
    match step.kind:
        case "dense":
            row = np.abs(step.weights["weight"][index[0]])
            return (int(np.argmax(row * np.abs(step.x) + 1e-12 * row)),)
        case "conv":
            patch = patch_of(step, index)
            kernel = step.weights["weight"][index[0]]
            return max(patch, key=lambda item: (abs(kernel[item[0]] * step.x[item[1]]), abs(kernel[item[0]])))[1]
        case "max-pool":
            window = window_of(step, index)
            return max(window, key=lambda place: step.x[place])
        case "mean-pool":
            flat = int(np.argmax(np.abs(step.x[index[0]])))
            return (index[0], *(int(part) for part in np.unravel_index(flat, step.x.shape[1:])))
        case "flatten":
            return tuple(int(part) for part in np.unravel_index(index[0], step.x.shape))
        case "threshold":
            return (0,)
    return index


def patch_of(step: Step, index: Index) -> list[tuple[Index, Index]]:
    """Return (place in the kernel, place in the picture) of every input the output at `index` sees; zeros around
    the picture are left out."""
    _, channels, height, width = step.weights["weight"].shape
    top, _, left, _ = step.settings["margins"]
    down, right = step.settings["stride"]
    first, second = index[1] * down - top, index[2] * right - left
    return [
        ((c, u, v), (c, first + u, second + v))
        for c in range(channels) for u in range(height) for v in range(width)
        if 0 <= first + u < step.x.shape[1] and 0 <= second + v < step.x.shape[2]
    ]  # fmt: skip


def window_of(step: Step, index: Index) -> list[Index]:
    kernel, stride = step.settings["kernel"], step.settings["stride"]
    return [(index[0], index[1] * stride[0] + u, index[2] * stride[1] + v)
            for u in range(kernel[0]) for v in range(kernel[1])]  # fmt: skip


def at(index: Index) -> str:
    """Return an index as people write it, counted from 0."""
    return ",".join(map(str, index))


def text(value: float) -> str:
    """Return a number as the page writes it, in brackets below zero."""
    written = number(float(value), DIGITS)
    return f"({written})" if written.startswith("−") else written


def total(rows: Sequence[Row], extra: Sequence[tuple[str, float]] = ()) -> float:
    return sum(prod(factors) for _, factors in rows) + sum(value for _, value in extra)


# ---------------------------------------------------------------------------------------------- forward


def forward(step: Step, place: Place) -> Account:
    """Return how the output on the thread comes about."""
    o = place.gave
    title, name, recorded = say("Forward"), f"y_{{{at(o)}}}", float(step.y[o])

    def rowless(formula: str, line: str, computed: float) -> Account:
        return Account(title, formula, (), (), (), line, name, computed, recorded)

    x = float(step.x[place.given])
    match step.kind:
        case "dense":
            weight, bias = step.weights["weight"][o[0]], step.weights.get("bias")
            rows = tuple((str(i), (float(step.x[i]), float(weight[i]))) for i in range(len(weight)))
            extra = () if bias is None else ((f"b_{{{o[0]}}}", float(bias[o[0]])),)
            formula = "y_j = Σ_i w_{ji} x_i" + (" + b_j" if bias is not None else "")
            return Account(title, formula, ("i", "x_i", "w_{ji}"), rows, extra, "", name, total(rows, extra), recorded)
        case "conv":
            kernel, bias = step.weights["weight"][o[0]], step.weights.get("bias")
            rows = tuple((at(spot), (float(step.x[spot]), float(kernel[part]))) for part, spot in patch_of(step, o))
            extra = () if bias is None else ((f"b_{{{o[0]}}}", float(bias[o[0]])),)
            formula = "y_{k,r,s} = Σ_{c,u,v} w_{k,c,u,v} x_{c,r+u,s+v}" + (" + b_k" if bias is not None else "")
            return Account(title, formula, ("c,r+u,s+v", "x", "w"), rows, extra, "", name, total(rows, extra), recorded)
        case "activation" | "leaky-relu":
            value, _ = _bent(step, x)
            return rowless(f"y = g(x), g: {_formula(step)}", f"{name} = g({number(x, DIGITS)})", value)
        case "batch-norm" | "group-norm":
            return _normalised(step, place, title, name, recorded)
        case "max-pool":
            window = [float(step.x[spot]) for spot in window_of(step, o)]
            line = f"{name} = max({', '.join(number(value, DIGITS) for value in window)})"
            return rowless("y_{c,r,s} = max_{u,v} x_{c,r·S+u,s·S+v}", line, max(window))
        case "mean-pool":
            channel = step.x[o[0]]
            line = f"{name} = {text(float(channel.sum()))} / {channel.size}"
            return rowless("y_c = 1/N Σ_{r,s} x_{c,r,s}", line, float(channel.sum() / channel.size))
        case "flatten":
            formula = "y_{(c·H+r)·W+s} = x_{c,r,s}" if step.x.ndim == 3 else "y_i = x_i"
            return rowless(formula, f"{name} = x_{{{at(place.given)}}}", x)
        case "threshold":
            line = say("the answer is yes where the sum is above 0")
            return rowless("y = (0, x)", line, x if o[0] else 0.0)
    return rowless("y = x", f"{name} = x_{{{at(place.given)}}}", x)


def _normalised(step: Step, place: Place, title: str, name: str, recorded: float) -> Account:
    channel, x = place.gave[0], float(step.x[place.given])
    mean, variance = statistics(step, channel)
    gamma, beta, eps = (
        float(step.weights["weight"][channel]),
        float(step.weights["bias"][channel]),
        step.settings["eps"],
    )
    value = gamma * (x - mean) / np.sqrt(variance + eps) + beta
    line = (f"{name} = {text(gamma)} · ({number(x, DIGITS)} − {text(mean)}) / √({number(variance, DIGITS)} + {eps:g})"
            f" + {text(beta)}")  # fmt: skip
    return Account(title, "y = γ (x − μ) / √(σ^2 + ε) + β", (), (), (), line, name, float(value), recorded)


def statistics(step: Step, channel: int) -> tuple[float, float]:
    """Return mean and variance that normalise a channel: those kept from training, or those of its group."""
    if step.kind == "batch-norm":
        return float(step.weights["mean"][channel]), float(step.weights["var"][channel])
    group = group_of(step, step.x, channel)
    return float(group.mean()), float(group.var())


def group_of(step: Step, values: Numbers, channel: int) -> Numbers:
    size = len(step.x) // step.settings["groups"]
    first = channel // size * size
    return values[first : first + size]


def _bent(step: Step, x: float) -> tuple[float, float]:
    """Return g(x) and g′(x)."""
    if step.kind == "leaky-relu":
        slope = float(step.weights["weight"][0]) if "weight" in step.weights else float(step.settings["slope"])
        return (x, 1.0) if x > 0 else (slope * x, slope)
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = ACTIVATIONS[step.settings["name"]]()(point)
    (slope_,) = torch.autograd.grad(value, point)
    return float(value.detach()), float(slope_)


def _formula(step: Step) -> str:
    return ACTIVATIONS[step.settings["name"]].formula


# --------------------------------------------------------------------------------------------- backward


def backward(step: Step, place: Place) -> list[Account]:
    """Return the gradients on the thread: of one weight (or bias, scale) where there are any, and of the input."""
    found = weight_gradients(step, place)
    return [*found, input_gradient(step, place)]


def weight_gradients(step: Step, place: Place) -> list[Account]:
    o, i = place.gave, place.given
    dy = float(step.dy[o])
    title = say("Backward: a weight")
    match step.kind:
        case "dense":
            recorded = float(step.gradients["weight"][o[0], i[0]])
            line = f"∂L/∂w_{{{o[0]},{i[0]}}} = {text(dy)} · {text(step.x[i])}"
            return [Account(title, "∂L/∂w_{ji} = ∂L/∂y_j · x_i", (), (), (), line, f"∂L/∂w_{{{o[0]},{i[0]}}}",
                            dy * float(step.x[i]), recorded)]  # fmt: skip
        case "conv":
            part = next(part for part, spot in patch_of(step, o) if spot == i)
            rows = tuple(
                (at(index), (float(step.dy[index]), float(step.x[spot])))
                for r in range(step.y.shape[1]) for s in range(step.y.shape[2])
                for index in [(o[0], r, s)]
                for spot in [_seen_by(step, index, part)] if spot is not None
            )  # fmt: skip
            name = f"∂L/∂w_{{{at((o[0], *part))}}}"
            formula = "∂L/∂w_{k,c,u,v} = Σ_{r,s} ∂L/∂y_{k,r,s} · x_{c,r+u,s+v}"
            return [Account(title, formula, ("k,r,s", "∂L/∂y", "x"), rows, (), "", name, total(rows),
                            float(step.gradients["weight"][(o[0], *part)]))]  # fmt: skip
        case "batch-norm" | "group-norm" if "weight" in step.gradients:
            mean, variance = statistics(step, o[0])
            spread = float(np.sqrt(variance + step.settings["eps"]))
            x, dy_all = np.atleast_1d(step.x[o[0]]), np.atleast_1d(step.dy[o[0]])
            rows = tuple((at((o[0], *map(int, spot))), (float(dy_all[spot]), float((x[spot] - mean) / spread)))
                         for spot in np.ndindex(x.shape))  # fmt: skip
            return [Account(say("Backward: the scale"), "∂L/∂γ = Σ ∂L/∂y · (x − μ)/√(σ^2 + ε)", ("", "∂L/∂y", "(x−μ)/σ"), rows, (), "",
                            f"∂L/∂γ_{{{o[0]}}}", total(rows), float(step.gradients["weight"][o[0]]))]  # fmt: skip
        case "leaky-relu" if "weight" in step.gradients:
            below = np.argwhere(step.x <= 0)
            rows = tuple(
                (at(spot), (float(step.dy[spot]), float(step.x[spot])))
                for spot in (tuple(map(int, row)) for row in below)
            )
            return [Account(title, "∂L/∂a = Σ_{x≤0} ∂L/∂y · x", ("", "∂L/∂y", "x"), rows, (), "", "∂L/∂a", total(rows),
                            float(step.gradients["weight"][0]))]  # fmt: skip
    return []


def _seen_by(step: Step, index: Index, part: Index) -> Index | None:
    """Return the input that meets the place `part` of the kernel when it is laid at `index`, if it is in the picture."""
    top, _, left, _ = step.settings["margins"]
    down, right = step.settings["stride"]
    row, column = index[1] * down - top + part[1], index[2] * right - left + part[2]
    inside = 0 <= row < step.x.shape[1] and 0 <= column < step.x.shape[2]
    return (part[0], row, column) if inside else None


def input_gradient(step: Step, place: Place) -> Account:
    """Return how ∂L/∂x on the thread comes about."""
    i, o = place.given, place.gave
    title, name = say("Backward: the input"), f"∂L/∂x_{{{at(i)}}}"
    dy, recorded = float(step.dy[o]), float(step.dx[i])

    def rowless(formula: str, line: str, computed: float) -> Account:
        return Account(title, formula, (), (), (), line, name, computed, recorded)

    match step.kind:
        case "dense":
            column = step.weights["weight"][:, i[0]]
            rows = tuple((str(j), (float(step.dy[j]), float(column[j]))) for j in range(len(column)))
            return Account(title, "∂L/∂x_i = Σ_j ∂L/∂y_j · w_{ji}", ("j", "∂L/∂y_j", "w_{ji}"), rows, (), "", name,
                           total(rows), recorded)  # fmt: skip
        case "conv":
            rows = tuple(
                (at(index), (float(step.dy[index]), float(step.weights["weight"][(index[0], *part)])))
                for index, part in _seers(step, i)
            )
            return Account(title, "∂L/∂x_{c,p,q} = Σ_{k,r,s} ∂L/∂y_{k,r,s} · w_{k,c,p−r,q−s}", ("k,r,s", "∂L/∂y", "w"), rows, (), "",
                           name, total(rows), recorded)  # fmt: skip
        case "activation" | "leaky-relu":
            x = float(step.x[i])
            _, slope = _bent(step, x)
            derivative = ACTIVATIONS[step.settings["name"]].derivative
            line = f"{name} = {text(dy)} · g′({number(x, DIGITS)}) = {text(dy)} · {text(slope)}"
            return rowless(f"∂L/∂x = ∂L/∂y · g′(x), g′: {derivative}", line, dy * slope)
        case "batch-norm":
            spread = np.sqrt(statistics(step, o[0])[1] + step.settings["eps"])
            gamma = float(step.weights["weight"][o[0]])
            line = f"{name} = {text(dy)} · {text(gamma)} / {number(float(spread), DIGITS)}"
            return rowless("∂L/∂x = ∂L/∂y · γ / √(σ^2 + ε)", line, float(dy * gamma / spread))
        case "group-norm":
            return _group_norm_gradient(step, place, title, name, recorded)
        case "max-pool":
            takers = [(at(index), (float(step.dy[index]), 1.0)) for index in np.ndindex(step.y.shape)
                      if index[0] == i[0] and i in window_of(step, index) and source(step, index) == i]  # fmt: skip
            return Account(title, "∂L/∂x = Σ ∂L/∂y · [x = max]", ("c,r,s", "∂L/∂y", "[x = max]"), tuple(takers), (), "", name,
                           total(takers), recorded)  # fmt: skip
        case "mean-pool":
            size = step.x[0].size
            return rowless("∂L/∂x_{c,r,s} = 1/N · ∂L/∂y_c", f"{name} = {text(dy)} / {size}", dy / size)
        case "threshold":
            second = float(step.dy[1])
            return rowless("∂L/∂x = ∂L/∂y_1", f"{name} = {text(second)}", second)
    return rowless("∂L/∂x = ∂L/∂y", f"{name} = {text(dy)}", dy)


def _seers(step: Step, spot: Index) -> list[tuple[Index, Index]]:
    """Return (output, place in the kernel) of every output that sees the input at `spot`."""
    kernels, _, height, width = step.weights["weight"].shape
    top, _, left, _ = step.settings["margins"]
    down, right = step.settings["stride"]
    found: list[tuple[Index, Index]] = []
    for u in range(height):
        for v in range(width):
            row, column = spot[1] + top - u, spot[2] + left - v
            r, s = row // down, column // right
            if row % down == 0 and column % right == 0 and 0 <= r < step.y.shape[1] and 0 <= s < step.y.shape[2]:
                found += [((k, r, s), (spot[0], u, v)) for k in range(kernels)]
    return found


def _group_norm_gradient(step: Step, place: Place, title: str, name: str, recorded: float) -> Account:
    channel, size = place.gave[0], len(step.x) // step.settings["groups"]
    first = channel // size * size
    mean, variance = statistics(step, channel)
    spread = float(np.sqrt(variance + step.settings["eps"]))
    gamma = step.weights["weight"][first : first + size].reshape(-1, *[1] * (step.x.ndim - 1))
    scaled, hat = gamma * group_of(step, step.dy, channel), (group_of(step, step.x, channel) - mean) / spread
    inside = (channel - first, *place.gave[1:])
    parts = float(scaled[inside]), float(scaled.mean()), float(hat[inside]), float((scaled * hat).mean())
    line = f"{name} = ({text(parts[0])} − {text(parts[1])} − {text(parts[2])} · {text(parts[3])}) / {number(spread, DIGITS)}"
    value = (parts[0] - parts[1] - parts[2] * parts[3]) / spread
    formula = "∂L/∂x = 1/σ (d − mean(d) − x̂ · mean(d x̂)),  d = γ ∂L/∂y,  x̂ = (x − μ)/σ"
    return Account(title, formula, (), (), (), line, name, value, recorded)


def accounts(walk: Walk) -> list[tuple[Place, Account, list[Account]]]:
    """Return, layer by layer, where the thread runs, and its arithmetic forward and backward."""
    return [(place, forward(step, place), backward(step, place))
            for step, place in zip(walk.steps, thread(walk), strict=True)]  # fmt: skip
