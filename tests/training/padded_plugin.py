"""A plug-in for tests: classification in which every label above 5 is padding that must not count."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

import seodang as sd
from seodang.task.losses import cross_entropy


class PaddedConfig(sd.Config):
    """Nothing to set."""


@sd.tasks.register({"padded": PaddedConfig()})
class Padded(sd.Task):
    """Classify the digits 0 to 5; the others are padding.

    Source: none, a test.
    """

    def size(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (batch[1] <= 5).sum()

    def losses(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Iterator[tuple[str, Tensor]]:
        images, labels = batch
        yield "model", cross_entropy(model(images), labels.where(labels <= 5, -1))
