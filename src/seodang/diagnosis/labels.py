"""What the neighbours of an example say about its answer: wrong labels, labels without any relation, too small a network.

Neighbours are an out-of-sample judge that needs no training: an example never votes on itself.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.diagnosis.finding import Finding, retrain
from seodang.diagnosis.material import Sample, look_at
from seodang.diagnosis.story import Story

NEIGHBOURS = 10
LEAST = 100
"""Examples below which neighbours are too far off to say anything."""
AGREED = 0.6
"""Share of an example's neighbours that agree on another class than its own, to suspect its label."""
ALONE = 0.2
"""Share of them that have its own class, at most."""
SUSPECT = 0.10
"""Share of suspects from which labels are called noisy: clean data of the curriculum has up to 5 %."""
ORDERLY = 0.9
"""Share of examples whose neighbours agree with them once every label is replaced by what its neighbours say. Below it the classes
themselves lie mixed, and disagreement says nothing about labels."""
SIGMAS = 3.0
"""Standard deviations above chance from which labels have something to do with inputs."""
BEHIND = 0.15
"""By how much a network's accuracy (or R²) on its own training examples is below what neighbours reach."""


class Votes(NamedTuple):
    """What the neighbours of each example say: shares of the classes, and their mean answer where it is a quantity."""

    shares: Tensor | None
    nearest: Tensor
    """(N, k) places of the neighbours in the sample."""


def votes(some: Sample, classes: int) -> Votes | None:
    """Return the votes of the nearest neighbours (by distance of inputs), or None if there are too few examples.

    Source: leave-one-out nearest neighbours, Cover & Hart 1967.
    """
    flat = some.inputs.flatten(1).float()
    answers = some.answers
    if len(flat) < LEAST or answers is None or flat.std(0).max().item() < 1e-6:
        return None
    scale = flat.std(0)
    flat = (flat - flat.mean(0)) / torch.where(scale > 0.05 * scale.max(), scale, scale.max())
    distances = torch.cdist(flat, flat)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.topk(NEIGHBOURS, largest=False).indices
    if answers.is_floating_point():
        return Votes(None, nearest)
    return Votes(torch.nn.functional.one_hot(answers[nearest], classes).float().mean(1), nearest)


def label_noise(some: Sample, said: Votes, data: Dataset, story: Story) -> Finding | None:
    """Find examples whose neighbours agree that they belong to another class.

    Source: the confident joint of Northcutt, Jiang & Chuang 2021, "Confident learning", arXiv:1911.00068, sec. 3.1, with votes
    of neighbours for probabilities.
    Differs: one threshold for all classes instead of each class's mean confidence.
    """
    assert said.shares is not None
    assert some.answers is not None
    own = said.shares.gather(1, some.answers[:, None])[:, 0]
    most, other = said.shares.max(1)
    suspects = (other != some.answers) & (most >= AGREED) & (own <= ALONE)
    share = suspects.float().mean().item()
    orderly = _orderly(said)
    if share < SUSPECT or orderly < ORDERLY:
        return None
    order = (most - own).where(suspects, torch.tensor(-1.0)).argsort(descending=True)[: int(suspects.sum())].tolist()
    classes = data.facts.classes or tuple(map(str, range(said.shares.shape[1])))
    named = [say("{where}: is '{given}', its neighbours say '{other}' ({share:.0%})", where=data.where("train", int(some.rows[place])),
                 given=classes[int(some.answers[place])], other=classes[int(other[place])], share=most[place].item())
             for place in order[:20]]  # fmt: skip
    smoothing = "smoothing" in story.recipe.task.settings or story.recipe.task.name == "classification"
    own_data = bool(getattr(data.settings, "path", ""))
    return Finding(
        "label-noise",
        say("Of {count:,} training examples {suspects:,} ({share:.0%}) have a label that most of their {neighbours} nearest neighbours "
            "contradict, though neighbours agree with each other on {orderly:.0%}.", count=len(own), suspects=len(order), share=share,
            neighbours=NEIGHBOURS, orderly=orderly),
        say("Many labels are wrong, or these classes cannot be told apart by these inputs. A network that fits them learns the mistakes."),
        look_at(data, story) if own_data or not smoothing else retrain(story.run, "task.smoothing=0.1"),
        {"suspects": len(order), "of": len(own), "share": share}, examples=named)  # fmt: skip


def _orderly(said: Votes) -> float:
    """Return how often neighbours agree with an example once every label is what its neighbours say."""
    assert said.shares is not None
    cleaned = said.shares.argmax(1)
    again = torch.nn.functional.one_hot(cleaned[said.nearest], said.shares.shape[1]).float().mean(1).argmax(1)
    return (again == cleaned).float().mean().item()


def accuracy(said: Votes, answers: Tensor) -> tuple[float, float]:
    """Return how often neighbours are right, and how often chance is: classes drawn by their shares."""
    assert said.shares is not None
    right = (said.shares.argmax(1) == answers).float().mean().item()
    shares = answers.bincount(minlength=said.shares.shape[1]).double() / len(answers)
    return right, max(shares.max().item(), shares.square().sum().item())


def explained(said: Votes, answers: Tensor) -> float:
    """Return the share of the variance of quantities that neighbours explain."""
    guess = answers[said.nearest].mean(1)
    return 1 - ((guess - answers).square().mean() / answers.var(0, unbiased=False).mean().clamp(min=1e-12)).item()


def labels_unrelated(some: Sample, said: Votes, story: Story, data: Dataset) -> Finding | None:
    """Find answers that neither neighbours nor the network can tell better than chance on examples it has not seen."""
    assert some.answers is not None
    held_out = story.scored[-1].scores if story.scored else {}
    count = len(some.answers)
    if said.shares is None:
        found, score = explained(said, some.answers), held_out.get("r2", 0.0)
        unrelated = found < 0.02 and score < 0.05
        evidence = say("The nearest neighbours of {count:,} training examples explain {share:.1%} of the variance of their answers; on held-out "
                       "examples the network explains {score:.1%}.", count=count, share=max(found, 0.0), score=score)  # fmt: skip
    else:
        found, chance = accuracy(said, some.answers)
        score = held_out.get("accuracy", 0.0)
        close = SIGMAS * (chance * (1 - chance) / count) ** 0.5 + 0.01
        unrelated = found < chance + close and score < chance + 0.1 and chance < 0.9
        evidence = say("Chance is right about {chance:.1%} of {count:,} training examples, their nearest neighbours about {share:.1%}; on held-out "
                       "examples the network is right about {score:.1%}.", chance=chance, count=count, share=found, score=score)  # fmt: skip
    if not unrelated:
        return None
    return Finding(
        "labels-unrelated", evidence,
        say("The answers have nothing to do with the inputs. Usual cause: inputs and answers were sorted or shuffled apart from each other."),
        look_at(data, story), {"neighbours": found, "network": score})  # fmt: skip


def under_fitting(some: Sample, said: Votes, trained: float, story: Story, settled: bool) -> Finding | None:
    """Find a network that has stopped learning and is worse on its own examples than its neighbours would be."""
    assert some.answers is not None
    best = explained(said, some.answers) if said.shares is None else accuracy(said, some.answers)[0]
    if not settled or trained > best - BEHIND:
        return None
    name = story.recipe.model.name
    change = "model.hidden_sizes=[256, 256]" if name in ("mlp", "linear", "perceptron") else "train.epochs=50"
    changes = ["model=mlp", change] if name in ("linear", "perceptron") else [change]
    return Finding(
        "under-fitting",
        say("On its own training examples the network reaches {trained:.1%}; the nearest neighbours reach {best:.1%}, and the loss has stopped "
            "falling.", trained=trained, best=best),
        say("The network is too small, too restricted, or was trained too briefly for what is in the data."),
        retrain(story.run, *changes), {"network": trained, "neighbours": best})  # fmt: skip
