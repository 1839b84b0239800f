"""What the bytes of a result depend on: kept in every checkpoint, compared before a run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from seodang import __version__
from seodang.core.errors import RunError
from seodang.core.inputs import Facts
from seodang.core.recipe import Recipe
from seodang.training.devices import Devices, machine


def numeric_facts(recipe: Recipe, facts: Facts, devices: Devices) -> dict[str, Any]:
    """Return everything that decides a result to the last bit."""
    here = machine()
    return {
        "seodang": __version__,
        "code": code_digest(),
        "recipe": recipe.digest(),
        "data": facts.digest,
        "torch": here["torch"],
        "cpu_capability": here["cpu_capability"],
        "device": devices.kind,
        "precision": devices.precision,
        "threads": devices.threads,
        "world": devices.world,
    }


def refuse_drift(then: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> None:
    """Raise RunError naming every fact that differs."""
    differ = [f"{name}: {then.get(name)} → {value}" for name, value in now.items() if then.get(name) != value]
    if differ:
        raise RunError(
            "{path}: going on here would not give the same result: {differ}. "
            "Put that back as it was, or accept it: --allow-numeric-drift",
            path=run,
            differ="; ".join(differ),
        )


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return a fingerprint of the code that decides results, as it was when this process first asked."""
    root = Path(__file__).parent.parent
    total = hashlib.sha256()
    for package in ("layers", "models", "data", "task", "training", "generate"):
        for file in sorted((root / package).glob("*.py")):
            total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]
