"""Grad-CAM: where a layer's maps speak for a class, by the mean gradient of each map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.visualize.backward import class_gradient, forward, last_maps, map_layers, no_maps


def gradcam(
    model: nn.Module, inputs: Float[Tensor, "B C H W"], target: int, layer: str = ""
) -> tuple[str, Float[Tensor, "B I J"]]:
    r"""Return the layer looked at and its map for class `target`: $\mathrm{ReLU}(\sum_k \alpha_k A^k)$.

    $\alpha_k$ is the mean over all places of the gradient of the class's logit with respect to map $A^k$ of the layer;
    default: the last one with places that does not pool.

    Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization",
    arXiv:1610.02391, eq. 1 and 2.
    Raises: ConfigError if the network has no such layer, or none with maps.
    """
    made = forward(model, inputs)
    path = layer or last_maps(model, made.kept)
    if path is None:
        raise ConfigError("Grad-CAM needs a layer that gives maps of more than one place, and this network has none for pictures of "
                          "{height}×{width} pixels.", height=inputs.shape[-2], width=inputs.shape[-1])  # fmt: skip
    maps = made.kept.get(path)
    if maps is None or maps.ndim != 4:
        raise no_maps(path, map_layers(made.kept))
    (gradient,) = torch.autograd.grad(made.logits[:, target].sum(), maps, allow_unused=True)
    if gradient is None:
        raise ConfigError("layer={name}: what it gives does not reach the answer.", name=path)
    weights = gradient.mean((2, 3), keepdim=True)
    return path, (weights * maps).sum(1).clamp(min=0).detach()


def on_picture(maps: Float[Tensor, "B I J"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Return maps enlarged to the picture, bilinearly."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def guided_gradcam(
    model: nn.Module, inputs: Float[Tensor, "B C H W"], target: int, layer: str = ""
) -> Float[Tensor, "B C H W"]:
    """Return the gradient by guided backpropagation, weighted by Grad-CAM's map enlarged to the picture.

    Source: Selvaraju et al. 2017, arXiv:1610.02391, sec. 3.2.
    """
    _, maps = gradcam(model, inputs, target, layer)
    guided = class_gradient(model, inputs, target, "guided")
    return guided * on_picture(maps, (inputs.shape[-2], inputs.shape[-1]))[:, None]
