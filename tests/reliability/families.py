"""One small run of every kind of training: what is torn apart and put together again."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import seodang as sd
from seodang.cli.app import main as command_line
from seodang.core.config import write_toml
from seodang.core.recipe import Recipe
from seodang.training.assemble import assemble
from seodang.training.resolve import read_recipe
from tests.reliability.deaths import child, wait

SAVE_EVERY = 4
PACE = {"train.threads": 1, "train.log_every": 3, "train.save_every": SAVE_EVERY, "train.evaluate_every": 8}
IMAGES = {"data.name": "digits", "data.augment": ["shift"], "data.valid": 0.2}
SUPERVISED = {
    "train.steps": 45, "train.batch_size": 64, "train.average": 0.9, "task": "classification",
    "model": {"name": "mlp", "hidden_sizes": [12], "dropout": 0.3, "normalization": "batch"},
    "optimizer": {"name": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 3},
}  # fmt: skip


def families(folder: Path) -> dict[str, Recipe]:
    """Return name → recipe; texts are written below `folder`."""
    text = folder / "text.txt"
    if not text.exists():
        text.write_text(
            "".join(f"line {number}: {number * number % 97} of what was said before\n" for number in range(200))
        )
    settings: dict[str, dict[str, Any]] = {
        "supervised": {**SUPERVISED, **IMAGES},
        "workers": {**SUPERVISED, **IMAGES, "train.steps": 30, "train.workers": 2},
        "convolution": {
            **SUPERVISED, **IMAGES, "train.steps": 24,
            "model": {"name": "cnn", "stages": [[4], [8]], "padding": "same", "dropout": 0.2},
        },
        "accumulation": {**SUPERVISED, **IMAGES, "train.accumulate": 3, "train.clip": 0.5},
        "patience": {
            **SUPERVISED, **IMAGES, "train.patience": 2, "train.steps": 60, "train.evaluate_every": 4, "optimizer.lr": 0.2,
        },
        "bfloat16": {**SUPERVISED, **IMAGES, "train.precision": "bfloat16"},
        "language": {
            "task": "language-modeling", "data": {"name": "text", "path": str(text), "context": 16},
            "model": {"name": "gpt", "num_layers": 1, "embed_dim": 16, "num_heads": 2, "dropout": 0.2},
            "optimizer": {"name": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 3},
            "train.steps": 30, "train.batch_size": 16, "train.clip": 1.0,
        },
        "vae": {
            "task": "vae", "model": {"name": "vae", "latent_dim": 3, "hidden_sizes": [16]},
            "data": {"name": "digits"}, "optimizer": {"name": "adam", "lr": 0.01},
            "train.steps": 30, "train.batch_size": 64,
        },
        "gan": {
            "task": {"name": "gan", "film_every": 6}, "data": {"name": "digits"},
            "model": {"name": "dcgan", "latent_dim": 4, "generator_channels": [8, 4], "discriminator_channels": [4, 8]},
            "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.5, 0.999]},
            "train.steps": 20, "train.batch_size": 32,
        },
    }  # fmt: skip
    found = {name: Recipe.of(_nested({"name": name, **PACE, **values})) for name, values in settings.items()}
    agent = {
        **PACE, "task.worlds": 4, "task.start": 32, "task.memory": 400, "task.play_steps": 4, "task.updates": 1,
        "model.hidden_sizes": [16], "data.valid": 2, "data.test": 2, "train.steps": 32, "train.batch_size": 16,
        "train.evaluate_every": 16,
    }  # fmt: skip
    return {**found, "agent": read_recipe("cartpole-dqn", None, (), agent)[0]}


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        first, dot, rest = key.partition(".")
        if not dot:
            made[key] = (
                dict(value) if isinstance(value, dict) else {"name": value} if key in ("task", "data") else value
            )
        else:
            made.setdefault(first, {})[rest] = value
    return made


def import_all(folder: Path, chosen: list[str]) -> None:
    """Import whatever a run of these families (all, if none is named) imports: a fork then starts in milliseconds.

    Nothing is trained in this process: autograd does not survive a fork.
    """
    recipes = {name: recipe for name, recipe in families(folder).items() if not chosen or name in chosen}
    log, modules = folder / "first.txt", folder / "modules.json"

    def work() -> None:
        for name, recipe in recipes.items():
            short = recipe.replace(train={**recipe.train.values(), "steps": 2, "workers": 0})
            sd.train(short, run=folder / f"first-{name}")
        write_toml(folder / "first.toml", short.written())
        sys.argv[1:] = ["train", str(folder / "first.toml"), "--run", str(folder / "first")]
        with suppress(SystemExit):
            command_line()
        modules.write_text(json.dumps([name for name in sys.modules if name != "__main__"]))

    if wait(child(work, log), 120) != 0:
        raise RuntimeError(log.read_text())
    for name in json.loads(modules.read_text()):
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)
    for recipe in recipes.values():
        assemble(recipe)
