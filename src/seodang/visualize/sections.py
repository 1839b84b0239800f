"""What there is to see of a run, in the order a person wants to know it.

Sections are chosen by the kind of the data and by what the task's answers are, never by the name of a model. The
report shows them on a page, `look` writes each figure to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, has_two_inputs
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.task.losses import cross_entropy, squared_error
from seodang.task.pictures import Picture, as_bytes
from seodang.visualize.answers import MOST, Answers, gather, held_out_split
from seodang.visualize.baseline import beside_simple_methods
from seodang.visualize.boundary import boundary_figures
from seodang.visualize.classes import classification_figures
from seodang.visualize.figure import Figure, Film, Images, Pixels
from seodang.visualize.history import curves
from seodang.visualize.inside import activation_figures, weight_figures
from seodang.visualize.normalizing import normalization_figures
from seodang.visualize.pixels import SMALL
from seodang.visualize.plane import decision_boundary
from seodang.visualize.quantities import importance, quantity_figures
from seodang.visualize.seen import seen_figures
from seodang.visualize.summary import layer_figure, layer_table
from seodang.visualize.tokens import token_figures

WORK = 500_000_000_000
"""Multiply-adds a report may cost beside its pictures: about ten seconds on two cores."""
LEAST = 64
"""Examples that are examined in any case."""


class Section(NamedTuple):
    """A heading, a sentence on how to read it, and figures; or why they could not be drawn."""

    name: str
    title: str
    about: str
    figures: Sequence[Figure]
    problem: str = ""


def sections(run: RunFolder, model: nn.Module, task: Task, data: Dataset) -> list[Section]:
    """Return every section that has something to show.

    A user's own model or task may do what nobody foresaw: then that section says so, and the others are there.
    """
    model.eval()
    most = affordable(model, task)
    gathered: list[Answers | None] = []

    def answers() -> Answers | None:
        if not gathered:
            gathered.append(gather(model, data, most) if task.answers in ("classes", "quantities") else None)
        return gathered[0]

    told = say("What it writes and expects") if task.answers == "tokens" else say("What it gets right and wrong")
    found = [
        drawn("training", say("Training"), say("How loss and scores changed from update to update."),
              lambda: [*curves(run.events, task.monitor), *boundary_figures(model, task, data)]),
        drawn("seen", say("What training sees"), "", lambda: seen_figures(run.recipe, task, data)),
        drawn("answers", told, "", lambda: answer_figures(model, task, data, answers(), run.scores, most)),
        drawn("made", say("What it makes"), "", lambda: [figure_of(picture) for picture in task.pictures(model, data)]),
        drawn("inside", say("Inside"), say("What the network holds, and what it makes of one example."),
              lambda: inside_figures(model, task, task.facts, example_of(answers(), data))),
        drawn("layers", say("Layers"), "", lambda: layer_figures(model, task, run.recipe.train.batch_size, data)),
    ]  # fmt: skip
    return [section for section in found if section.figures or section.problem]


def layer_figures(model: nn.Module, task: Task, batch_size: int | str, data: Dataset) -> list[Figure]:
    """Return the table of layers, and what those that normalise average over."""
    inputs = task.blank_inputs(model)
    batch = batch_size if isinstance(batch_size, int) else data.facts.sizes.get("train", 1)
    return [layer_figure(layer_table(model, inputs)), *normalization_figures(model, inputs, batch)]


def affordable(model: nn.Module, task: Task) -> int:
    """Return how many examples may be examined: fewer with a large model, so that a report takes seconds."""
    try:
        work = layer_table(model, task.blank_inputs(model)).multiply_adds
    except Exception:  # the section of the layers says what is wrong
        return LEAST
    return max(LEAST, min(MOST, WORK // max(work, 1)))


def drawn(name: str, title: str, about: str, make: Callable[[], Sequence[Figure]]) -> Section:
    """Return the section with the figures `make` gives, or with the error it raised."""
    try:
        return Section(name, title, about, make())
    except Exception as error:
        reason = say("{kind}: {message}", kind=type(error).__name__, message=error)
        return Section(name, title, about, [], say("This part could not be drawn. {reason}", reason=reason))


def answer_figures(
    model: nn.Module, task: Task, data: Dataset, answers: Answers | None, scores: Mapping[str, float], most: int
) -> list[Figure]:
    """Return how good the answers are: of classes, of quantities, of tokens.

    `scores` are those of the run; at most `most` examples are examined.
    """
    facts = task.facts
    if task.answers == "tokens":
        simple = beside_simple_methods(task, data, scores)
        return [*token_figures(model, task, data, most), *([simple] if simple else [])]
    if answers is None:
        return []
    classes = task.answers == "classes"
    figures: list[Figure] = []
    if classes and has_two_inputs(facts):
        figures.append(decision_boundary(model, answers, facts))
    figures += classification_figures(answers, facts) if classes else quantity_figures(answers, facts)
    if facts.inputs.kind == "table":
        matter = importance(model, answers, facts, cross_entropy if classes else squared_error)
        simple = beside_simple_methods(task, data, scores)
        figures += [figure for figure in (matter, simple) if figure]
    return figures


def inside_figures(model: nn.Module, task: Task, facts: Facts, example: Tensor | None) -> list[Figure]:
    """Return the first weights, and activations where the model takes what the data gives."""
    figures = weight_figures(model, facts)
    if example is not None and takes(model, task, example):
        device = next((weight.device for weight in model.parameters()), None)
        figures += activation_figures(model, example.to(device), facts)
    return figures


def takes(model: nn.Module, task: Task, example: Tensor) -> bool:
    """Return whether the model itself takes what the data gives: a generator of pictures takes noise."""
    blank = task.blank_inputs(model).get("")
    return blank is not None and blank.shape[1:] == example.shape[1:]


def example_of(answers: Answers | None, data: Dataset) -> Tensor | None:
    """Return a batch with one example: the first the model is right about, else the first; None if there is none."""
    if answers is None:
        split = held_out_split(data)
        return (
            data.split(split).batch(torch.tensor([0]), None)[0] if split and data.facts.inputs.kind != "world" else None
        )
    if answers.targets.ndim == 1 and not answers.targets.is_floating_point():
        right = (answers.predicted == answers.targets).nonzero()[:, 0]
        if len(right):
            return answers.inputs[right[:1]]
    return answers.inputs[:1]


def figure_of(picture: Picture) -> Figure:
    """Return a task's picture as a figure."""
    frames = tuple(pixels_of(image) for image in as_bytes(picture.images.cpu()))
    alt = picture.about or picture.title
    if picture.kind == "film":
        return Film(picture.title, alt, frames, picture.milliseconds / 1000, about=picture.about, name="film")
    smooth = max(frames[0].shape[:2]) > SMALL if frames else False
    return Images(
        picture.title, alt, frames, columns=picture.columns, smooth=smooth, about=picture.about, name="pictures"
    )


def pixels_of(image: Tensor) -> Pixels:
    """Return (C, H, W) bytes as (H, W) or (H, W, 3)."""
    array = image.permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array
