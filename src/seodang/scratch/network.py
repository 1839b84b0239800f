"""A chain of layers by hand: one example forward to the loss, and the chain rule back, layer after layer.

A layer is described by its kind, its settings and its weights, so that any network can be written down this way; what
comes back is what flows through each layer in both directions. Kinds: dense, conv, activation, leaky-relu, batch-norm,
group-norm, max-pool, mean-pool, flatten, same (dropout at rest), threshold (the two answers of a perceptron).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seodang.scratch import conv, mlp, normalization
from seodang.scratch.activations import FUNCTIONS, leaky_relu, leaky_relu_slope
from seodang.scratch.mlp import Numbers


class Described(NamedTuple):
    """A layer as data."""

    kind: str
    settings: Mapping[str, Any]
    weights: Mapping[str, Numbers]


class Flow(NamedTuple):
    """What went through a layer: x in and y out, δy in from above and δx on to below, and the gradients of its weights."""

    x: Numbers
    y: Numbers
    dx: Numbers
    dy: Numbers
    gradients: dict[str, Numbers]


def pass_through(
    layers: Sequence[Described], x: Numbers, loss: str, target: Any, smoothing: float = 0.0
) -> tuple[float, list[Flow]]:
    """Return the loss of one example, and the flow through every layer.

    The whole of backpropagation is the second loop: start with the loss's own derivative and let each layer turn
    ∂L/∂y into ∂L/∂x, which is the ∂L/∂y of the layer before.
    """
    values = [x]
    for layer in layers:
        values.append(forward(layer, values[-1]))
    match loss:
        case "cross-entropy":
            value, dy = mlp.cross_entropy(values[-1], target, smoothing)
        case "perceptron":
            value, dy = mlp.perceptron_criterion(values[-1], target)
        case "squared-error":
            value, dy = mlp.squared_error(values[-1], target)
        case _:
            raise KeyError(loss)
    flows: list[Flow] = []
    for place in reversed(range(len(layers))):
        dx, gradients = backward(layers[place], values[place], dy)
        flows.append(Flow(values[place], values[place + 1], dx, dy, gradients))
        dy = dx
    return value, flows[::-1]


def forward(layer: Described, x: Numbers) -> Numbers:
    settings, w = layer.settings, layer.weights
    match layer.kind:
        case "dense":
            return mlp.dense(x, w["weight"], w.get("bias"))
        case "conv":
            return conv.convolution(x, w["weight"], w.get("bias"), settings["stride"], settings["margins"])
        case "activation":
            return FUNCTIONS[settings["name"]][0](x)
        case "leaky-relu":
            return leaky_relu(x, slope_of(layer))
        case "batch-norm":
            return normalization.batch_norm(x, w["mean"], w["var"], w["weight"], w["bias"], settings["eps"])
        case "group-norm":
            return normalization.group_norm(x, settings["groups"], w["weight"], w["bias"], settings["eps"])
        case "max-pool":
            return conv.max_pool(x, settings["kernel"], settings["stride"])
        case "mean-pool":
            return conv.mean_pool(x)
        case "flatten":
            return x.reshape(-1)
        case "threshold":
            return np.array([0.0, x[0]])
        case "same":
            return x
    raise KeyError(layer.kind)


def backward(layer: Described, x: Numbers, dy: Numbers) -> tuple[Numbers, dict[str, Numbers]]:
    """Return ∂L/∂x and the gradients of the weights, given ∂L/∂y."""
    settings, w = layer.settings, layer.weights
    match layer.kind:
        case "dense":
            dx, *gradients = mlp.dense_backward(x, w["weight"], dy)
        case "conv":
            dx, *gradients = conv.convolution_backward(x, w["weight"], dy, settings["stride"], settings["margins"])
        case "batch-norm":
            dx, *gradients = normalization.batch_norm_backward(x, w["mean"], w["var"], w["weight"], settings["eps"], dy)
        case "group-norm":
            dx, *gradients = normalization.group_norm_backward(x, settings["groups"], w["weight"], settings["eps"], dy)
        case "leaky-relu":
            gradients = [np.array([np.sum(dy * np.where(x > 0, 0.0, x))])]
            dx = dy * leaky_relu_slope(x, slope_of(layer))
        case _:
            return weightless_backward(layer, x, dy), {}
    return dx, {name: value for name, value in zip(("weight", "bias"), gradients, strict=False) if name in w}


def weightless_backward(layer: Described, x: Numbers, dy: Numbers) -> Numbers:
    settings = layer.settings
    match layer.kind:
        case "activation":
            return dy * FUNCTIONS[settings["name"]][1](x)
        case "max-pool":
            return conv.max_pool_backward(x, dy, settings["kernel"], settings["stride"])
        case "mean-pool":
            return conv.mean_pool_backward(x, dy)
        case "flatten":
            return dy.reshape(x.shape)
        case "threshold":
            return dy[1:]
        case "same":
            return dy
    raise KeyError(layer.kind)


def slope_of(layer: Described) -> float:
    """Return the slope below zero: a setting, or learned."""
    return float(layer.weights["weight"][0]) if "weight" in layer.weights else float(layer.settings["slope"])
