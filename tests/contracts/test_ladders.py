"""Every shipped ladder: it is read, every variant can be made, and every variant trains two steps to a score."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.comparison.comparing import Terms, ladder_plan
from seodang.comparison.ladder import Ladder
from seodang.core.shipped import LADDERS, ladder_names, recipe_names
from seodang.data.dataset import datasets
from seodang.data.mnist import MNIST
from seodang.data.named import Part
from tests.conftest import needs_data

TINY = {"train.steps": 2, "train.evaluate_every": 0, "train.log_every": 1, "train.threads": 1, "train.save_every": 0}


def variants() -> list[Any]:
    found = []
    for name in ladder_names():
        for variant in Ladder.read(LADDERS / f"{name}.toml").rungs():
            found.append(pytest.param(name, variant.name, id=f"{name}: {variant.name}"))
    return found


def test_no_ladder_is_called_as_a_recipe() -> None:
    assert ladder_names()
    assert not set(ladder_names()) & set(recipe_names())


@pytest.mark.parametrize("name", ladder_names())
def test_the_file_says_what_it_is_and_how_to_run_it(name: str) -> None:
    ladder = Ladder.read(LADDERS / f"{name}.toml")
    header = [line for line in (LADDERS / f"{name}.toml").read_text().splitlines() if line.startswith("#")]
    assert ladder.name == name
    assert ladder.about.endswith(".")
    assert ladder.seeds >= 3
    assert f"#   seodang compare {name}" in header
    (measured,) = [line for line in header if line.startswith("# Measured: ")]
    assert "not yet" not in measured, "seodang check NAME --measure --write"
    rows = {line.removeprefix("#   ").split("  ")[0] for line in header[header.index(measured) + 1 :]}
    assert rows == {variant.name for variant in ladder.rungs()}, "measured before the last change: measure it again"


@pytest.mark.parametrize("name", ladder_names())
def test_its_page_holds_what_was_measured(name: str) -> None:
    root = Path(__file__).parents[2] / "docs" / "ladders"
    text = (root / f"{name}.md").read_text()
    for variant in Ladder.read(LADDERS / f"{name}.toml").rungs():
        assert f"| {variant.name} |" in text
    assert f"]({name}.svg)" in text
    assert (root / f"{name}.svg").stat().st_size < 100_000


@pytest.mark.parametrize("name", ladder_names())
def test_every_variant_is_a_recipe(name: str) -> None:
    ladder = Ladder.read(LADDERS / f"{name}.toml")
    plan = ladder_plan(ladder, {}, Terms(), seeds=1)
    assert [run.variant for run in plan.runs] == [variant.name for variant in ladder.rungs()]
    assert len({run.recipe.digest() for run in plan.runs}) == len(plan.runs), "two variants that do the same"


@cache
def mnist() -> tuple[Part, Part]:
    """Return the first pictures of MNIST, read once for all variants."""
    return tuple(Part(part.images[:1000], part.labels[:1000]) for part in READ(datasets.make(sd.Choice(name="mnist"))))  # type: ignore[return-value]


READ = MNIST.read


@needs_data("mnist")
@pytest.mark.parametrize(("name", "variant"), variants())
def test_every_variant_trains_two_steps(
    name: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "read", lambda self: mnist())
    monkeypatch.setattr("seodang.visualize.report.write_report", lambda *parts: None)
    ladder = Ladder.read(LADDERS / f"{name}.toml")
    plan = ladder_plan(ladder, {}, Terms(), seeds=1)
    recipe = next(run.recipe for run in plan.runs if run.variant == variant)
    size, valid = recipe.train.batch_size, recipe.data.settings.get("valid")
    small = {"data.limit": 100, "data.test_limit": 50, **({"data.valid": 50} if valid else {})}
    run = sd.train(recipe, run=tmp_path / "run", **TINY, **small,
                   **{"train.batch_size": size if size in ("all", 1) else 16})  # fmt: skip
    assert run.result is not None
    assert run.result["steps"] == 2
    assert math.isfinite(run.result["scores"]["loss"])
