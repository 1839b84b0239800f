"""Logic gates: the four rows of a truth table, where the history of neural networks begins."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from seodang.core.config import Config
from seodang.core.inputs import Facts, VectorInputs
from seodang.core.language import say
from seodang.data.dataset import Dataset, Examples, MemoryExamples, TableBatch, datasets
from seodang.data.splits import fingerprint

ROWS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
OUTPUTS = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "nand": (1, 1, 1, 0), "nor": (1, 0, 0, 0), "xor": (0, 1, 1, 0)}


class GatesConfig(Config):
    """Which truth table."""

    gate: Literal["and", "or", "nand", "nor", "xor"] = "and"
    """One line through the square separates all of them but xor."""


@datasets.register({"gates": GatesConfig()})
class Gates(Dataset):
    """The truth table of a logic gate: two inputs of 0 or 1, one answer, four rows.

    Source: McCulloch & Pitts 1943, "A logical calculus of the ideas immanent in nervous activity"; that one layer
    cannot do xor: Minsky & Papert 1969, "Perceptrons".
    """

    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    settings: GatesConfig

    def prepare(self) -> None:
        self._features = torch.tensor(ROWS)
        self._labels = torch.tensor(OUTPUTS[self.settings.gate])
        rows = torch.arange(len(ROWS))
        self.facts = Facts(
            inputs=VectorInputs(size=2),
            classes=("0", "1"),
            sizes={"train": len(ROWS), "test": len(ROWS)},
            licence="none needed",
            source="the truth table itself",
            notes=(say("A truth table has four rows and no others: training and test are the same four."),),
            digest=fingerprint([self._features, self._labels], {"train": rows, "test": rows}),
        )

    def split(self, name: str) -> Examples:
        return MemoryExamples(TableBatch, self._features, self._labels)
