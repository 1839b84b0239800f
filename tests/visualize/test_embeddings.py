"""Embeddings are what the last layer is given; neighbours and votes are those of plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.data.dataset import Examples
from seodang.visualize.embeddings import Neighbours, agreement, embed, embed_rows, neighbours, plane
from seodang.visualize.figure import Images, Scatter, Table
from seodang.visualize.near import Embedded, first_of_each, near_figures

FACTS = Facts(
    inputs=ImageInputs(channels=1, height=6, width=6, mean=(0.5,), std=(0.25,)), classes=("a", "b", "c"), sizes={}
)


def pictures(count: int) -> Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(4))


def test_what_the_last_layer_is_given_or_another_layer_gives() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).train()
    inputs = pictures(5)
    with torch.no_grad():
        maps = model[:2](inputs)
    assert torch.allclose(embed(model, inputs), maps.flatten(1))
    assert torch.allclose(
        embed(model, inputs, "1"), torch.stack([torch.stack([channel.mean() for channel in one]) for one in maps])
    )
    averaging = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        assert torch.allclose(embed(averaging, inputs), averaging[:2](inputs).mean((2, 3)))
    assert model.training
    with pytest.raises(ConfigError, match="layer=5: is no layer"):
        embed(model, inputs, "5")
    with pytest.raises(ConfigError, match="name a layer"):
        embed(nn.Flatten(), inputs)


class Known(Examples):
    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: Tensor, draws: object) -> tuple[Tensor, Tensor]:
        return self.inputs[rows], self.labels[rows]


def test_rows_of_a_split() -> None:
    model, inputs, labels = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), pictures(100), torch.arange(100) % 3
    values, found = embed_rows(model, Known(inputs, labels), torch.arange(99, 20, -1))
    assert torch.equal(values, inputs[torch.arange(99, 20, -1)].flatten(1))
    assert found is not None
    assert torch.equal(found, labels[torch.arange(99, 20, -1)])


def test_neighbours_are_those_of_loops() -> None:
    draw = torch.Generator().manual_seed(9)
    values, asked = torch.randn(30, 4, generator=draw), torch.randn(3, 4, generator=draw)

    def cosine(one: Tensor, other: Tensor) -> float:
        product = sum(a * b for a, b in zip(one.tolist(), other.tolist(), strict=True))
        return product / math.sqrt(sum(a * a for a in one.tolist()) * sum(b * b for b in other.tolist()))

    own, others = neighbours(values, values, 5, same=True), neighbours(asked, values, 5)
    for place in range(30):
        order = sorted((row for row in range(30) if row != place), key=lambda row: -cosine(values[place], values[row]))[
            :5
        ]
        assert own.rows[place].tolist() == order
        assert own.cosines[place].tolist() == pytest.approx([cosine(values[place], values[row]) for row in order])
    for place in range(3):
        assert others.rows[place].tolist() == sorted(range(30), key=lambda row: -cosine(asked[place], values[row]))[:5]
    assert neighbours(values[:3], values[:3], 7, same=True).rows.shape == (3, 2)


def test_votes() -> None:
    near = Neighbours(torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]), torch.ones(4, 3))
    assert agreement(near, torch.tensor([0, 0, 0, 1])) == 0.75  # the last is outvoted
    assert agreement(near, torch.tensor([0, 0, 0, 0])) == 1.0


def test_the_plane_holds_the_largest_spread() -> None:
    draw = torch.Generator().manual_seed(3)
    values = torch.randn(50, 5, generator=draw) * torch.tensor([1.0, 9.0, 0.5, 4.0, 0.1]) + 3
    found = plane(values)
    spread = torch.linalg.eigvalsh(torch.cov(values.double().T)).flip(0)
    assert found.shares == pytest.approx((spread[:2] / spread.sum()).tolist())
    assert found.points.var(0).tolist() == pytest.approx(spread[:2].tolist())
    assert plane(torch.ones(3, 1)).shares == (0.0, 0.0)


def test_figures() -> None:
    inputs, labels = pictures(12), torch.arange(12) % 3
    values = torch.nn.functional.one_hot(labels, 3).float() + 0.01 * inputs.flatten(1)[:, :3]
    found = Embedded("test", torch.arange(12), values, labels)
    drawn, sheet, table = near_figures(found, FACTS, inputs, None)
    assert isinstance(drawn, Scatter)
    assert [series.name for series in drawn.series] == ["a", "b", "c"]
    assert isinstance(sheet, Images)
    assert len(sheet.images) == 3 * 8
    assert [sheet.captions[row].partition("\n")[0] for row in (0, 1, 2, 3)] == ["a"] * 4
    assert isinstance(table, Table)
    assert "right for 100 %" in table.about
    assert table.rows[0][:2] == ("a", "4")
    _, own, _ = near_figures(found, FACTS, inputs, (inputs[:1], values[:1], ["cat.png"]))
    assert isinstance(own, Images)
    assert own.captions[:2] == ("cat.png", "a\n1")
    assert first_of_each(torch.tensor([2, 0, 2, 1]), 4) == [0, 1, 3]
    assert first_of_each(None, 4) == [0, 1, 2, 3]
