"""One update: micro-batches → losses → gradients → checked → applied; or, if a number is not finite, nothing of it.

    sizes of the micro-batches         → what the losses are divided by; one all-reduce
    weight noise on
    for (network, loss) in task.losses: forward; loss finite?; backward
        last micro-batch:              weight noise off; penalties; gradient and moments finite?; clip; step

An update is one unit. What it changes before it fails can be put back: running statistics, and networks that were
stepped before the one that failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from seodang.core.recipe import Train
from seodang.data.dataset import Batch
from seodang.task.base import Task
from seodang.training.checkpoint import full
from seodang.training.devices import Devices
from seodang.training.groups import penalize
from seodang.training.transfer import Freezing
from seodang.training.weight_noise import WeightNoise

LARGEST = math.sqrt(torch.finfo(torch.float32).max)
"""Losses and gradients from here on count as infinite: their squares are, and the moments of Adam with them."""

Fault: TypeAlias = Literal["size", "loss", "gradient", "moments", "state"]
"""What was not finite: see `seodang.training.nonfinite`."""


class NotFinite(Exception):
    """A number that is not finite came up in update `step`; what of `network` it was, and its value."""

    def __init__(self, fault: Fault, step: int, network: str = "", value: float = math.nan) -> None:
        super().__init__(fault, step, network, value)
        self.fault, self.step, self.network, self.value = fault, step, network, value
        self.parts: Sequence[Batch] | None = None
        """The micro-batches of the update."""


class Done(NamedTuple):
    """An update that was made: losses in the order they came, over `things`; norm of the last gradient."""

    losses: list[tuple[str, Tensor]]
    things: Tensor | float
    grad_norm: Tensor | float


class Updates:
    """Makes updates of a model, one after the other."""

    def __init__(
        self, model: nn.Module, view: nn.Module, task: Task, networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer], devices: Devices, train: Train, per_epoch: int = 1,
    ) -> None:  # fmt: skip
        self.model, self.view, self.task, self.networks = model, view, task, networks
        self.optimizers, self.devices, self.train = optimizers, devices, train
        fused = all(optimizer.defaults.get("fused") for optimizer in optimizers.values())
        self.deferred = devices.kind == "cuda" and fused and train.on_nonfinite == "stop"
        """On a GPU nothing waits for the checks: the fused optimizers leave the weights alone from the first bad update
        on, and its number is read with the next line of progress. To skip or rewind, every update is waited for."""
        self.failed = torch.full((), math.inf, device=devices.device)
        """Number of the first bad update, where checks are deferred."""
        self.random: Tensor | None = None
        """State of torch's generator before the last update."""
        self.masks = {
            name for name, value in model.named_buffers() if value.is_floating_point() and not finite([value])
        }
        """Buffers that were not finite from the beginning, as masks of -inf are."""
        self._buffers = Kept()
        self._places = [(module._buffers, name) for module in model.modules()
                        for name, value in module._buffers.items() if value is not None]  # fmt: skip
        self._stepped: dict[str, KeptOptimizer] = {}
        self._expected = 0
        """Steps in the update before this one. All but the last are kept, to be undone; 0 = none was made yet."""
        self._steps = 0
        self.whole = True
        """Whether all of the last update can be undone."""
        self._moments: dict[str, tuple[int, list[Tensor]]] = {}
        self.noise = WeightNoise(train.weight_noise, networks)
        self.freezing = Freezing(model, train, per_epoch)

    def make(self, parts: Sequence[Batch], rate: float, step: int) -> Done:
        """Make update number `step` of micro-batches.

        Raises: NotFinite before the weights of the network that failed are changed; `undo` puts back the rest.
        """
        self.freezing.at(step)
        self._begin()
        try:
            with self.noise.added():
                return self._make(parts, rate, step)
        except NotFinite as found:
            found.parts = parts
            raise

    def _make(self, parts: Sequence[Batch], rate: float, step: int) -> Done:
        total = self._total_size(parts, step)
        scale = self.devices.world / total
        losses: list[tuple[str, Tensor]] = []
        norm: Tensor | float = 0.0
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            for name, loss in self._losses(part, last):
                if number == 0:
                    self.optimizers[name].zero_grad()
                scaled = loss * scale
                scaled.backward(self._checked(loss.detach(), name, step, scaled))
                losses.append((name, loss.detach()))
                if last:
                    norm = self._step(name, rate, step)
        self._expected = self._steps
        return Done(losses, total, norm)

    def undo(self) -> None:
        """Put everything back as it was before the last update, which failed: all of it if this is `whole`.

        Generators go on, and what a task keeps for itself is its own affair.
        """
        self._buffers.put_back()
        for (buffers, name), value in zip(self._places, self._buffers.tensors, strict=False):
            buffers[name] = value  # the forward pass may have put another tensor there
        for kept in self._stepped.values():
            kept.put_back()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def forget(self) -> None:
        """Take it that weights and moments were put in place from outside."""
        self._moments.clear()

    def read_flag(self) -> None:
        """Wait for the checks that were deferred.

        Raises: NotFinite
        """
        if self.deferred and math.isfinite(failed := self.failed.item()):
            raise NotFinite("gradient", int(failed), ", ".join(self.networks))

    # ------------------------------------------------------------------------------------------- details

    def _begin(self) -> None:
        self._steps = 0
        self.whole = not self.deferred
        self._stepped.clear()
        if self.deferred:
            return
        self.random = torch.get_rng_state()
        self._buffers.keep([value for buffers, name in self._places if (value := buffers[name]) is not None])

    def _total_size(self, parts: Sequence[Batch], step: int) -> Tensor | float:
        sizes = [self.task.size(part) for part in parts]
        size = sum(sizes)
        if self.devices.world == 1 and not isinstance(size, Tensor):
            if size <= 0:
                raise NotFinite("size", step)
            return float(size)
        size = self.devices.sum(torch.as_tensor(size, dtype=torch.float32, device=self.devices.device))
        if self.deferred:
            self._flag(torch.where(size > 0, 0.0, math.nan), step)
        elif size.item() <= 0:
            raise NotFinite("size", step)
        return size

    def _losses(self, batch: Batch, last: bool) -> Iterator[tuple[str, Tensor]]:
        """Run the task's generator with mixed precision on inside it and off outside, where backward happens."""
        losses = self.task.losses(self.view, batch)
        while True:
            with self.devices.autocast(), self.devices.synchronising(self.view, last):
                item = next(losses, None)
            if item is None:
                return
            yield item

    def _checked(self, loss: Tensor, name: str, step: int, scaled: Tensor) -> Tensor | None:
        """Check a loss; return what backward begins with.

        Of several ranks one would stop alone: its gradient is made NaN instead, which all of them see.
        """
        if self.deferred:
            self._flag(loss, step)
        if self.devices.world > 1:
            sound = (loss.abs() < LARGEST) & finite(self._moments_of(name))
            return torch.where(sound, 1.0, math.nan).to(scaled)
        if not self.deferred and not abs(value := loss.item()) < LARGEST:
            raise NotFinite("loss", step, name, value)
        return None

    def _step(self, name: str, rate: float, step: int) -> Tensor:
        """Check, clip and apply the gradient of one network; return its norm before clipping."""
        optimizer = self.optimizers[name]
        self.noise.take_off()
        penalize(optimizer)
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        norm = self._norm(name, [weight.grad for weight in weights if weight.grad is not None], step)
        if self.train.clip:
            torch.nn.utils.clip_grads_with_norm_(weights, self.train.clip, norm, foreach=True)
        if self.train.clip_value:
            torch.nn.utils.clip_grad_value_(weights, self.train.clip_value, foreach=True)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self._steps += 1
        if self.deferred:
            optimizer.grad_scale = None  # type: ignore[attr-defined]
            optimizer.found_inf = self.failed.isfinite().float()  # type: ignore[attr-defined]
        elif name not in self._stepped:
            if self._steps == self._expected:
                self.whole = False  # not kept: nothing came after it in the update before
            else:
                self._stepped[name] = KeptOptimizer(optimizer)
        optimizer.step()
        return norm

    def _norm(self, name: str, gradients: list[Tensor], step: int) -> Tensor:
        """Return the norm of a gradient, which is finite, and so are the moments it will change.

        Raises: NotFinite
        """
        if not gradients or self.devices.world > 1:
            norm = full(torch.nn.utils.get_total_norm(gradients, foreach=True))
        else:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if self.deferred:
            self._flag(norm, step)
            self._flag(added(self._moments_of(name)), step)
            return norm
        if not (value := norm.item()) < LARGEST:
            raise NotFinite("gradient", step, name, value)
        moments = self._moments_of(name)
        if not abs(added(moments).item()) < math.inf and not finite(moments):  # else only their sum overflows
            raise NotFinite("moments", step, name)
        return norm

    def _moments_of(self, name: str) -> list[Tensor]:
        """Return what the optimizer of a network keeps beside the weights, as vectors; of shards, this rank's."""
        count, kept = self._moments.get(name, (0, []))
        state = self.optimizers[name].state
        if count != len(state) or not kept:
            tensors = [value for slots in state.values() for value in slots.values() if isinstance(value, Tensor)]
            kept = [flat(value.detach()) for value in tensors if value.ndim and value.is_floating_point()]
            self._moments[name] = len(state), kept
        return kept

    def _flag(self, value: Tensor, step: int) -> None:
        self.failed = torch.minimum(self.failed, torch.where(value.abs() < LARGEST, math.inf, float(step)))


class Kept:
    """Copies of tensors, in memory that is used again."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.copies: list[Tensor] = []

    @torch.no_grad()
    def keep(self, tensors: list[Tensor]) -> None:
        if len(tensors) != len(self.tensors) or any(a is not b for a, b in zip(tensors, self.tensors, strict=True)):
            self.tensors, self.copies = tensors, [tensor.clone() for tensor in tensors]
        elif tensors:
            torch._foreach_copy_(self.copies, tensors)

    @torch.no_grad()
    def put_back(self) -> None:
        for tensor, copy in zip(self.tensors, self.copies, strict=True):
            tensor.copy_(copy)


class KeptOptimizer:
    """The weights of a network and everything its optimizer knows, before a step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.state = {weight: dict(slots) for weight, slots in optimizer.state.items()}
        self.tensors = Kept()
        self.tensors.keep([weight.data for group in optimizer.param_groups for weight in group["params"]] + [
            value for slots in self.state.values() for value in slots.values() if isinstance(value, Tensor)])  # fmt: skip

    def put_back(self) -> None:
        self.tensors.put_back()
        self.optimizer.state.clear()
        self.optimizer.state.update(self.state)


def local(value: Tensor) -> Tensor:
    """Return this rank's part of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


FEW = 1 << 16
"""Numbers up to which copying them together is faster than looking at one tensor after the other."""


def flat(value: Tensor) -> Tensor:
    """Return the numbers of a tensor as a vector, in the order of memory where it has no gaps."""
    value = local(value)
    packed = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return value.as_strided((value.numel(),), (1,)) if packed else value.reshape(-1)


def added(vectors: Sequence[Tensor]) -> Tensor:
    """Return a number that is finite only if every number in the vectors is; large ones may overflow."""
    if not vectors:
        return torch.zeros(())
    if sum(map(len, vectors)) <= FEW:
        return torch.cat(list(vectors)).sum()
    return torch.stack([vector.sum() for vector in vectors]).sum()


def finite(tensors: Sequence[Tensor]) -> Tensor:
    """Return whether every number of some tensors is finite, on their device."""
    if not tensors:
        return torch.tensor(True)
    zeros = [(tensor.detach() * 0).sum() for tensor in tensors]  # NaN for what is not finite
    return torch.stack(zeros).sum() == 0
