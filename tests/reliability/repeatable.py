"""The bytes of every shipped recipe, shrunk, trained in this process; and the loss curves that are kept as golden.

python -m tests.reliability.repeatable bytes                what each recipe ends as, as JSON
python -m tests.reliability.repeatable curves               100 losses of three recipes, as hex floats
python -m tests.reliability.repeatable curves --keep        write them to tests/reliability/golden: say why in the commit
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import seodang as sd
from seodang.core.errors import DataError
from seodang.core.shipped import recipe_names
from seodang.training.resolve import read_recipe
from tests.contracts.test_recipes import shrunk
from tests.harness import TENSORS

GOLDEN = Path(__file__).parent / "golden"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in recipe_names()},
    "digits-cnn, 2 threads": ("digits-cnn", {"train.threads": 2}),
    "digits-cnn, bfloat16": ("digits-cnn", {"train.precision": "bfloat16"}),
    "digits-cnn, 2 threads, bfloat16": ("digits-cnn", {"train.threads": 2, "train.precision": "bfloat16"}),
    "digits-mlp, 2 workers": ("digits-mlp", {"train.workers": 2}),
    "digits-mlp, accumulated": ("digits-mlp", {"train.accumulate": 2}),
}
"""What → recipe and what is changed in it, beyond its size."""
CURVES: dict[str, dict[str, Any]] = {
    "digits-cnn": {},
    "diabetes-mlp": {},
    "cartpole-dqn": {"task.start": 32, "task.worlds": 4, "task.memory": 1000, "data.valid": 2, "data.test": 2},
}
"""Recipes whose data needs no file of ours; one of pictures, one of a table, one of an agent."""
PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}
"""The instructions every processor of a kind has: with them the curves are the same on all."""


def build() -> str:
    """Return what golden curves hold for."""
    return f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def final_bytes(order: int) -> dict[str, str]:
    """Train every variant a few updates; return what → SHA-256 of its weights, moments and generators."""
    found = {}
    for what, (name, changes) in sorted(VARIANTS.items(), reverse=order < 0):
        try:
            run = sd.train(shrunk(name, **changes), run=Path(tempfile.mkdtemp()) / "run")
        except DataError as error:
            found[what] = f"no data: {str(error).splitlines()[0][:80]}"
            continue
        last = run.checkpoints[-1]
        found[what] = hashlib.sha256(b"".join((last / name).read_bytes() for name in TENSORS)).hexdigest()
    return found


def curve(name: str) -> list[str]:
    """Return the first hundred losses of a recipe, exactly."""
    changes = {"train.steps": 100, "train.threads": 1, "train.log_every": 1, "train.evaluate_every": 0, "train.save_every": 0,
               "train.precision": "float32", "train.batch_size": 32, **CURVES[name]}  # fmt: skip
    run = sd.train(read_recipe(name, None, (), changes)[0], run=Path(tempfile.mkdtemp()) / "run")
    return [next(iter(event["losses"].values())).hex() for event in run.events if event["event"] == "stepped"]


def main() -> None:
    what, *options = sys.argv[1:]
    if what == "bytes":
        print(json.dumps(final_bytes(-1 if "--backwards" in options else 1)))
        return
    found = {"build": build(), "curves": {name: curve(name) for name in CURVES}}
    if "--keep" in options:
        (GOLDEN / "curves.json").write_text(json.dumps(found, indent=0) + "\n")
    else:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
