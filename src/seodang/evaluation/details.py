"""What there is to know of a classifier beyond one score, as plain values: each class, confusions, calibration, mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from seodang.core.inputs import Facts
from seodang.visualize.answers import Answers
from seodang.visualize.calibration import calibration_of
from seodang.visualize.classes import MISTAKES, class_names, class_scores, confusion_counts, mistakes_in_order

TOP = 5


def details(answers: Answers, facts: Facts) -> dict[str, Any]:
    """Return top-1 and top-5, each class, the confusion matrix, calibration, and the worst mistakes by their row."""
    names = class_names(facts)
    counts = confusion_counts(answers, len(names))
    precision, recall, f1 = class_scores(counts)
    support = counts.sum(1)
    chances, targets = answers.probabilities.double(), answers.targets
    ranked = chances.argsort(dim=-1, descending=True, stable=True)
    hits = ranked[:, : min(TOP, len(names))] == targets[:, None]
    found = calibration_of(answers)
    rates, sure = found.rates()
    truth = torch.nn.functional.one_hot(targets, len(names)).double()
    return {
        "top1": (answers.predicted == targets).double().mean().item(),
        **({"top5": hits.any(-1).double().mean().item()} if len(names) > TOP else {}),
        "classes": {
            name: {
                "precision": _known(precision[place]),
                "recall": _known(recall[place]),
                "f1": _known(f1[place]),
                "support": int(support[place]),
            }
            for place, name in enumerate(names)
        },
        "macro": {
            key: _known(values[~values.isnan()].mean())
            for key, values in (("precision", precision), ("recall", recall), ("f1", f1))
        },
        "confusion": counts.tolist(),
        "calibration_error": found.error,
        "brier": (chances - truth).square().sum(-1).mean().item(),
        "calibration": [
            {"from": low, "to": high, "count": int(count), "right": _known(right), "sure": _known(mean)}
            for low, high, count, right, mean in zip(
                found.edges[:-1], found.edges[1:], found.counts, rates, sure, strict=True
            )
        ],
        "mistakes": [_mistake(answers, names, place) for place in mistakes_in_order(answers)[:MISTAKES].tolist()],
    }


def _mistake(answers: Answers, names: tuple[str, ...], row: int) -> Mapping[str, Any]:
    chances = answers.probabilities[row]
    true, said = int(answers.targets[row]), int(answers.predicted[row])
    return {
        "row": row,
        "true": names[true],
        "predicted": names[said],
        "probability": float(chances[said]),
        "probability_of_truth": float(chances[true]),
    }


def _known(value: Any) -> float | None:
    """Return a number, or None where there was nothing to divide by."""
    number = float(value)
    return None if math.isnan(number) else number
