"""The depth test measures what theory says: sigmoid loses the gradient layer by layer, residual connections keep it."""

from __future__ import annotations

from typing import Any

import pytest

from seodang.core.errors import ConfigError
from seodang.core.recipe import Recipe
from seodang.training.depth_test import depth_test, facts_of
from seodang.visualize.depth import depth_figures, depth_verdict

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [32]},
    "data": {"name": "digits"},
    "task": {"name": "classification"},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "train": {"steps": 1, "batch_size": 32, "threads": 1},
}


def test_sigmoid_vanishes_and_residual_connections_and_relu_do_not() -> None:
    recipe = Recipe.of(RECIPE)
    found = list(depth_test(recipe, (1, 2, 16), ("sigmoid", "relu"), steps=3))
    assert [(item.activation, item.residual, item.depth) for item in found] == [
        ("sigmoid", False, 1), ("sigmoid", False, 2), ("sigmoid", False, 16), ("sigmoid", True, 2), ("sigmoid", True, 16),
        ("relu", False, 1), ("relu", False, 2), ("relu", False, 16), ("relu", True, 2), ("relu", True, 16)]  # fmt: skip
    first = {(item.activation, item.residual, item.depth): item for item in found}
    for what in ("first", "first_after"):
        values = {key: getattr(item, what) for key, item in first.items()}
        assert values["sigmoid", False, 16] < 1e-5 * values["sigmoid", False, 1]
        for key in (("sigmoid", True, 16), ("relu", False, 16), ("relu", True, 16)):
            assert 0.05 < values[key] / values[key[0], False, 1] < 20, key
    assert all(item.last > 0.05 for item in found), "the last layer always learns"
    facts = facts_of(found, recipe, 3)
    verdict = depth_verdict(facts["found"])
    assert "Vanishes: sigmoid (" in verdict and "sigmoid, residual (" in verdict.partition("Arrives:")[2]
    chart, after, table = depth_figures(facts["found"], 3)
    assert (chart.name, after.name, table.name) == ("depth", "depth-after", "depth-table")
    assert len(chart.series) == 4 and len(table.rows) == 10  # type: ignore[attr-defined]


def test_it_repeats() -> None:
    one, two = (list(depth_test(Recipe.of(RECIPE), (2,), ("tanh",), steps=2)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"model": {"name": "cnn"}}, {}, "model.name=cnn: has no residual to vary"),
        ({}, {"activations": ("relo",)}, "'relo' is no non-linearity of mlp. Did you mean 'relu'"),
        ({}, {"depths": (0, 4)}, r"Depths \[0, 4\]"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        next(depth_test(Recipe.of({**RECIPE, **changes}), **options))
