"""Losses, all as sums: the trainer alone divides, so accumulation, padding and many devices change nothing."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "... K"], labels: Int[Tensor, " ..."], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    r"""Return $-\sum \log \mathrm{softmax}(z)_y$ in nats; labels of -1 do not count.

    Source: label smoothing as in Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    return F.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=-1, label_smoothing=smoothing, reduction="sum"
    )


def perceptron_criterion(logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    r"""Return $\sum z_{\hat y} - z_y$, by how much each wrong answer $\hat y$ beats the right one; a tie is no win for y.

    Its gradient is 0 for a right answer; for a wrong one it moves the weights of $y$ by $+x$ and of $\hat y$ by $-x$.
    With two classes and logits (0, z) that is exactly Rosenblatt's $w ← w + η (y - \hat y) x$. The first of equal
    logits is the answer, as in `argmax`, so that learning starts from zero weights too.

    Source: Rosenblatt 1962, "Principles of neurodynamics", ch. 5; several classes Duda & Hart 1973, sec. 5.12.
    """
    answers = logits.argmax(1, keepdim=True)
    return (logits.gather(1, answers) - logits.gather(1, labels[:, None])).float().sum()


def squared_error(predictions: Float[Tensor, " ..."], targets: Float[Tensor, " ..."]) -> Float[Tensor, ""]:
    r"""Return $\sum (\hat y - y)^2$."""
    return F.mse_loss(predictions.float(), targets.float(), reduction="sum")


def binary_cross_entropy(logits: Float[Tensor, " ..."], targets: Float[Tensor, " ..."]) -> Float[Tensor, ""]:
    r"""Return $-\sum y \log σ(z) + (1 - y) \log(1 - σ(z))$ in nats; targets may lie between 0 and 1."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
