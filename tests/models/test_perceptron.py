"""The perceptron: Rosenblatt's rule step by step, and what one layer and two can learn of the gates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.data.gates import OUTPUTS, ROWS
from seodang.models.perceptron import Perceptron, PerceptronConfig
from seodang.task.losses import perceptron_criterion


def perceptron(*weights: float, bias: float = 0.0) -> Perceptron:
    model = Perceptron(PerceptronConfig(in_features=len(weights)))
    with torch.no_grad():
        model.sum.weight.copy_(torch.tensor([weights]))
        model.sum.bias.fill_(bias)
    return model


def test_the_answer_is_a_step_of_the_weighted_sum() -> None:
    model = perceptron(2.0, -1.0, bias=-1.0)
    inputs = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    assert model(inputs).tolist() == [[0, 1], [0, 0], [0, -1], [0, 3]]
    assert model.step(inputs).tolist() == [1, 0, 0, 1]
    assert model(inputs).argmax(1).tolist() == model.step(inputs).tolist(), "a tie is a no"


@pytest.mark.parametrize("lr", [1.0, 0.25])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("weights", "bias"), [((0.0, 0.0), 0.0), ((0.5, -2.0), 0.3), ((-0.5, 1.0), -0.4)])
def test_one_update_is_rosenblatts(weights: tuple[float, float], bias: float, label: int, lr: float) -> None:
    model, x = perceptron(*weights, bias=bias), torch.tensor([0.7, -1.3])
    answer = int(weights[0] * 0.7 + weights[1] * -1.3 + bias > 0)
    perceptron_criterion(model(x[None]), torch.tensor([label])).backward()
    torch.optim.SGD(model.parameters(), lr=lr).step()
    expected = torch.tensor([*weights, bias]) + lr * (label - answer) * torch.tensor([0.7, -1.3, 1.0])
    torch.testing.assert_close(torch.cat([model.sum.weight[0], model.sum.bias]).detach(), expected)


def test_a_run_makes_the_same_steps_as_the_rule_written_out(tmp_path: Path) -> None:
    """Train one epoch at a time and replay its order by hand, starting from zero."""
    from seodang.data.dataset import generator

    run = sd.train("perceptron-and", run=tmp_path / "run", train={"epochs": 3, "threads": 1})
    w = torch.zeros(3)
    for epoch in range(3):
        for row in torch.randperm(4, generator=generator(run.recipe.seed, epoch)).tolist():
            x = torch.tensor([*ROWS[row], 1.0])
            w = w + (OUTPUTS["and"][row] - int(w @ x > 0)) * x
    model = run.model()
    assert isinstance(model, Perceptron)
    assert torch.cat([model.sum.weight[0], model.sum.bias]).tolist() == w.tolist()


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.num_classes: should be 2 \(got 10\)"):
        sd.train({"name": "x", "model": "perceptron", "data": "digits", "task": "classification", "optimizer": "sgd"},
                 run=tmp_path / "run")  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_one_unit_learns_and_but_not_xor_and_two_layers_learn_xor(tmp_path: Path, seed: int) -> None:
    def accuracy(recipe: str) -> float:
        run = sd.train(recipe, run=tmp_path / recipe, seed=seed, train={"threads": 1, "evaluate_every": 0})
        assert run.result is not None
        assert run.result["split"] == "test"
        return run.scores["accuracy"]

    assert accuracy("perceptron-and") == 1
    assert accuracy("perceptron-xor") <= 0.75
    assert accuracy("mlp-xor") == 1


@pytest.mark.parametrize("gate", ["or", "nand", "nor"])
def test_the_other_gates_a_line_separates_are_learned(tmp_path: Path, gate: str) -> None:
    settings = {"data.gate": gate, "train.threads": 1, "train.evaluate_every": 0}
    run = sd.train("perceptron-and", run=tmp_path / gate, **settings)
    assert run.scores["accuracy"] == 1


def test_no_unit_at_all_does_xor() -> None:
    """What perceptron-xor shows is no accident of training: a million random lines get three rows right at most."""
    torch.manual_seed(0)
    lines = torch.randn(1_000_000, 3)
    rows = torch.tensor([[*row, 1.0] for row in ROWS])
    right = ((lines @ rows.T > 0) == torch.tensor(OUTPUTS["xor"]).bool()).sum(1)
    assert right.max() == 3
