"""Seodang (서당): train, judge, look inside and use every system of the core deep-learning curriculum.

import seodang as sd
run = sd.train("digits-cnn")
run.scores, run.predict("seven.png")
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Architecture": "seodang.models.base",
    "Choice": "seodang.core.recipe",
    "Comparison": "seodang.comparison.comparing",
    "Config": "seodang.core.config",
    "Dataset": "seodang.data.dataset",
    "Facts": "seodang.core.inputs",
    "Prediction": "seodang.task.base",
    "Recipe": "seodang.core.recipe",
    "Run": "seodang.api",
    "SeodangError": "seodang.core.errors",
    "Tally": "seodang.task.base",
    "Task": "seodang.task.base",
    "architectures": "seodang.models.base",
    "compare": "seodang.comparison.comparing",
    "datasets": "seodang.data.dataset",
    "doctor": "seodang.api",
    "evaluate": "seodang.api",
    "export": "seodang.api",
    "find_lr": "seodang.training.rate_finder",
    "look": "seodang.api",
    "model": "seodang.api",
    "optimizers": "seodang.training.optim",
    "predict": "seodang.api",
    "record": "seodang.layers.record",
    "resume": "seodang.api",
    "robustness": "seodang.api",
    "search": "seodang.comparison.searching",
    "tasks": "seodang.task.base",
    "train": "seodang.api",
}

__all__ = [
    "Architecture",
    "Choice",
    "Comparison",
    "Config",
    "Dataset",
    "Facts",
    "Prediction",
    "Recipe",
    "Run",
    "SeodangError",
    "Tally",
    "Task",
    "architectures",
    "compare",
    "datasets",
    "doctor",
    "evaluate",
    "export",
    "find_lr",
    "look",
    "model",
    "optimizers",
    "predict",
    "record",
    "resume",
    "robustness",
    "search",
    "tasks",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562): `import seodang` costs no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'seodang' has no attribute '{name}'")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
