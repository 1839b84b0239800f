"""The 8×8 digits that come inside scikit-learn: real data with no download."""

from __future__ import annotations

import torch
from pydantic import Field

from seodang.core.config import Config
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.data.augment import Augment
from seodang.data.dataset import Dataset, Examples, datasets
from seodang.data.images import MemoryImages, channel_statistics
from seodang.data.splits import fingerprint, stratified_split


class DigitsConfig(Config):
    """How the 1,797 digits are split and varied."""

    valid: float = Field(0.1, ge=0, lt=1)
    """Share held out to choose the best checkpoint."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share held out for the final score."""
    augment: Augment = ()
    """Random changes of training pictures, in order: names, or tables with settings."""


@datasets.register({"digits": DigitsConfig()})
class Digits(Dataset):
    """1,797 handwritten digits of 8×8 grey pixels, inside scikit-learn.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0; test part.
    """

    settings: DigitsConfig

    def prepare(self) -> None:
        from sklearn.datasets import load_digits  # lazy: 1 s

        found = load_digits()
        self._images = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        self._labels = torch.from_numpy(found.target).long()
        shares = {"valid": self.settings.valid, "test": self.settings.test}
        self._rows = stratified_split(self._labels, shares, self.seed)
        mean, std = channel_statistics(self._images[self._rows["train"]])
        self.facts = Facts(
            inputs=ImageInputs(channels=1, height=8, width=8, mean=mean, std=std),
            classes=tuple(map(str, found.target_names)),
            sizes={name: len(rows) for name, rows in self._rows.items()},
            licence="CC BY 4.0",
            source="scikit-learn, load_digits",
            notes=(say("Split at random with seed {seed}, every class in proportion.", seed=self.seed),),
            digest=fingerprint([self._images, self._labels], self._rows),
        )

    def where(self, split: str, row: int) -> str:
        return f"scikit-learn, load_digits().images[{int(self._rows[split][row])}]"

    def split(self, name: str) -> Examples:
        rows = self._rows[name]
        augment = self.settings.augment if name == "train" else ()
        return MemoryImages(self._images[rows], self._labels[rows], self.facts.inputs, augment)
