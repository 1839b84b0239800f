"""What simple methods score on the same rows: a linear model and a forest of trees, as scikit-learn ships them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from seodang.core.inputs import Facts, TableInputs, VectorInputs
from seodang.data.dataset import Dataset, Examples

FOREST_UP_TO = 20_000
"""Training rows above which boosted trees stand in for the forest, which would take minutes."""


class Beside(Dataset):
    """Examples of one dataset beside the training examples of another, so that simple methods can learn from these.

    Both were read with the same columns, classes and statistics.
    """

    def __init__(self, trained: Dataset, asked: Dataset, split: str) -> None:
        self._parts = {"train": trained.split("train"), "test": asked.split(split)}
        self.facts = asked.facts.replace(sizes={name: len(part) for name, part in self._parts.items()})

    def split(self, name: str) -> Examples:
        return self._parts[name]

    def baseline(self, split: str) -> dict[str, float] | None:
        return scores_of_simple_methods(self, split)


def scores_of_simple_methods(data: Dataset, split: str) -> dict[str, float] | None:
    """Return what simple methods score on a split, fitted on the training rows; None but for rows of numbers."""
    facts = data.facts
    if (
        "train" not in facts.sizes
        or not isinstance(facts.inputs, (TableInputs, VectorInputs))
        or len(facts.targets) > 1
    ):
        return None
    parts = [data.split(name) for name in ("train", split)]
    train, held_out = ([field.numpy() for field in part.batch(torch.arange(len(part)), None)] for part in parts)
    return simple_scores((train[0], train[1]), (held_out[0], held_out[1]), facts)


def simple_scores(
    train: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], facts: Facts
) -> dict[str, float]:
    """Return the scores of simple methods fitted on `train`, each under "score (method)".

    They have scikit-learn's default settings and see the features the network sees.

    Source: scikit-learn, LogisticRegression, Ridge, RandomForest; HistGradientBoosting beyond 20,000 rows.
    Units: accuracy is a share, loss is in nats, rmse and mae in the target's own units.
    """
    scores: dict[str, Any] = {}
    for name, model in _methods(facts, len(train[0])).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged after 1,000 rounds: the score says how good it is
            model.fit(train[0], train[1] if facts.classes else train[1][:, 0])
        scores |= {f"{score} ({name})": value for score, value in _judge(model, held_out, facts).items()}
    return scores


def _methods(facts: Facts, rows: int) -> Mapping[str, Any]:
    from sklearn.ensemble import (  # lazy: 1 s
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.linear_model import LogisticRegression, Ridge

    few = rows <= FOREST_UP_TO
    trees = "random forest" if few else "boosted trees"
    if facts.classes:
        forest = RandomForestClassifier(random_state=0) if few else HistGradientBoostingClassifier(random_state=0)
        return {"logistic regression": LogisticRegression(max_iter=1000), trees: forest}
    forest = RandomForestRegressor(random_state=0) if few else HistGradientBoostingRegressor(random_state=0)
    return {"ridge regression": Ridge(), trees: forest}


def _judge(model: Any, held_out: tuple[np.ndarray, np.ndarray], facts: Facts) -> dict[str, float]:
    from sklearn.metrics import log_loss  # lazy: 1 s

    features, targets = held_out
    if facts.classes:
        accuracy = float((model.predict(features) == targets).mean())
        known = np.isin(targets, model.classes_)
        if not known.all():
            return {"accuracy": accuracy}
        return {
            "accuracy": accuracy,
            "loss": float(log_loss(targets, model.predict_proba(features), labels=model.classes_)),
        }
    error = (model.predict(features) - targets[:, 0]) * facts.targets[0].std
    spread = (targets[:, 0] - targets[:, 0].mean()) * facts.targets[0].std
    scores = {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}
    if (spread**2).sum() > 0:
        scores["r2"] = float(1 - (error**2).sum() / (spread**2).sum())
    return scores
