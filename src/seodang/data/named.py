"""What named picture datasets share: an official training and test part, held-out rows, statistics, facts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.data.augment import Augment
from seodang.data.dataset import Dataset, Examples
from seodang.data.images import MemoryImages, channel_statistics
from seodang.data.splits import fingerprint, stratified_sample


class NamedImagesConfig(Config):
    """What is trained on and how pictures are varied."""

    valid: int = Field(0, ge=0)
    """Pictures of the training part held out, drawn at random with every class in proportion, to choose the best
    checkpoint. With 0 nothing is chosen: the test part is watched, the last weights are kept."""
    limit: int | None = Field(None, gt=0)
    """Train on this many pictures only, drawn at random with every class in proportion."""
    test_limit: int | None = Field(None, gt=0)
    """Test on this many pictures only: quicker, less exact."""
    augment: Augment = ()
    """Random changes of training pictures, in order: names, or tables with settings."""
    normalize: Literal["statistics", "unit", "symmetric"] = "statistics"
    """Mean 0 and deviation 1 over the training pictures; or grey levels from 0 to 1; or from -1 to 1."""


class Part(NamedTuple):
    """One official part of a dataset."""

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> Part:
        """Return the part with pictures (N, H, W) or (N, C, H, W) of bytes and their class numbers."""
        pictures = torch.from_numpy(np.array(images, order="C"))  # a copy: what was read may be read-only
        return cls(pictures.unsqueeze(1) if pictures.ndim == 3 else pictures, torch.from_numpy(labels.astype(np.int64)))


class NamedImages(Dataset):
    """A picture dataset with an official training and test part; a subclass says how they are read."""

    settings: NamedImagesConfig
    classes: tuple[str, ...]
    licence: str
    source: str

    def read(self) -> tuple[Part, Part]:
        """Return the training and the test part.

        Raises: DataError
        """
        raise NotImplementedError(f"{type(self).__name__}.read")

    def prepare(self) -> None:
        train, test = self.read()
        self._parts = {"train": train, "valid": train, "test": test}
        self._rows = self._choose_rows(train.labels, test.labels)
        rows = self._rows["train"]
        mean, std = channel_statistics(train.images if len(rows) == len(train.images) else train.images[rows])
        if self.settings.normalize != "statistics":
            unit = self.settings.normalize == "unit"
            mean, std = ((0.0 if unit else 0.5,) * len(mean), (1.0 if unit else 0.5,) * len(std))
        channels, height, width = train.images.shape[1:]
        self.facts = Facts(
            inputs=ImageInputs(channels=channels, height=height, width=width, mean=mean, std=std),
            classes=self.classes,
            sizes={name: len(rows) for name, rows in self._rows.items()},
            licence=self.licence,
            source=self.source,
            notes=self._notes(),
            digest=fingerprint([*train, *test], self._rows),
        )

    def split(self, name: str) -> Examples:
        part, rows = self._parts[name], self._rows[name]
        augment = self.settings.augment if name == "train" else ()
        images, labels = part if len(rows) == len(part.labels) else (part.images[rows], part.labels[rows])
        return MemoryImages(images, labels, self.facts.inputs, augment)

    def where(self, split: str, row: int) -> str:
        part = "test" if split == "test" else "train"
        return say("picture {number} of the published '{part}' part", number=int(self._rows[split][row]), part=part)

    def _choose_rows(self, train: Tensor, test: Tensor) -> dict[str, Tensor]:
        """Hold out first, then limit: a longer run on more pictures is judged by the same ones."""
        settings = self.settings
        if settings.valid + 1 > len(train):
            raise ConfigError("data.valid={valid}: there are only {count} training pictures.",
                              valid=settings.valid, count=len(train))  # fmt: skip
        held, left = stratified_sample(train, settings.valid, self.seed, "valid")
        if settings.limit is not None and settings.limit < len(left):
            left = left[stratified_sample(train[left], settings.limit, self.seed, "limit")[0]]
        rows = {"train": left, **({"valid": held} if settings.valid else {}), "test": torch.arange(len(test))}
        if settings.test_limit is not None and settings.test_limit < len(test):
            rows["test"] = stratified_sample(test, settings.test_limit, self.seed, "test_limit")[0]
        return rows

    def _notes(self) -> tuple[str, ...]:
        notes = [say("Training and test part as published.")]
        if self.settings.valid:
            notes.append(say("{count} training pictures held out with seed {seed}, every class in proportion, to choose "
                             "the best checkpoint.", count=self.settings.valid, seed=self.seed))  # fmt: skip
        else:
            notes.append(say("Nothing is chosen by the test part: the last weights are kept."))
        if self.settings.test_limit and self.settings.test_limit < len(self._parts["test"].labels):
            notes.append(say("Tested on {count} pictures of {all} only.",
                             count=self.settings.test_limit, all=len(self._parts["test"].labels)))  # fmt: skip
        return tuple(notes)
