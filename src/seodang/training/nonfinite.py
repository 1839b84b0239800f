"""Where a number that is not finite came from: the data, the weights, a layer, the loss, or the backward pass.

Asked only when an update has failed: the failing batch goes through the model once more, with the generators as they
were, and every layer is watched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.language import say, translated
from seodang.data.dataset import Batch, Given
from seodang.training.devices import Devices
from seodang.training.randomness import kept_randomness
from seodang.training.update import LARGEST, NotFinite, Updates, added, finite, flat, local

SHOWN = 32
"""Numbers of examples in a message, at most."""
TEXT_BYTES = 2048
"""Room for what one rank has found, to send it to the first."""


class Watched(NamedTuple):
    """Everything a checkpoint would hold of a model in training, by name."""

    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, updates: Updates, average: Any) -> Watched:
        tensors = {name: value for name, value in updates.model.state_dict().items() if name not in updates.masks}
        for network, module in updates.networks.items():
            slots = updates.optimizers[network].state
            prefix = "" if network == "model" else f"{network}."
            for name, weight in module.named_parameters():
                for slot, value in slots.get(weight, {}).items():
                    tensors[f"{prefix}{name} ({slot})"] = value
        if average is not None:
            tensors |= {f"{name} (average)": value for name, value in average.mean.items() if name not in updates.masks}
        return cls({name: local(value.detach()) for name, value in tensors.items() if floating(value)})

    def sound(self, devices: Devices) -> bool:
        """Return whether all of them are finite, on every rank."""
        values = list(self.tensors.values())
        sound = abs(added([flat(value) for value in values]).item()) < math.inf or bool(finite(values))
        return not devices.agree(not sound)

    def first_bad(self) -> str | None:
        return next((name for name, value in self.tensors.items() if not value.isfinite().all()), None)


def headline(found: NotFinite, counts: str, last_loss: float | str) -> str:
    """Say what was not finite."""
    why = say("not a finite number") if not math.isfinite(found.value) else say(
        "more than {largest:.2g}, and its square is infinite", largest=LARGEST)  # fmt: skip
    match found.fault:
        case "size":
            return say("nothing in the batch counts: its losses are over 0 {counts}", counts=translated(counts))
        case "state":
            return say("the weights or what is kept with them are not all finite numbers")
        case "moments":
            return say("what the optimizer of '{network}' keeps is not all finite numbers", network=found.network)
        case "loss":
            return say("the loss of '{network}' is {value:g}, {why} (last loss reported: {loss})",
                       network=found.network, value=found.value, why=why, loss=last_loss)  # fmt: skip
        case _:
            return say("the gradient norm of '{network}' is {value:g}, {why} (last loss reported: {loss})",
                       network=found.network, value=found.value, why=why, loss=last_loss)  # fmt: skip


def cause(
    found: NotFinite, updates: Updates, average: Any, parts: Sequence[Batch] | None, given: Given | None
) -> tuple[str, bool]:
    """Say where it came from, and return whether what was there before the update is sound.

    The update is undone. All ranks must call it: each looks at its own part of the batch, the first one gets to say
    what all of them found.
    """
    gradient = _first_bad_gradient(updates) if found.fault == "gradient" else None
    updates.undo()
    watched = Watched.of(updates, average)
    sound = updates.deferred or watched.sound(updates.devices)  # what was before a deferred check nobody knows
    text = ""
    if not sound:
        if (bad := watched.first_bad()) is not None:
            text = say("'{tensor}' is not finite.", tensor=bad) if found.fault == "state" else say(
                "'{tensor}' was not finite before this update.", tensor=bad)  # fmt: skip
    elif parts is not None and found.fault in ("loss", "gradient"):
        text = _of_data(parts, given)
        if not updates.devices.agree(bool(text)):  # shards run forward together or not at all
            text = _of_layers(updates, parts, given)
    texts = {rank: own for rank, own in enumerate(_of_all_ranks(updates.devices, text)) if own}
    if not texts:
        if gradient:
            text = say("The forward pass is finite; going backward, the gradient of '{weight}' is the first that is not.",
                       weight=gradient)  # fmt: skip
        elif found.fault == "loss":
            text = say("When it was repeated, every number was finite.")
        return text, sound
    if updates.devices.world == 1:
        return text, sound
    return " ".join(say("Process {rank}: {text}", rank=rank, text=own) for rank, own in texts.items()), sound


def batch_text(given: Given | None) -> str:
    """Say which examples were in the batch."""
    if given is None:
        return ""
    return say(
        "The batch: {kind} {numbers} ({place}).", kind=given.kind, numbers=listed(given.numbers), place=given.place
    )


def listed(numbers: Sequence[int]) -> str:
    text = ", ".join(map(str, numbers[:SHOWN]))
    more = len(numbers) - SHOWN
    return say("{numbers} and {count} more", numbers=text, count=more) if more > 0 else text


# --------------------------------------------------------------------------------------------- details


def floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _first_bad_gradient(updates: Updates) -> str | None:
    """Return the parameter nearest to the loss whose gradient is not finite."""
    for name, module in updates.networks.items():
        for weight_name, weight in reversed(list(module.named_parameters())):
            if weight.grad is not None and not finite([local(weight.grad)]):
                return weight_name if name == "model" else f"{name}.{weight_name}"
    return None


def _of_data(parts: Sequence[Batch], given: Given | None) -> str:
    """Say which examples are not finite as they came from the data."""
    first = 0
    for part in parts:
        names = getattr(part, "_fields", tuple(map(str, range(len(part)))))
        for name, field in zip(names, part, strict=True):
            if floating(field) and (rows := _bad_rows(field)):
                return say("The data is not finite: {field} of {which}.", field=name, which=_which(rows, first, given))
        first += len(part[0])
    return ""


def _of_layers(updates: Updates, parts: Sequence[Batch], given: Given | None) -> str:
    """Repeat the forward pass and say which layer is the first to give what is not finite."""
    text, first = "", 0
    with kept_randomness(updates.devices.device):
        if updates.random is not None:
            torch.set_rng_state(updates.random)
        for part in parts:
            with updates.noise.added(), _watching(updates.model) as bad, updates.devices.autocast():
                losses = [loss.detach() for _, loss in updates.task.losses(updates.model, part)]
            updates.undo()
            if bad and not text:
                name, module, rows = bad[0]
                text = say("First layer whose output is not finite: '{layer}' ({kind}).", layer=name or "model",
                           kind=type(module).__name__)  # fmt: skip
                if 0 < len(rows) < len(part[0]):
                    text += " " + say("It is so for {which}.", which=_which(rows, first, given))
            elif not text and any(not abs(loss.item()) < LARGEST for loss in losses):
                text = say("The outputs of all layers are finite; the loss made of them is not.")
            first += len(part[0])
    return text


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, list[int]]]]:
    """Give a list that gets every layer whose output is not finite while its inputs are, in the order they answer."""
    bad: list[tuple[str, nn.Module, list[int]]] = []

    def hook(name: str) -> Any:
        def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            outputs = list(_tensors(output))
            if finite(outputs) or not finite(list(_tensors((args, kwargs)))):
                return
            bad.append((name, module, _bad_rows(outputs[0]) if len(outputs) == 1 else []))

        return look

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in model.named_modules()]
    try:
        yield bad
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if floating(value):
            yield local(value.detach())
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _bad_rows(value: Tensor) -> list[int]:
    """Return the rows of a tensor that hold a number which is not finite."""
    if value.ndim == 0:
        return []
    return (~value.isfinite()).reshape(len(value), -1).any(1).nonzero()[:, 0].tolist()


def _which(rows: Sequence[int], first: int, given: Given | None) -> str:
    """Name the examples at these rows of a micro-batch that begins at row `first` of the batch."""
    places = [first + row for row in rows]
    if given is None or max(places, default=0) >= len(given.numbers):
        return say("row {numbers} of the batch", numbers=listed(places))
    return say("{kind} {numbers}", kind=given.kind, numbers=listed([given.numbers[place] for place in places]))


def _of_all_ranks(devices: Devices, text: str) -> list[str]:
    """Return what every rank has to say."""
    if devices.world == 1:
        return [text]
    room = torch.zeros(TEXT_BYTES, dtype=torch.uint8)
    data = text.encode()[:TEXT_BYTES]
    room[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
    return [bytes(item.tolist()).rstrip(b"\0").decode(errors="ignore") for item in devices.gather(room)]
