"""What each layer shows at a line of progress: read from gradients and moments that are there anyway, kept nowhere.

Nothing here changes a run, and nothing has to survive a resume: a resumed run reads the same numbers again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

MOST_LAYERS = 32
"""Layers that are watched: of more, as many evenly spaced ones. A line of progress stays short, and cheap."""
FIRST, EVERY = 4, 6
"""Lines of progress that are read at the beginning, and of how many one is read then: reading takes 0.2 ms, and the smallest networks
make an update in that time (benchmarks/doctor.py)."""
DIGITS = 4
"""Digits of a signal that are kept."""


class LayerSignals:
    """Reads dense layers and convolutions of a single network with a single optimizer.

    Of several networks none is watched: the gradient of one loss runs through the others' weights too.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module] | None = None, optimizers: Mapping[str, Any] | None = None
    ) -> None:
        self.optimizer = next(iter(optimizers.values())) if optimizers and len(optimizers) == 1 else None
        found: list[tuple[str, Tensor]] = []
        if self.optimizer is not None and networks:
            found = [
                (path, module.weight) for path, module in next(iter(networks.values())).named_modules()
                if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and not isinstance(module.weight, DTensor)
            ]  # fmt: skip
        places = range(len(found))
        if len(found) > MOST_LAYERS:
            places = sorted({round(place * (len(found) - 1) / (MOST_LAYERS - 1)) for place in range(MOST_LAYERS)})  # type: ignore[assignment]
        self.layers = [found[place] for place in places]

    def at(self, line: int) -> dict[str, dict[str, float]]:
        """Return what `read` returns at the first lines of progress, and at one of `EVERY` later; else nothing."""
        return self.read() if line <= FIRST or line % EVERY == 0 else {}

    @torch.no_grad()
    def read(self) -> dict[str, dict[str, float]]:
        """Return for each layer, of the last update:

            gradient    root mean square of the gradient of its weights, after clipping
            weight      root mean square of its weights
            update      how far it moved, as a share of its weights; for SGD and Adam only (decay not counted)
            silent      share of its units whose gradient is exactly zero: nothing reached them

        Nothing if no gradient is there, as after an update that was left out.
        """
        layers = [(path, weight) for path, weight in self.layers if weight.grad is not None]
        if not layers:
            return {}
        weights = [weight for _, weight in layers]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        steps = self._steps(weights, gradients)
        norms = torch._foreach_norm([*gradients, *weights, *(steps or ())])
        silent = [(gradient.flatten(1).abs().amax(1) == 0).float().mean() for gradient in gradients]
        values = torch.stack([*(norm.float() for norm in norms), *silent]).tolist()  # the one wait for a GPU
        count = len(layers)
        rates = self._rates(weights)
        signals = {}
        for place, (path, weight) in enumerate(layers):
            size = math.sqrt(weight.numel())
            signal = {"gradient": values[place] / size, "weight": values[count + place] / size}
            if steps:
                signal["update"] = rates[place] * values[2 * count + place] / max(values[count + place], 1e-30)
            signal["silent"] = values[-count + place]
            signals[path] = {name: float(f"{value:.{DIGITS}g}") for name, value in signal.items()}
        return signals

    def _rates(self, weights: list[Tensor]) -> list[float]:
        assert self.optimizer is not None
        rates = {id(weight): group["lr"] for group in self.optimizer.param_groups for weight in group["params"]}
        return [float(rates.get(id(weight), math.nan)) for weight in weights]

    def _steps(self, weights: list[Tensor], gradients: list[Tensor]) -> list[Tensor] | None:
        """Return the direction of the last update of each weight, which the rate multiplies; None if the rule is another."""
        assert self.optimizer is not None
        state = self.optimizer.state
        if type(self.optimizer) is torch.optim.SGD:
            return [state.get(weight, {}).get("momentum_buffer", gradient)
                    for weight, gradient in zip(weights, gradients, strict=True)]  # fmt: skip
        if type(self.optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
            return None
        slots = [state.get(weight) for weight in weights]
        if not all(slot and "exp_avg" in slot for slot in slots):
            return None
        group = self.optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        step = float(slots[0]["step"])
        squares = torch._foreach_sqrt([slot["exp_avg_sq"] for slot in slots])
        torch._foreach_mul_(squares, 1 / math.sqrt(1 - beta2**step))
        torch._foreach_add_(squares, group["eps"])
        moved = torch._foreach_div([slot["exp_avg"] for slot in slots], squares)
        torch._foreach_mul_(moved, 1 / (1 - beta1**step))
        return list(moved)
