"""Does an augmentation keep the label? Measured on a trained model: held-out pictures before and after the change.

A class "breaks" if the model, after the change, takes it for some other class at least as often as for itself: a flipped
2 for a 5, a 6 turned round for a 9. It "falls" if accuracy drops by more than noise, but no other class takes its place:
then the picture may only look unfamiliar, and training with the augmentation may help. Which of both it is can only be told
for sure from a model that was trained with the augmentation: what still breaks there cannot be learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.inputs import ImageInputs
from seodang.core.language import say
from seodang.core.recipe import Choice
from seodang.data.augment import Augmentation, changed, fitted
from seodang.data.dataset import Dataset, Draws, generator
from seodang.data.images import normalize, pixels
from seodang.task.base import evaluating
from seodang.visualize.answers import held_out_split
from seodang.visualize.figure import Axis, Figure, Images, Matrix
from seodang.visualize.pixels import SMALL, picture
from seodang.visualize.scale import percent

MOST = 2_000
"""Held-out pictures that are looked at."""
ERRORS = 3.0
"""Standard errors a class must lose to count as fallen: with 200 tests one false alarm in four."""
MOST_CLASSES = 30
"""With more classes the chart shows those that lose most."""
EXAMPLES = 24

Verdict = Literal["keeps", "falls", "breaks"]


class ClassSafety(NamedTuple):
    """One class under one augmentation, over the pictures that it changed: accuracies, and what else it is taken for."""

    name: str
    examples: int
    without: float
    with_: float
    error: float
    """Standard error of the paired difference."""
    taken_for: str
    """The other class it is taken for most often after the change, if any."""
    taken_share: float
    verdict: Verdict


class Safety(NamedTuple):
    """One augmentation: how many pictures it changed, what it did to each class, and pictures of classes it broke."""

    choice: Choice
    changed: int
    without: float
    with_: float
    classes: tuple[ClassSafety, ...]
    pictures: tuple[tuple[Any, str, str], ...]
    """(pixels, true class, answer)"""

    @property
    def name(self) -> str:
        """The augmentation as a recipe names it, with the settings that were written."""
        settings = ", ".join(f"{key}={value}" for key, value in self.choice.settings.items())
        return f"{self.choice.name} ({settings})" if settings else self.choice.name

    def those(self, verdict: Verdict) -> list[ClassSafety]:
        return [found for found in self.classes if found.verdict == verdict]


def measure(
    model: nn.Module, data: Dataset, choices: Sequence[Choice], most: int = MOST, seed: int = 0
) -> tuple[str, int, list[Safety]]:
    """Return the split, how many of its pictures were looked at, and what each augmentation does to the answers.

    `data` gives pictures with classes, `model` logits. Only pictures that an augmentation really changed count.
    Raises: ConfigError for an augmentation that does not go with such pictures.
    """
    inputs, classes = data.facts.inputs, data.facts.classes
    assert isinstance(inputs, ImageInputs)
    assert classes is not None
    split = held_out_split(data) or "train"
    examples = data.split(split)
    rows = torch.randperm(len(examples), generator=generator("label-safety", split, len(examples)))[:most]
    tallies = [_Tally(fitted([choice], inputs), len(classes)) for choice in choices]
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with evaluating(model):
        for index, chunk in enumerate(rows.sort().values.split(256)):
            images, labels = examples.batch(chunk, None)[:2]
            before = model(images.to(device)).argmax(-1).cpu()
            whole = pixels(images, inputs).mul_(255).round_().byte()
            for number, tally in enumerate(tallies):
                new = changed(whole, tally.changes, Draws(seed, number, index, len(chunk), slice(None)))
                shown = normalize(new.float() / 255, inputs)
                after = model(shown.to(device)).argmax(-1).cpu()
                moved = (new != whole).flatten(1).any(1)
                tally.add(shown[moved], labels[moved], before[moved], after[moved])
    found = [tally.result(choice, classes, inputs) for tally, choice in zip(tallies, choices, strict=True)]
    return split, len(rows), found


class _Tally:
    """Counts answers of one augmentation: `answers` [truth, answer after], and right answers lost and won."""

    def __init__(self, changes: list[Augmentation], classes: int) -> None:
        self.changes = changes
        self.answers = torch.zeros(classes, classes, dtype=torch.int64)
        self.right, self.lost, self.won = (torch.zeros(classes, dtype=torch.int64) for _ in range(3))
        self.pictures: dict[tuple[int, int], Tensor] = {}

    def add(self, images: Tensor, labels: Tensor, before: Tensor, after: Tensor) -> None:
        count = len(self.right)
        self.answers += torch.bincount(labels * count + after, minlength=count * count).view(count, count)
        was, is_ = before == labels, after == labels
        for kept, which in ((self.right, was), (self.lost, was & ~is_), (self.won, ~was & is_)):
            kept += torch.bincount(labels[which], minlength=count)
        if count <= MOST_CLASSES:
            for place in (was & ~is_).nonzero()[:, 0].tolist():
                self.pictures.setdefault((int(labels[place]), int(after[place])), images[place])

    def result(self, choice: Choice, classes: tuple[str, ...], inputs: ImageInputs) -> Safety:
        judged = [self._judged(place, classes) for place in range(len(classes))]
        total = max(int(self.answers.sum()), 1)
        shown = []
        for place, one in enumerate(judged):
            other = classes.index(one.taken_for) if one.taken_for else -1
            if one.verdict == "breaks" and (place, other) in self.pictures:
                shown.append((picture(self.pictures[place, other], inputs), one.name, one.taken_for))
        accuracies = (float(self.right.sum() / total), float(self.answers.diagonal().sum() / total))
        return Safety(choice, int(self.answers.sum()), *accuracies, tuple(judged), tuple(shown))

    def _judged(self, place: int, classes: tuple[str, ...]) -> ClassSafety:
        answers = self.answers[place]
        count, own = int(answers.sum()), int(answers[place])
        if not count:
            return ClassSafety(classes[place], 0, math.nan, math.nan, math.nan, "", 0.0, "keeps")
        others = answers.clone()
        others[place] = 0
        rival = int(others.argmax())
        lost, won = int(self.lost[place]), int(self.won[place])
        error = math.sqrt(lost + won - (lost - won) ** 2 / count) / count
        fell = lost - won > ERRORS * error * count and lost - won > ERRORS**2
        verdict: Verdict = "keeps" if not fell else "breaks" if int(others[rival]) >= own else "falls"
        return ClassSafety(classes[place], count, int(self.right[place]) / count, own / count, error,
                           classes[rival] if others[rival] else "", int(others[rival]) / count, verdict)  # fmt: skip


# --------------------------------------------------------------------------------------------- pictures


def safety_figures(found: Sequence[Safety], split: str, count: int) -> list[Figure]:
    """Return how accuracy changes for each augmentation and class, and pictures of what was taken for another class."""
    names = [one.name for one in found[0].classes]
    changes = np.array([[one.with_ - one.without for one in safety.classes] for safety in found])
    changes = np.nan_to_num(changes) * 100
    if len(names) > MOST_CLASSES:
        worst = np.sort(np.argsort(changes.min(0))[:MOST_CLASSES])
        names, changes = [names[place] for place in worst], changes[:, worst]
    figures: list[Figure] = [
        Matrix(say("What augmentation does to each class"),
               say("Change of accuracy in percentage points, on {count} pictures of {split}.", count=f"{count:,}", split=split),
               np.round(changes), tuple(safety.name for safety in found), tuple(names), Axis(say("class")),
               look="diverging", numbers=True,
               about=say("Percentage points of accuracy a trained model loses (−) or gains when held-out pictures of a class are "
                         "changed. Large losses: the change may make another class of them."), name="label-safety"),
    ]  # fmt: skip
    shown = [(safety.name, *one) for safety in found for one in safety.pictures][:EXAMPLES]
    if shown:
        alt = say("Pictures after augmentations that broke their class, with the truth and the model's answer.")
        figures.append(Images(say("Is this still what it was?"), alt, tuple(pixels for _, pixels, _, _ in shown),
                              tuple(f"{true} → {answer}\n{name}" for name, _, true, answer in shown), columns=8,
                              smooth=max(shown[0][1].shape[:2]) > SMALL, about=alt, name="label-safety-pictures"))  # fmt: skip
    return figures


SPELLED = 3


def spelled(classes: Sequence[ClassSafety]) -> str:
    """Return in words the classes that lose most: "2 → 5 (98 % → 12 %), 7 → 5 (97 % → 4 %)"."""
    worst = sorted(classes, key=lambda one: one.with_ - one.without)
    words = []
    for one in worst[:SPELLED]:
        became = f"{one.name} → {one.taken_for}" if one.verdict == "breaks" else one.name
        words.append(f"{became} ({percent(one.without)} → {percent(one.with_)})")
    if len(worst) > SPELLED:
        words.append(say("{count} more", count=len(worst) - SPELLED))
    return ", ".join(words)
