"""The layer table of any model: what each layer gives, holds and computes, from one recorded forward pass.

A multiply-add is one product added to a sum. Matrix products, convolutions and attention are counted as the
operations PyTorch really executes (so a layer used twice counts twice); a normalisation multiplies each element
once to scale and shift it, and once more for each pass over the squares its statistics need.

Units: multiply-adds per example; bytes of parameters and buffers, and of what a layer gives for one example.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seodang.core.inputs import Facts, TokenInputs
from seodang.core.language import say
from seodang.layers.record import record
from seodang.task.base import evaluating
from seodang.visualize.figure import Column, Table
from seodang.visualize.scale import large, size

SCALED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""In evaluation: one product per element, for scale and shift are joined with mean and variance."""
MEASURED = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
"""Squares, division and scale: three products per element."""


class Layer(NamedTuple):
    """One module with weights or work of its own. `output` is its shape for one example, without the batch."""

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    state_bytes: int
    output_bytes: int


class LayerTable(NamedTuple):
    """All layers in the order they ran; parameters are counted once, where they are first held."""

    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int
    state_bytes: int
    output_bytes: int


def layer_table(model: nn.Module, example: Facts | Sequence[int] | Mapping[str, Tensor]) -> LayerTable:
    """Return the layers of `model`.

    `example` is what it is run on: the facts of its data, the shape of one example, or a batch of one for the model
    (``""``) or for each part that takes inputs of its own (``task.blank_inputs(model)``).
    """
    seen: dict[str, Visit] = {}
    for path, inputs in blank_examples(model, example).items():
        part = model.get_submodule(path)
        seen |= {".".join(filter(None, (path, name))): visit for name, visit in _run(part, inputs).items()}
    held = dict(_own_weights(model))
    order = {path: place for place, path in enumerate(seen)}
    layers = []
    for path, module in sorted(model.named_modules(), key=lambda item: order.get(item[0], len(order))):
        visit = seen.get(path, Visit())
        weights, buffers = held[path]
        runs = path in seen and next(module.children(), None) is None
        if not (runs or weights or buffers or visit.multiply_adds):
            continue
        parameters = sum(weight.numel() for weight in weights)
        layers.append(
            Layer(path or type(module).__name__, type(module).__name__, visit.output, parameters, visit.multiply_adds,
                  sum(tensor.numel() * tensor.element_size() for tensor in [*weights, *buffers]), visit.output_bytes)
        )  # fmt: skip
    return LayerTable(
        tuple(layers),
        sum(weight.numel() for weight in model.parameters()),
        sum(layer.multiply_adds for layer in layers),
        sum(layer.state_bytes for layer in layers),
        sum(layer.output_bytes for layer in layers),
    )


def blank_examples(model: nn.Module, example: Facts | Sequence[int] | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return what to run the model on, as zeros on its device."""
    if isinstance(example, Mapping):
        return example
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    shape = example.inputs.shape if isinstance(example, Facts) else example
    tokens = isinstance(example, Facts) and isinstance(example.inputs, TokenInputs)
    return {"": torch.zeros(1, *shape, dtype=torch.long if tokens else torch.float32, device=device)}


class Visit(NamedTuple):
    """What was seen of a module while it ran, over all its calls."""

    output: tuple[int, ...] = ()
    multiply_adds: int = 0
    output_bytes: int = 0


def _run(model: nn.Module, inputs: Tensor) -> dict[str, Visit]:
    """Run one example forward; return what each module did itself, in the order they ended."""
    with evaluating(model), _unfused(), record(model), FlopCounterMode(display=False) as counter:  # noqa: SIM117
        with _watched(model, counter) as seen:
            model(inputs)
    return seen


@contextmanager
def _unfused() -> Iterator[None]:
    """Run recurrent and attention layers as the matrix products they are made of: fused ones are not counted."""
    fused, fast = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mkldnn.enabled = fused  # type: ignore[assignment]
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _watched(model: nn.Module, counter: FlopCounterMode) -> Iterator[dict[str, Visit]]:
    seen: dict[str, Visit] = {}
    started: list[int] = []
    inside: list[int] = [0]

    def enter(module: nn.Module, inputs: Any) -> None:
        started.append(counter.get_total_flops())
        inside.append(0)

    def leave(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            whole = counter.get_total_flops() - started.pop()
            own = whole - inside.pop()
            inside[-1] += whole
            tensor = _first_tensor(output)
            before = seen.get(path, Visit())
            shape = () if tensor is None else tuple(tensor.shape[1:])
            given = 0 if tensor is None else tensor[:1].numel() * tensor.element_size()
            seen[path] = Visit(
                shape, before.multiply_adds + own // 2 + _scaling(module, tensor), before.output_bytes + given
            )

        return hook

    handles = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave(path))]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return next((found for item in output if (found := _first_tensor(item)) is not None), None)
    return None


def _scaling(module: nn.Module, output: Tensor | None) -> int:
    """Return the products of a normalisation, which PyTorch does not count."""
    if output is None:
        return 0
    if isinstance(module, SCALED):
        return output.numel()
    return 3 * output.numel() if isinstance(module, MEASURED) else 0


def _own_weights(model: nn.Module) -> Iterator[tuple[str, tuple[list[Tensor], list[Tensor]]]]:
    """Yield for each path the parameters and buffers it holds itself, each tensor once."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        kinds: tuple[list[Tensor], list[Tensor]] = ([], [])
        for kept, tensors in zip(kinds, (module.parameters(recurse=False), module.buffers(recurse=False)), strict=True):
            for tensor in tensors:
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    kept.append(tensor)
        yield path, kinds


def layer_figure(layers: LayerTable) -> Table:
    """Return the table people read."""
    columns = (
        Column(say("layer"), path=True),
        Column(say("kind")),
        Column(say("output"), number=True),
        Column(say("parameters"), number=True, bar=True),
        Column(say("multiply-adds"), number=True, bar=True),
        Column(say("memory"), number=True),
    )
    rows, values = [], []
    for layer in layers.layers:
        shape = " × ".join(map(str, layer.output)) or "–"
        memory = layer.state_bytes + layer.output_bytes
        rows.append(
            (layer.path, layer.kind, shape, _count(layer.parameters), _count(layer.multiply_adds), size(memory))
        )
        values.append((layer.path, layer.kind, math.prod(layer.output), layer.parameters, layer.multiply_adds, memory))
    total = (say("all"), "", "", f"{layers.parameters:,}", large(layers.multiply_adds),
             size(layers.state_bytes + layers.output_bytes))  # fmt: skip
    return Table(
        say("Layers"),
        say("{count} layers, {parameters} parameters, {work} multiply-adds for one example.", count=len(rows),
            parameters=f"{layers.parameters:,}", work=large(layers.multiply_adds)),
        columns, tuple(rows), tuple(values), total,
        about=say("Output: its shape. Multiply-adds: products. Memory: weights and output. All for one example."),
        name="layers")  # fmt: skip


def _count(value: int) -> str:
    return f"{value:,}" if value else "–"
