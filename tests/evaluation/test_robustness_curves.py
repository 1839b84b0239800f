"""Noise in inputs and weights: as much as was asked for, where it belongs, and gone afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import seodang as sd
from seodang.api import robustness
from seodang.core.errors import ConfigError
from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs
from seodang.evaluation.robustness import perturbed, with_noise


def test_pictures_get_noise_in_grey_levels_and_stay_within_black_and_white() -> None:
    inputs = ImageInputs(channels=3, height=40, width=40, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1))
    facts = Facts(inputs=inputs, classes=("a", "b"), sizes={"test": 1})
    mean, std = torch.tensor(inputs.mean).view(3, 1, 1), torch.tensor(inputs.std).view(3, 1, 1)
    pixels = torch.full((4, 3, 40, 40), 0.5)
    noisy = with_noise((pixels - mean) / std, torch.randn(4, 3, 40, 40), 16.0, facts) * std + mean
    assert (noisy - 0.5).std().item() * 255 == pytest.approx(16, rel=0.03)
    loud = with_noise((pixels - mean) / std, torch.randn(4, 3, 40, 40), 500.0, facts) * std + mean
    assert loud.min() >= -1e-6
    assert loud.max() <= 1 + 1e-6
    given = (pixels - mean) / std
    assert with_noise(given, torch.randn(4, 3, 40, 40), 0.0, facts) is given


def test_rows_get_noise_in_their_numbers_only() -> None:
    columns = (
        Column(name="a", kind="number", mean=5, std=2, missing=True),
        Column(name="b", kind="category", categories=("x", "y")),
    )
    facts = Facts(inputs=TableInputs(columns=columns), classes=("p", "q"), sizes={"test": 1})
    rows = torch.zeros(5000, 4)
    noisy = with_noise(rows, torch.randn(5000, 4), 0.3, facts)
    assert noisy[:, 0].std().item() == pytest.approx(0.3, rel=0.05)
    assert (noisy[:, 1:] == 0).all()


def test_weights_get_noise_in_proportion_and_are_put_back() -> None:
    model = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 1, bias=True))
    with torch.no_grad():
        model[0].weight.mul_(10)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with perturbed(model, 0.1, (0, "weights", 0)):
        for name in ("0.weight", "1.weight"):
            change = dict(model.named_parameters())[name] - before[name]
            assert (change.std() / before[name].std()).item() == pytest.approx(
                0.1, rel=0.25 if name == "1.weight" else 0.03
            )
        assert torch.equal(model[1].bias, before["1.bias"])  # one number has no spread to be in proportion to
        noisy = model[0].weight.detach().clone()
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    with perturbed(model, 0.1, (0, "weights", 0)):
        assert torch.equal(model[0].weight, noisy)
    with perturbed(model, 0.1, (0, "weights", 1)):
        assert not torch.equal(model[0].weight, noisy)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    train = {"threads": 1, "epochs": 8, "evaluate_every": 0}
    return sd.train("digits-mlp", run=tmp_path_factory.mktemp("robust") / "run", data={"augment": []}, train=train)


@pytest.mark.parametrize(("where", "levels"), [("inputs", [200, 0, 100]), ("weights", [4.0, 0, 1.0])])
def test_curves(run: Any, where: Any, levels: list[float]) -> None:
    found = robustness(run, levels, where=where, repeats=3)
    points = found["runs"]["run"]
    assert found["levels"] == [point["level"] for point in points] == sorted(levels)
    assert points[0]["values"] == [pytest.approx(sd.evaluate(run)["accuracy"])]
    assert points[0]["mean"] > points[1]["mean"] > points[2]["mean"]
    for point in points[1:]:
        assert len(set(point["values"])) > 1
        assert point["mean"] == pytest.approx(np.mean(point["values"]))
        assert point["standard_error"] == pytest.approx(np.std(point["values"], ddof=1) / 3**0.5)
    assert robustness(run, levels, where=where, repeats=3) == found
    assert sd.evaluate(run)["accuracy"] == points[0]["values"][0]


def test_what_makes_no_curve_is_named(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="levels of noise are"):
        robustness(run, [0, -1])
    with pytest.raises(ConfigError, match="levels of noise are"):
        robustness(run, [])
    with pytest.raises(ConfigError, match="--repeats=0"):
        robustness(run, [0, 1], repeats=0)
