"""Robustness: how the score falls as noise is added to the inputs, or to the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs, TableInputs, VectorInputs
from seodang.core.statistics import mean_of
from seodang.data.dataset import Batch, generator
from seodang.data.images import statistics
from seodang.evaluation.judging import Bench, Wanted
from seodang.evaluation.members import open_members
from seodang.training.devices import Devices
from seodang.training.evaluation import evaluate_model

Where = Literal["inputs", "weights"]
UNITS = {"image": "grey levels of 255", "table": "standard deviations", "vector": "standard deviations"}
MOST_LEVELS, MOST_REPEATS = 50, 1000


def robustness(
    paths: Sequence[Path], wanted: Wanted, where: Where, levels: Sequence[float], repeats: int = 3,
    told: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the deciding score of each run at each level of noise: mean and standard error over `repeats` drawings of it.

    Every run meets the same noise. `told` is called with how many of how many evaluations are done.

    Source: noise in pictures, kept within black and white, Hendrycks & Dietterich 2019, "Benchmarking neural network
    robustness to common corruptions and perturbations", arXiv:1903.12261, sec. 3; in weights, in proportion to them,
    Murray & Edwards 1994, "Enhanced MLP performance and fault tolerance resulting from synaptic weight noise during
    training", IEEE Transactions on Neural Networks 5.
    Units: pictures: standard deviation in grey levels of 255; rows and vectors: in standard deviations of each
    quantity; weights: in standard deviations of their tensor.
    Raises: ConfigError, RunError
    """
    levels = checked(levels, repeats)
    bench = Bench(open_members(paths), wanted)
    kind = bench.facts.inputs.kind
    if kind == "world" or (where == "inputs" and kind not in UNITS):
        raise ConfigError("--noise: {kind} have no noise that could be added to them; it works with pictures, rows and arrays. "
                          "Try --weight-noise.", kind=kind)  # fmt: skip
    metric, mode = bench.task.monitor
    runs: dict[str, list[dict[str, Any]]] = {}
    total = len(bench.members) * sum(repeats if level else 1 for level in levels)
    done = 0
    for member, model, devices in zip(bench.members, bench.models, bench.devices, strict=True):
        points = []
        for level in levels:
            values = []
            for repeat in range(repeats if level else 1):
                scores = _scored(bench, model, devices, where, level, repeat, member.recipe.seed)
                if metric not in scores:
                    raise ConfigError("--noise: the task '{task}' does not score {metric}.",
                                      task=member.bundle.record.task.name, metric=metric)  # fmt: skip
                values.append(scores[metric])
                done += 1
                if told:
                    told(done, total)
            points.append(_point(level, values))
        runs[member.name] = points
    unit = UNITS[kind] if where == "inputs" else "standard deviations of each weight tensor"
    return {"where": where, "unit": unit, "split": bench.split, "examples": bench.count, "metric": metric, "mode": mode,
            "repeats": repeats, "levels": list(levels), "runs": runs}  # fmt: skip


def checked(levels: Sequence[float], repeats: int) -> list[float]:
    """Return the levels in rising order.

    Raises: ConfigError
    """
    if not levels or len(levels) > MOST_LEVELS or any(not math.isfinite(level) or level < 0 for level in levels):
        raise ConfigError("noise={levels}: levels of noise are 1 to {most} numbers from 0 on, for example 0,8,16,32.",
                          levels=",".join(map(str, levels)) or "–", most=MOST_LEVELS)  # fmt: skip
    if not 1 <= repeats <= MOST_REPEATS:
        raise ConfigError("--repeats={repeats}: should be from 1 to {most}.", repeats=repeats, most=MOST_REPEATS)
    return sorted(set(levels))


def _point(level: float, values: list[float]) -> dict[str, Any]:
    _, mean, error = mean_of(values)
    return {"level": level, "mean": mean, "standard_error": error, "values": values}


def _scored(
    bench: Bench, model: nn.Module, devices: Devices, where: Where, level: float, repeat: int, seed: int
) -> dict[str, float]:
    draws = (bench.wanted.seed, where, repeat)
    if where == "weights":
        with perturbed(model, level, draws):
            return evaluate_model(model, bench.task, bench.batches(), devices, seed)
    return evaluate_model(model, bench.task, noisy(bench.batches(), bench.facts, level, draws), devices, seed)


def noisy(batches: Iterator[Batch], facts: Facts, level: float, draws: tuple[int | str, ...]) -> Iterator[Batch]:
    """Yield the batches with Gaussian noise in their inputs; batch number n has the same noise at every level, but for its size."""
    for number, batch in enumerate(batches):
        inputs: Tensor = batch[0]
        noise = torch.randn(inputs.shape, generator=generator(*draws, number)).to(inputs.device)
        yield type(batch)(with_noise(inputs, noise, level, facts), *batch[1:])


def with_noise(inputs: Tensor, noise: Tensor, level: float, facts: Facts) -> Tensor:
    """Return standardised inputs with `level` times the noise; of a table only numbers are noisy, pictures stay within black and white.

    Shapes: inputs and noise (B, …).
    """
    if level == 0:
        return inputs
    if isinstance(facts.inputs, ImageInputs):
        mean, std = statistics(facts.inputs, inputs.device)
        pixels = inputs * std + mean + noise * (level / 255)
        return (pixels.clamp(0, 1) - mean) / std
    if isinstance(facts.inputs, TableInputs):
        numbers: list[float] = []
        for column in facts.inputs.columns:
            numbers += [float(column.kind == "number")] + [0.0] * (column.width - 1)
        return inputs + level * noise * torch.tensor(numbers, device=inputs.device)
    assert isinstance(facts.inputs, VectorInputs)
    return inputs + level * noise


@contextmanager
def perturbed(model: nn.Module, level: float, draws: tuple[int | str, ...]) -> Iterator[None]:
    """Keep every weight of `model` with noise of `level` standard deviations of its tensor inside; afterwards it is as before."""
    kept = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    try:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if level and weight.numel() > 1:
                    noise = torch.randn(weight.shape, generator=generator(*draws, name)).to(weight)
                    weight.add_(noise * (level * weight.std()))
        yield
    finally:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(kept[name])
