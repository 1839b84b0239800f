"""Bootstrap samples: a training split drawn anew from itself, with replacement. The one place for every dataset."""

from __future__ import annotations

import torch
from torch import Tensor

from seodang.core.language import say
from seodang.data.dataset import Batch, Draws, Examples, generator


class Resampled:
    """As many examples as `examples` has, drawn from them with replacement: some come several times, 37 % not at all.

    The sample depends on (seed, number) alone. Statistics, validation and test examples stay those of the whole data.

    Source: Efron 1979, "Bootstrap methods", Annals of Statistics 7, sec. 2; for training, Breiman 1996, "Bagging
    predictors", Machine Learning 24, sec. 1.
    """

    def __init__(self, examples: Examples, seed: int, number: int) -> None:
        self.examples = examples
        count = len(examples)
        self.rows = torch.randint(count, (count,), generator=generator(seed, "bootstrap", number))

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor, draws: Draws | None) -> Batch:
        return self.examples.batch(self.rows[rows], draws)

    def identify(self, rows: Tensor, draws: Draws | None) -> tuple[str, Tensor]:
        """Return which examples of the whole split these are."""
        own = getattr(self.examples, "identify", None)
        drawn = self.rows[rows]
        return own(drawn, draws) if own else (say("row"), drawn)
