"""Where a classifier is right and wrong: confusion, scores of each class, the worst mistakes, its confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.visualize.answers import Answers, cells
from seodang.visualize.calibration import calibration
from seodang.visualize.figure import Axis, Bars, Column, Figure, Images, Matrix, Table
from seodang.visualize.history import split_name
from seodang.visualize.pixels import SMALL, picture
from seodang.visualize.scale import percent

MOST_CLASSES = 60
"""With more classes, only the most frequent confusions are shown: nobody reads a larger matrix."""
MISTAKES = 24
HESITATIONS = 8


def class_names(facts: Facts) -> tuple[str, ...]:
    assert facts.classes is not None
    return facts.classes


def confusion_counts(answers: Answers, classes: int) -> Tensor:
    """Return how often each class (row) was taken for each (column)."""
    pairs = answers.targets * classes + answers.predicted
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)


def classification_figures(answers: Answers, facts: Facts) -> list[Figure]:
    """Return what there is to see of a classifier."""
    figures: list[Figure] = []
    names = class_names(facts)
    counts = confusion_counts(answers, len(names))
    figures.append(confusion(answers, counts, names) if len(names) <= MOST_CLASSES else confused_pairs(counts, names))
    figures.append(class_table(counts, names))
    if mistakes := worst_mistakes(answers, facts):
        figures.append(mistakes)
    if unsure := least_sure(answers, facts):
        figures.append(unsure)
    if chart := calibration(answers):
        figures.append(chart)
    return figures


def examined(answers: Answers) -> str:
    """Return in words which examples were looked at."""
    count, split = len(answers.targets), split_name(answers.split)
    if count == answers.whole:
        return say("{count} {split} examples", count=f"{count:,}", split=split)
    return say("{count} of the {whole} {split} examples", count=f"{count:,}", whole=f"{answers.whole:,}", split=split)


def confusion(answers: Answers, counts: Tensor, names: tuple[str, ...]) -> Matrix:
    right, total = int(counts.diagonal().sum()), int(counts.sum())
    wrong = counts.clone().fill_diagonal_(0)
    worst = int(wrong.argmax())
    most = int(wrong.max())
    summary = say("{right} of {total} are right.", right=f"{right:,}", total=f"{total:,}")
    if most > 1:
        summary += " " + say("Most often confused: {true} taken for {predicted}, {count} times.",
                             true=names[worst // len(names)], predicted=names[worst % len(names)], count=most)  # fmt: skip
    return Matrix(
        say("Confusion matrix"), summary, counts.double().numpy(), names, names, Axis(say("predicted")), Axis(say("true")),
        "confusion", numbers=True,
        about=say("{examples}. {summary} The diagonal is right, everything else a mistake.",
                  examples=examined(answers), summary=summary), name="confusion")  # fmt: skip


def confused_pairs(counts: Tensor, names: tuple[str, ...]) -> Bars:
    """Return the pairs of classes mistaken most often, where a matrix would be too large to read."""
    wrong = counts.clone().fill_diagonal_(0).flatten()
    top = wrong.topk(min(20, len(wrong)))
    kept = [(int(count), int(place)) for count, place in zip(top.values, top.indices, strict=True) if count]
    labels = tuple(f"{names[place // len(names)]} → {names[place % len(names)]}" for _, place in kept)
    return Bars(say("Most frequent confusions"), say("True class, then the predicted one, and how often."), labels,
                tuple(float(count) for count, _ in kept), Axis(say("times")),
                name="confused-pairs")  # fmt: skip


def class_scores(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return precision, recall and F1 of each class from how often each (row) was taken for each (column).

    NaN where a class was never named (precision), never there (recall), or neither (F1).
    """
    right = counts.diagonal().double()
    true, said = counts.sum(1).double(), counts.sum(0).double()
    return right / said, right / true, 2 * right / (true + said)


def class_table(counts: Tensor, names: tuple[str, ...]) -> Table:
    """Return precision, recall and F1 of each class."""
    true = counts.sum(1)
    precision, recall, f1 = class_scores(counts)
    columns = (Column(say("class")), Column(say("examples"), number=True), Column(say("precision"), number=True),
               Column(say("recall"), number=True), Column(say("F1"), number=True, bar=True))  # fmt: skip
    values = [(name, int(true[place]), *(float(score[place]) for score in (precision, recall, f1)))
              for place, name in enumerate(names)]  # fmt: skip
    rows = tuple((row[0], f"{row[1]:,}", *(_share(value) for value in row[2:])) for row in values)
    means = [float(score[~score.isnan()].mean()) if (~score.isnan()).any() else float("nan")
             for score in (precision, recall, f1)]  # fmt: skip
    total = (say("mean"), f"{int(true.sum()):,}", *(_share(mean) for mean in means))
    order = tuple((row[0], *(-1.0 if value != value else value for value in row[1:])) for row in values)
    return Table(
        say("Each class"), say("Precision, recall and F1 of {count} classes.", count=len(names)), columns, rows, order, total,
        about=say("Precision: how many of those it called so are. Recall: how many of those that are it found. "
                  "F1: their harmonic mean."), name="classes")  # fmt: skip


def _share(value: float) -> str:
    return percent(value) if value == value else "–"


def mistakes_in_order(answers: Answers) -> Tensor:
    """Return the places of the mistakes, the one with the least probability of the truth first."""
    truth = answers.probabilities.gather(1, answers.targets[:, None])[:, 0]
    places = (answers.predicted != answers.targets).nonzero()[:, 0]
    return places[truth[places].argsort(stable=True)]


def worst_mistakes(answers: Answers, facts: Facts) -> Images | Table | None:
    """Return the mistakes the model is surest of: as pictures, or as rows of the table; None if there are none."""
    places = mistakes_in_order(answers)
    if not len(places):
        return None
    names, chances = class_names(facts), answers.probabilities
    title, shown = say("Worst mistakes"), places[:MISTAKES]
    if len(shown) == len(places):
        alt = say("All {count} mistakes, those with the least probability for the truth first.", count=len(shown))
    else:
        alt = say("{count} of {total} mistakes, those with the least probability for the truth first.", count=len(shown),
                  total=len(places))  # fmt: skip
    if isinstance(facts.inputs, ImageInputs):
        captions = [say("{predicted}, not {true}", predicted=names[answers.predicted[place]], true=names[answers.targets[place]])
                    for place in shown.tolist()]  # fmt: skip
        about = alt + " " + say("Below each: what the model says, the truth, and how sure it is.")
        return _pictured("mistakes", title, alt, about, answers, facts.inputs, shown, captions)
    heads = cells(facts, answers.inputs[0].flatten())
    columns = (Column(say("true")), Column(say("predicted")), Column(say("probability"), number=True),
               *(Column(name, number=True) for name, _ in heads))  # fmt: skip
    rows = tuple((names[answers.targets[place]], names[answers.predicted[place]], percent(chances[place].max().item()),
                  *(value for _, value in cells(facts, answers.inputs[place].flatten())))
                 for place in shown.tolist())  # fmt: skip
    return Table(title, alt, columns, rows, about=alt, name="mistakes")


def least_sure(answers: Answers, facts: Facts) -> Images | None:
    """Return the pictures the model is right about with the least probability."""
    places = (answers.predicted == answers.targets).nonzero()[:, 0]
    if not isinstance(facts.inputs, ImageInputs) or not len(places):
        return None
    chances = answers.probabilities.max(-1).values
    shown = places[chances[places].argsort(stable=True)][:HESITATIONS]
    names = class_names(facts)
    alt = say("The {count} pictures it is right about with the least probability.", count=len(shown))
    captions = [names[answers.predicted[place]] for place in shown.tolist()]
    return _pictured("unsure", say("Right, but unsure"), alt, alt, answers, facts.inputs, shown, captions)


def _pictured(
    name: str,
    title: str,
    alt: str,
    about: str,
    answers: Answers,
    inputs: ImageInputs,
    places: Tensor,
    captions: list[str],
) -> Images:
    """Return these examples as pictures, below each its caption and how sure the model is."""
    sure = [
        say("{chance} sure", chance=percent(chance)) for chance in answers.probabilities[places].max(-1).values.tolist()
    ]
    images = tuple(picture(image, inputs) for image in answers.inputs[places])
    lines = tuple(f"{caption}\n{chance}" for caption, chance in zip(captions, sure, strict=True))
    return Images(
        title, alt, images, lines, columns=8, smooth=max(inputs.height, inputs.width) > SMALL, about=about, name=name
    )
