"""One pass forward and back for one answer: gradients with respect to the picture and to any layer's output.

Rectifiers may be given another rule on the way back, wherever in the network they are called, as modules or as functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seodang.core.errors import ConfigError, nearest
from seodang.layers.record import Recording, record
from seodang.task.base import evaluating

Rule: TypeAlias = Literal["plain", "guided", "deconvolution"]
RECTIFIERS = (torch.relu, F.relu, Tensor.relu, torch.relu_, Tensor.relu_)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d)


class _Rectifier(torch.autograd.Function):
    """max(0, x) forward; back only what is positive, and, if `guided`, only where x is positive too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, guided: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.guided = guided
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        passed = gradient.clamp(min=0)
        return passed * (x > 0) if ctx.guided else passed, None


class RectifiersAs(TorchFunctionMode):
    """While active, every rectifier passes back what `rule` says; `count` tells how many there were.

    Source: "guided" Springenberg et al. 2015, "Striving for simplicity", arXiv:1412.6806, sec. 3.4; "deconvolution"
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", arXiv:1311.2901, sec. 2.1.
    Differs: a rectifier that works in place gives a new tensor.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule, self.count = rule, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RECTIFIERS:
            return func(*args, **(kwargs or {}))
        self.count += 1
        given = args[0] if args else kwargs["input"]
        return torch.relu(given) if self.rule == "plain" else _Rectifier.apply(given, self.rule == "guided")


class Pass(NamedTuple):
    """A pass forward whose graph is kept: the picture, what the model says, what every layer gives, and its rectifiers."""

    inputs: Tensor
    logits: Tensor
    kept: Recording
    rectifiers: int


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Keep `model` in evaluation mode with gradients on, also where they were off."""
    with evaluating(model), torch.enable_grad():
        yield


def forward(model: nn.Module, inputs: Tensor, rule: Rule = "plain") -> Pass:
    """Run a batch through the model in evaluation mode, every layer recorded with its graph."""
    inputs = inputs.detach().clone().requires_grad_(True)
    with differentiable(model), record(model, detach=False) as kept, RectifiersAs(rule) as mode:
        logits = model(inputs)
    return Pass(inputs, logits, kept, mode.count)


def class_gradient(model: nn.Module, inputs: Tensor, target: int, rule: Rule = "plain") -> Tensor:
    """Return the gradient of the logit of class `target` with respect to the pictures.

    Source: with the plain rule Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks",
    arXiv:1312.6034, sec. 3.
    Shapes: pictures (B, C, H, W) → (B, C, H, W).
    """
    made = forward(model, inputs, rule)
    return torch.autograd.grad(made.logits[:, target].sum(), made.inputs)[0]


def map_layers(kept: Recording) -> list[str]:
    """Return the paths of the layers whose output is maps of more than one place, in the order they ended."""
    return [path for path, value in kept.items() if path and value.ndim == 4 and min(value.shape[-2:]) > 1]


def last_maps(model: nn.Module, kept: Recording) -> str | None:
    """Return the last layer that still has places, none that pools: where Grad-CAM looks; None in a network without maps.

    `kept` must be recorded with its tensors themselves: what a container returns is what its last part returned.
    """
    pooled = {id(kept[path]) for path, module in model.named_modules() if path in kept and isinstance(module, POOLING)}
    found = [path for path in map_layers(kept) if id(kept[path]) not in pooled]
    if not found:
        return None
    # Of several names for one tensor, that of the module that made it: the first in the order of ending.
    return next(path for path in found if kept[path] is kept[found[-1]])


def no_maps(layer: str, known: Sequence[str]) -> ConfigError:
    """Return what to say of a layer that is not there, or gives no maps; `known` are those that do."""
    return ConfigError("layer={name}: is no layer of this network that gives maps.{suggestion} Layers: {known}.", name=layer,
                       suggestion=nearest(layer, known), known=", ".join(known))  # fmt: skip
