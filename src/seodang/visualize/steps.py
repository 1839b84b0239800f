"""One example through a network and back, in double precision: what goes into each layer, what comes out, and how the
loss answers to both. The numbers are autograd's; `steps_page` shows them beside their formulas.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.layers.activation import ACTIVATIONS
from seodang.layers.dropout import Dropout
from seodang.task.base import Task

Numbers = NDArray[np.float64]

MOST_LAYERS, MOST_WEIGHTS, MOST_NUMBERS = 60, 2_000_000, 200_000
"""A page is for reading: so many layers, weights, and numbers between two layers it walks through."""


@dataclass(frozen=True)
class Step:
    """A layer at work. `x`, `y` without the batch; `dx`, `dy` are ∂L/∂x, ∂L/∂y; `gradients` those of the weights."""

    path: str
    kind: str
    settings: Mapping[str, Any]
    weights: Mapping[str, Numbers]
    x: Numbers
    y: Numbers
    dx: Numbers
    dy: Numbers
    gradients: Mapping[str, Numbers]


class Walk(NamedTuple):
    """All steps, and the loss: its kind, what the network should have said, and what it came to."""

    steps: tuple[Step, ...]
    loss: str
    target: Any
    smoothing: float
    value: float

    @property
    def described(self) -> list[tuple[str, Mapping[str, Any], Mapping[str, Numbers]]]:
        """Return the layers as data: kind, settings, weights."""
        return [(step.kind, step.settings, step.weights) for step in self.steps]


def walk(model: nn.Module, task: Task, example: Tensor, target: Tensor) -> Walk:
    """Return what happens when one `example` (a batch of one) goes forward and its loss comes back.

    The model is not touched: the walk is made with a copy, in evaluation mode and double precision.

    Raises: ConfigError naming the layer or the limit, for what is no plain chain of known layers.
    """
    loss, smoothing = loss_of(task)
    network = copy.deepcopy(model).to("cpu").double().eval().requires_grad_(True)
    require_small(network)
    seen: list[Seen] = []
    hooks = [module.register_forward_hook(_noting(path, seen)) for path, module in network.named_modules()
             if next(module.children(), None) is None and not isinstance(module, nn.Identity)]  # fmt: skip
    inputs = example.cpu().double().requires_grad_(True)
    try:
        outputs = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) > MOST_LAYERS:
        raise ConfigError("steps: this network has {count} layers; the page walks through at most {limit}.", count=len(seen),
                          limit=MOST_LAYERS)  # fmt: skip
    largest = max((item.output.numel() for item in seen), default=0)
    if largest > MOST_NUMBERS:
        raise ConfigError("steps: a layer of this network gives {count:,} numbers; the page walks through at most {limit:,}.",
                          count=largest, limit=MOST_NUMBERS)  # fmt: skip
    chain = linked(seen, inputs, outputs)
    doubled = target.double() if target.is_floating_point() else target
    total = _loss(loss, outputs, doubled.cpu(), smoothing)
    wanted = [tensor for link in chain for tensor in (link.input, link.output)]
    parameters = [(link, name, value) for link in chain for name, value in _trained(link.module)]
    found = torch.autograd.grad(total, [*wanted, *(value for _, _, value in parameters)], allow_unused=True)
    flows = [_numbers(tensor, grad) for tensor, grad in zip(wanted, found, strict=False)]
    gradients: dict[int, dict[str, Numbers]] = {}
    for (link, name, value), grad in zip(parameters, found[len(wanted) :], strict=True):
        gradients.setdefault(id(link), {})[name] = _array(torch.zeros_like(value) if grad is None else grad)
    steps = [Step(link.path, *link.described, _array(link.input[0]), _array(link.output[0]), flows[2 * place][0],
                  flows[2 * place + 1][0], gradients.get(id(link), {}))
             for place, link in enumerate(chain)]  # fmt: skip
    answer: Any = int(target[0]) if loss != "squared-error" else _array(doubled[0])
    return Walk(tuple(steps), loss, answer, smoothing, float(total.detach()))


def difference(found: Walk, value: float, flows: Sequence[Any]) -> float:
    """Return the largest difference between a walk and another account of the same: its loss, and for each layer
    what has the fields x, y, dx, dy and gradients."""
    worst = abs(found.value - value)
    for step, flow in zip(found.steps, flows, strict=True):
        for name in ("x", "y", "dx", "dy"):
            worst = max(worst, _apart(getattr(step, name), getattr(flow, name)))
        if set(step.gradients) != set(flow.gradients):
            return float("inf")
        for name, gradient in step.gradients.items():
            worst = max(worst, _apart(gradient, flow.gradients[name]))
    return worst


def _apart(one: Numbers, two: Numbers) -> float:
    return float(np.max(np.abs(one - two), initial=0.0)) if one.shape == two.shape else float("inf")


def loss_of(task: Task) -> tuple[str, float]:
    """Return the kind of a task's loss, and its label smoothing.

    Raises: ConfigError for a task whose loss is another.
    """
    if task.answers == "classes":
        return getattr(task.settings, "loss", "cross-entropy"), float(getattr(task.settings, "smoothing", 0.0))
    if task.answers == "quantities":
        return "squared-error", 0.0
    raise ConfigError("steps: walks through the loss of a classification or a regression; this run has the task '{task}'.",
                      task=type(task).__name__.lower())  # fmt: skip


def require_small(network: nn.Module) -> None:
    """Raise ConfigError for a network too large for a page."""
    count = sum(weight.numel() for weight in network.parameters())
    if count > MOST_WEIGHTS:
        raise ConfigError("steps: this network has {count:,} weights; the page walks through at most {limit:,}.", count=count,
                          limit=MOST_WEIGHTS)  # fmt: skip


def _loss(kind: str, outputs: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Return the loss of one example as `task.losses` defines it, without its way through single precision."""
    if kind == "squared-error":
        return (outputs - target).square().mean()
    if kind == "perceptron":
        answers = outputs.argmax(1, keepdim=True)
        return (outputs.gather(1, answers) - outputs.gather(1, target[:, None])).sum()
    return nn.functional.cross_entropy(outputs, target, label_smoothing=smoothing)


# ------------------------------------------------------------------------------------------- the layers


class Seen(NamedTuple):
    """A leaf of the network, what it was given and what it gave."""

    path: str
    module: nn.Module | None
    input: Tensor
    output: Tensor


def _noting(path: str, seen: list[Seen]) -> Callable[[nn.Module, Any, Any], Tensor]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if len(inputs) != 1 or not isinstance(output, Tensor):
            raise _unknown(path, module)
        output = output.clone() if output is inputs[0] else output  # so that a layer at rest has a gradient of its own
        seen.append(Seen(path, module, inputs[0], output))
        return output

    return hook


class Link(NamedTuple):
    """A place in the chain."""

    path: str
    module: nn.Module | None
    described: tuple[str, Mapping[str, Any], Mapping[str, Numbers]]
    input: Tensor
    output: Tensor


def linked(seen: Sequence[Seen], inputs: Tensor, outputs: Tensor) -> list[Link]:
    """Return the leaves as a chain, each fed by the one before; reshaping between them is a step of its own.

    Raises: ConfigError where something else happens between two layers: a sum, a second branch.
    """
    chain: list[Link] = []
    last = inputs
    for path, module, given, gave in seen:
        if given is not last:
            chain.append(_between(path, last, given))
        assert module is not None
        chain.append(Link(path, module, describe(path, module, given), given, gave))
        last = gave
    if outputs is not last:
        if outputs.shape == (1, 2) and last.shape == (1, 1) and not outputs[0, 0] and torch.equal(outputs[:, 1:], last):
            chain.append(Link("", None, ("threshold", {}, {}), last, outputs))
        else:
            chain.append(_between("", last, outputs))
    if not chain:
        raise ConfigError("steps: this network has no layers.")
    return chain


def _between(path: str, before: Tensor, after: Tensor) -> Link:
    if after.ndim == 2 and before.numel() == after.numel() and torch.equal(before.flatten(), after.flatten()):
        return Link("", None, ("flatten", {}, {}), before, after)
    raise ConfigError("steps: what comes into '{path}' is not what the layer before it gave; the page walks through chains of "
                      "layers (MLP, CNN), without branches and sums.", path=path or "output")  # fmt: skip


NAMES = {type(item()): name for name, item in ACTIVATIONS.items() if name not in ("gelu", "gelu-tanh", "identity")}


def describe(path: str, module: nn.Module, given: Tensor) -> tuple[str, Mapping[str, Any], Mapping[str, Numbers]]:
    """Return kind, settings and weights of a layer.

    Raises: ConfigError for a layer that is not among those the page knows.
    """
    weights = {name: _array(value) for name, value in _trained(module)}
    match module:
        case nn.Linear() if given.ndim == 2:
            return "dense", {}, weights
        case nn.Conv2d() if module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros":
            return "conv", {"stride": tuple(module.stride), "margins": _margins(module)}, weights
        case nn.BatchNorm1d() | nn.BatchNorm2d() if module.running_mean is not None and module.running_var is not None:
            kept = {"mean": _array(module.running_mean), "var": _array(module.running_var)}
            return "batch-norm", {"eps": module.eps}, {**kept, **_affine(weights, module.num_features)}
        case nn.LayerNorm() if given.ndim == 2:
            return "group-norm", {"groups": 1, "eps": module.eps}, _affine(weights, given.shape[1])
        case nn.GroupNorm():
            return "group-norm", {"groups": module.num_groups, "eps": module.eps}, _affine(weights, module.num_channels)
        case nn.InstanceNorm2d() if not module.track_running_stats:
            return (
                "group-norm",
                {"groups": module.num_features, "eps": module.eps},
                _affine(weights, module.num_features),
            )
        case nn.MaxPool2d() if (
            _pair(module.padding) == (0, 0) and _pair(module.dilation) == (1, 1) and not module.ceil_mode
        ):
            return "max-pool", {"kernel": _pair(module.kernel_size), "stride": _pair(module.stride)}, {}
        case nn.AdaptiveAvgPool2d() if _pair(module.output_size) == (1, 1):
            return "mean-pool", {}, {}
        case nn.Flatten() if module.start_dim == 1:
            return "flatten", {}, {}
        case Dropout() | nn.Dropout() | nn.Dropout2d():
            return "same", {}, {}
        case nn.PReLU() if module.num_parameters == 1:
            return "leaky-relu", {"name": "prelu"}, weights
        case nn.LeakyReLU():
            return "leaky-relu", {"name": "leaky-relu", "slope": module.negative_slope}, {}
        case nn.GELU():
            return "activation", {"name": "gelu" if module.approximate == "none" else "gelu-tanh"}, {}
    if type(module) in NAMES:
        return "activation", {"name": NAMES[type(module)]}, {}
    raise _unknown(path, module)


def _unknown(path: str, module: nn.Module) -> ConfigError:
    return ConfigError("steps: layer '{path}' is a {kind}, which the page cannot walk through. It knows dense, convolution, "
                       "pooling, normalisation, dropout, flatten and the activations of this library.",
                       path=path, kind=type(module).__name__)  # fmt: skip


def _margins(module: nn.Conv2d) -> tuple[int, int, int, int]:
    if module.padding == "same":
        lost = [size - 1 for size in module.kernel_size]
        return lost[0] // 2, lost[0] - lost[0] // 2, lost[1] // 2, lost[1] - lost[1] // 2
    height, width = (0, 0) if isinstance(module.padding, str) else module.padding
    return height, height, width, width


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _trained(module: nn.Module | None) -> list[tuple[str, Tensor]]:
    return [] if module is None else list(module.named_parameters(recurse=False))


def _affine(weights: Mapping[str, Numbers], count: int) -> dict[str, Numbers]:
    return {"weight": np.ones(count), "bias": np.zeros(count), **weights}


def _numbers(tensor: Tensor, grad: Tensor | None) -> Numbers:
    return _array(torch.zeros_like(tensor) if grad is None else grad)


def _array(tensor: Tensor) -> Numbers:
    return tensor.detach().cpu().double().numpy().copy()
