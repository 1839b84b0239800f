"""A task whose loss is NaN on the second rank in the fifth update: the number alone, not its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch.distributed as dist
from torch import Tensor, nn

from seodang.data.dataset import Batch
from seodang.task.base import tasks
from seodang.task.classification import Classification, ClassificationConfig

BAD = 5


@tasks.register({"poisoned": ClassificationConfig()})
class Poisoned(Classification):
    """Classification that goes wrong on one rank.

    Source: none; a fixture of tests.
    """

    calls = 0

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        self.calls += model.training
        bad = self.calls in (BAD, BAD + 1) and model.training and dist.get_rank() == 1  # the update, and its repetition
        for name, loss in super().losses(model, batch):
            yield name, loss + math.nan if bad else loss
