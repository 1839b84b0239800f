"""Your own model, dataset and task in one file. Train them with:

    seodang train own-recipe.toml --plugin own_everything.py

The data: points on two moons. The model: a network of sines. The task: tell the moons apart, with a margin.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import seodang as sd
from seodang.core.inputs import VectorInputs
from seodang.data.dataset import MemoryExamples, TableBatch, generator


class SineConfig(sd.Config):
    in_features: int = 2
    """Numbers in one input; the data decides."""
    out_features: int = 2
    """Classes; the data decides."""
    width: int = 32
    """Hidden units."""


@sd.architectures.register({"sine": SineConfig()})
class Sine(nn.Module):
    """Two dense layers with a sine between.

    Source: Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions", sec. 3.
    """

    def __init__(self, config: SineConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.in_features, config.width)
        self.out = nn.Linear(config.width, config.out_features)

    def forward(self, points: Tensor) -> Tensor:
        return self.out(torch.sin(self.hidden(points)))


class MoonsConfig(sd.Config):
    points: int = 400
    """Points in all."""
    noise: float = 0.1
    """Standard deviation of what is added to each coordinate."""


@sd.datasets.register({"moons": MoonsConfig()})
class Moons(sd.Dataset):
    """Two half circles that reach into each other.

    Source: scikit-learn's make_moons.
    """

    def prepare(self) -> None:
        draw = generator(self.seed, "moons")
        count = self.settings.points
        angle = torch.rand(count, generator=draw) * torch.pi
        self.labels = torch.arange(count) % 2
        upper = torch.stack([angle.cos(), angle.sin()], 1)
        lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
        self.points = torch.where(self.labels[:, None] == 0, upper, lower)
        self.points += self.settings.noise * torch.randn(count, 2, generator=draw)
        train, valid = count * 6 // 10, count * 2 // 10
        self.rows = {"train": slice(0, train), "valid": slice(train, train + valid), "test": slice(train + valid, None)}
        self.facts = sd.Facts(
            inputs=VectorInputs(size=2),
            classes=("upper", "lower"),
            sizes={name: len(self.labels[rows]) for name, rows in self.rows.items()},
        )

    def split(self, name: str) -> MemoryExamples:
        rows = self.rows[name]
        return MemoryExamples(TableBatch, self.points[rows], self.labels[rows])


class MarginConfig(sd.Config):
    margin: float = 1.0
    """How far ahead the right class must be."""


@sd.tasks.register({"margin": MarginConfig()})
class Margin(sd.Task):
    """Classify with the multi-class hinge loss.

    Source: Crammer & Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """

    monitor = ("accuracy", "max")

    def losses(self, model: nn.Module, batch: TableBatch) -> Iterator[tuple[str, Tensor]]:
        # A SUM over the batch: the trainer divides, so accumulation and many devices give the same update.
        yield (
            "model",
            nn.functional.multi_margin_loss(
                model(batch.features), batch.targets, margin=self.settings.margin, reduction="sum"
            ),
        )

    def score(self, model: nn.Module, batch: TableBatch) -> dict[str, sd.Tally]:
        right = (model(batch.features).argmax(1) == batch.targets).sum()
        return {"accuracy": sd.Tally(right, len(batch.targets))}

    def predict(self, model: nn.Module, inputs: str, **options: object) -> sd.Prediction:
        point = torch.tensor([[float(number) for number in inputs.split(",")]])
        name = self.facts.classes[int(model(point).argmax())]
        return sd.Prediction(name, {"class": name})
