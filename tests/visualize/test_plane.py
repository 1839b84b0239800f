"""A decision boundary is the model's own answers, place by place."""

from __future__ import annotations

import torch
from torch import nn

from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, VectorInputs, has_two_inputs
from seodang.visualize.answers import Answers
from seodang.visualize.colour import PALETTE, rgb
from seodang.visualize.plane import class_probabilities, decision_boundary, ground_colours, plane

FACTS = Facts(inputs=VectorInputs(size=2, mean=(10.0, 100.0), std=(2.0, 50.0)), classes=("no", "yes"), sizes={})


def test_which_inputs_are_a_plane() -> None:
    number, category = Column(name="a", kind="number"), Column(name="b", kind="category", categories=("x", "y"))
    assert has_two_inputs(FACTS)
    assert not has_two_inputs(Facts(inputs=VectorInputs(size=3), sizes={}))
    assert has_two_inputs(Facts(inputs=TableInputs(columns=(number, number)), sizes={}))
    assert not has_two_inputs(Facts(inputs=TableInputs(columns=(category,)), sizes={}))
    image = ImageInputs(channels=1, height=1, width=2, mean=(0.0,), std=(1.0,))
    assert not has_two_inputs(Facts(inputs=image, sizes={}))


def test_the_grid_covers_the_examples_in_the_units_of_the_data() -> None:
    inputs = torch.tensor([[0.0, -1.0], [1.0, 1.0]])
    found = plane(inputs, FACTS, side=5)
    assert found.extent == (10 - 0.25 * 2, 10 + 1.25 * 2, 100 - 1.5 * 50, 100 + 1.5 * 50)
    points = found.points.view(5, 5, 2)
    assert points[0, 0].tolist() == [-0.25, 1.5], "the first row of a picture is its top"
    assert points[-1, -1].tolist() == [1.25, -1.5]


def test_the_ground_is_what_the_model_answers() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    found = plane(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), FACTS, side=24)
    chances = class_probabilities(model, found.points, torch.Size([2]))
    wanted = torch.stack([model(point[None])[0].softmax(-1) for point in found.points])
    assert torch.allclose(chances, wanted, atol=1e-6)
    colours = ground_colours(chances, side=24)
    assert colours.shape == (24, 24, 3)
    winner = wanted.argmax(-1).view(24, 24)
    blue = torch.tensor(rgb(PALETTE[0]), dtype=torch.float32)
    place = int(wanted[:, 0].argmax())
    row, column = place // 24, place % 24
    mixed = wanted[place, 0] * blue + wanted[place, 1] * torch.tensor(rgb(PALETTE[1]), dtype=torch.float32)
    if (winner[max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1] == winner[row, column]).all():
        assert torch.allclose(torch.tensor(colours[row, column]).float(), 255 - (255 - mixed) * 0.42, atol=1)


def test_a_boundary_is_drawn_where_the_answer_changes_and_nowhere_else() -> None:
    chances = torch.zeros(16, 16, 2)
    chances[:, :6, 0] = chances[:, 6:, 1] = 1.0
    colours = ground_colours(chances.view(-1, 2), side=16)
    dark = (colours == [70, 76, 84]).all(-1)
    assert dark[:, 6].all()
    assert dark.sum() == 16


def test_the_points_carry_the_truth_not_the_answer() -> None:
    model = nn.Linear(2, 2)
    inputs, targets = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0, 1])
    answers = Answers("test", 3, inputs, targets, model(inputs).detach())
    figure = decision_boundary(model, answers, FACTS)
    assert [(series.name, list(series.x), list(series.y)) for series in figure.series] == [
        ("no", [12.0], [100.0]), ("yes", [10.0, 10.0], [100.0, 150.0])]  # fmt: skip
