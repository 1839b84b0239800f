"""Illnesses inside a network: gradients that vanish or explode, dead and saturated units, units that are all alike.

The measuring is that of `visualize.gradients` and `visualize.activations`; what is said about it is here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from seodang.core.config import Config
from seodang.core.language import say
from seodang.diagnosis.finding import Finding, retrain
from seodang.diagnosis.story import Story
from seodang.visualize.activations import LayerHealth
from seodang.visualize.gradients import EXPLODED, LAYERS, VANISHED, Flow
from seodang.visualize.scale import number

DEPTH = 3
"""Layers below which there is no way for a gradient to vanish on."""
UNREACHED = 1e-5
"""Gradient of the first layer's weights over that of the last layer's outputs: sound networks have more than 0.1. Where signals grow
faint on the way forward too, the last layer's weights get as little as the first's, and only this tells."""
DEAD = 0.5
"""Share of the units of a layer that are dead. Source: Lu et al. 2020, "Dying ReLU", arXiv:1903.06733; sound networks with
ReLU have up to a third."""
SATURATED = 0.5
"""Share of all (example, unit) pairs of a layer. Source: Glorot & Bengio 2010, sec. 3: sigmoid and tanh layers that stop learning."""
FEW_UNITS = 4
"""Units below which a share says nothing."""
ALIKE = 1e-4
"""Spread of the weights of a layer's units around their mean, over their size, below which they are one unit."""
BOUNDED = ("Sigmoid", "Tanh", "Hardsigmoid", "Softsign")
NORMALISED = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def vanishing(found: Sequence[Flow], story: Story, model: nn.Module) -> Finding | None:
    """Find gradients that are lost on their way to the first layer.

    Source: Hochreiter 1991; Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", sec. 4.
    """
    if len(found) < DEPTH or not found[-1].gradient:
        return None
    ratio, last = found[0].gradient / found[-1].gradient, found[-1].weight_gradient
    weights = found[0].weight_gradient / last if last else 0.0
    faint = min(flow.output for flow in found) < VANISHED * found[0].output
    lost = weights < VANISHED if last else faint
    if ratio >= VANISHED or not (lost or (found[0].weight_gradient < UNREACHED * found[-1].gradient and faint)):
        return None
    return Finding(
        "vanishing-gradients",
        say("Over {count} layers the gradient shrinks to {ratio} of what it is at the last; the weights of the first get {weights} of "
            "the gradient of the last.", count=len(found), ratio=number(ratio), weights=number(weights)),
        say("The first layers are not trained: each layer multiplies the gradient by less than one."),
        retrain(story.run, remedy(story, model)),
        {"ratio": ratio, "weights": weights, "layers": len(found)})  # fmt: skip


def exploding(found: Sequence[Flow], story: Story, model: nn.Module) -> Finding | None:
    """Find gradients that grow from layer to layer.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", arXiv:1211.5063.
    """
    if len(found) < DEPTH or not found[-1].gradient:
        return None
    ratio = found[0].gradient / found[-1].gradient
    if ratio <= EXPLODED:
        return None
    return Finding(
        "exploding-gradients",
        say("Over {count} layers the gradient grows to {ratio} times what it is at the last.", count=len(found), ratio=number(ratio)),
        say("Small changes of the first layers change everything after them: updates overshoot there first."),
        retrain(story.run, remedy(story, model)), {"ratio": ratio, "layers": len(found)})  # fmt: skip


def remedy(story: Story, model: nn.Module) -> str:
    """Return the setting that keeps signals at one size in this architecture."""
    fields = settings_of(model)
    has_norm = any(isinstance(module, NORMALISED) for module in model.modules())
    if "normalization" in fields and not has_norm:
        return "model.normalization=layer" if story.recipe.model.name == "mlp" else "model.normalization=batch"
    if "activation" in fields and story.recipe.model.settings.get("activation") in ("sigmoid", "tanh"):
        return "model.activation=relu"
    return "train.clip=1.0"


def settings_of(model: nn.Module) -> set[str]:
    """Return the names of the settings of an architecture."""
    config = getattr(model, "config", None)
    return set(type(config).model_fields) if isinstance(config, Config) else set()


def dead_units(found: Sequence[LayerHealth], story: Story, model: nn.Module) -> Finding | None:
    """Find a layer most of whose units are silent on every example."""
    sick = [item for item in found if item.kind not in BOUNDED and item.units >= FEW_UNITS and item.dead >= DEAD]
    if not sick:
        return None
    worst = max(sick, key=lambda item: item.dead)
    fields = settings_of(model)
    change = "model.activation=leaky-relu" if "activation" in fields else f"optimizer.lr={story.recipe_rate / 10:.3g}"
    return Finding(
        "dead-units",
        say("{share:.0%} of the {units} units of {path} give nothing on any example ({count} of {all} layers are so).", share=worst.dead,
            units=worst.units, path=worst.path, count=len(sick), all=len(found)),
        say("A unit that is off for every example gets no gradient and stays off. Usual causes: a rate that is too high, or inputs far "
            "from zero."),
        retrain(story.run, change),
        {"layers": {item.path: item.dead for item in sick}})  # fmt: skip


def saturation(found: Sequence[LayerHealth], story: Story) -> Finding | None:
    """Find a sigmoid or tanh layer that works where its function is flat."""
    sick = [item for item in found if item.kind in BOUNDED and item.units >= FEW_UNITS and item.saturated >= SATURATED]
    if not sick:
        return None
    worst = max(sick, key=lambda item: item.saturated)
    return Finding(
        "saturation",
        say("{path} ({kind}) is saturated on {share:.0%} of its examples and units; what goes in has a spread of {spread}.",
            path=worst.path, kind=worst.kind, share=worst.saturated, spread=number(worst.spread)),
        say("Where the function is flat nothing is learned: what goes in is too large for it."),
        retrain(story.run, "model.activation=relu"),
        {"layers": {item.path: item.saturated for item in sick}, "spread": worst.spread})  # fmt: skip


@torch.no_grad()
def units_alike(model: nn.Module, story: Story) -> Finding | None:
    """Find hidden layers whose units all have the same weights.

    Source: Goodfellow, Bengio & Courville 2016, "Deep learning", sec. 8.4: initial weights must break the symmetry of units.
    """
    layers = [(path, module.weight) for path, module in model.named_modules() if isinstance(module, LAYERS)]
    sick = []
    for path, weight in layers[:-1]:
        rows = weight.flatten(1).double()
        if len(rows) < FEW_UNITS:
            continue
        spread, size = (rows - rows.mean(0)).square().mean().sqrt().item(), rows.square().mean().sqrt().item()
        if size < 1e-12 or spread < ALIKE * size:
            sick.append(path)
    if not sick:
        return None
    return Finding(
        "units-alike",
        say("All units of {paths} have the same weights.", paths=", ".join(sick[:5])),
        say("Units that begin alike get the same gradient and stay alike: the layer is as good as one unit. The first weights must be drawn "
            "at random."),
        retrain(story.run, "model.init=he"), {"layers": sick})  # fmt: skip
