"""Language models averaged: the mixture of their probabilities of the next token, and its perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from seodang.core.inputs import TokenInputs
from seodang.data.dataset import Batch, map_tensors
from seodang.evaluation.averaging import averaged
from seodang.evaluation.gains import gain
from seodang.evaluation.judging import Bench, Judgement, found_of
from seodang.task.base import Task, evaluating
from seodang.task.language_modeling import SCORED_LOGITS, SCORED_TOKENS

MIXTURE = "mixture of probabilities"


def judge_texts(bench: Bench) -> Judgement:
    """Return loss and perplexity of each model and of the mixture, which never has a higher loss than the members on average."""
    losses, counts = window_losses(bench)
    names = [*(member.name for member in bench.members), MIXTURE]
    scores = {
        name: bench.task.finish({"loss": float(one.sum() / counts.sum())})
        for name, one in zip(names, losses, strict=True)
    }
    found = found_of(bench, scores, MIXTURE)
    found["gains"] = [
        gain("loss", MIXTURE, name, losses[-1].numpy(), one.numpy(), counts.numpy())._asdict()
        for name, one in zip(names[:-1], losses[:-1], strict=True)
    ]
    return Judgement(found, bench.facts, bench.task, {})


def window_losses(bench: Bench) -> tuple[list[Tensor], Tensor]:
    """Return the summed loss of each window of text, for every member and then for their mixture; and how many tokens count.

    Shapes: each (N,), float64.
    """
    inputs = bench.facts.inputs
    assert isinstance(inputs, TokenInputs)
    models = [bench.augmented(model) for model in bench.models]
    kept: list[list[Tensor]] = [[] for _ in range(len(models) + 1)]
    counts: list[Tensor] = []
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        for batch in bench.batches():
            length = max(1, batch[0].shape[1])
            rows = max(
                1, min(SCORED_LOGITS // (length * inputs.vocab_size * (len(models) + 1)), SCORED_TOKENS // length)
            )
            for first in range(0, len(batch[0]), rows):
                part = map_tensors(batch, lambda field, first=first, rows=rows: field[first : first + rows])
                for place, losses in enumerate(_losses(bench, bench.task, models, part)):
                    kept[place].append(losses.cpu())
                counts.append((part[1] >= 0).sum(-1).double().cpu())
    return [torch.cat(losses) for losses in kept], torch.cat(counts)


def _losses(bench: Bench, task: Task, models: Sequence[nn.Module], batch: Batch) -> list[Tensor]:
    tokens, targets = batch
    outputs = []
    for model, devices in zip(models, bench.devices, strict=True):
        with devices.autocast():
            outputs.append(model(tokens).float())
    logs = [*(output.log_softmax(-1) for output in outputs), averaged(task, outputs)]
    counted = targets >= 0
    truth = targets.clamp(min=0)[..., None]
    return [-(log.gather(-1, truth)[..., 0].double() * counted).sum(-1) for log in logs]
