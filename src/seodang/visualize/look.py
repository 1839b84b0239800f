"""look: what a run is inside, drawn to files: for its own held-out data, or for inputs a person gives.

Nothing is computed that training needs, and nothing in the run changes but the new files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from seodang.core.errors import ConfigError, RunError, SeodangError
from seodang.core.inputs import Facts, ImageInputs, TokenInputs, WorldInputs
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset, datasets, map_tensors
from seodang.data.reading import read_input
from seodang.task.base import Task
from seodang.task.weights_film import MOST_WEIGHTS
from seodang.visualize.activations import activation_health_figures
from seodang.visualize.answers import held_out_split
from seodang.visualize.boundary_page import write_boundary
from seodang.visualize.draw import save
from seodang.visualize.figure import Axis, Bars, Figure
from seodang.visualize.gradients import gradient_figures
from seodang.visualize.inside import activation_figures
from seodang.visualize.inside_page import write_page
from seodang.visualize.raster import write_pngs
from seodang.visualize.sections import drawn, figure_of, sections, takes
from seodang.visualize.stepping import STEPS, write_steps
from seodang.visualize.tokens import text_figures
from seodang.visualize.views import PICTURE, TITLES, VIEWS, picture_figures, read_words, view_figures

MOST_CLASSES = 20
EXAMPLES = 256
"""Examples the non-linearities and gradients are watched on."""
GRADIENTS, BOUNDARY = "gradients", "boundary"


class Looked(Protocol):
    """What `look` needs of a bundle."""

    @property
    def model(self) -> nn.Module: ...


def look(run: RunFolder | None, bundle: Looked, task: Task, inputs: Sequence[str], to: Path) -> list[Path]:
    """Draw what there is to see into the folder `to`; return the files in order.

    Without `inputs` the figures of the report, from the run's own held-out data; with them what the model makes of
    each: a picture's path, a row of a table, a text, the seed of an episode. A bundle has no `run`, so it needs inputs.
    The one word "boundary" writes the page of the decision boundary through the training, for two inputs; the one word
    "gradients" shows what flows through the layers, forward and back; the word "steps", with an input after
    it or without, writes a page of one pass forward and backward (`stepping`); the words "layers", "field", "filters" and
    "embeddings" are those of `views`. Beside a picture ``layer=`` and ``class=`` choose what is explained.

    Raises: DataError if an input cannot be read; RunError for a bundle without inputs; SeodangError naming what could not be drawn, when the rest is written.
    """
    model = bundle.model.eval()
    if inputs and inputs[0] == STEPS:
        return [write_steps(run, model, task, inputs[1:], to)]
    if list(inputs) == [GRADIENTS] and run is not None:
        return save_all(flow_figures(run, model, task), to)
    if list(inputs) == [BOUNDARY] and run is not None:
        return [boundary_file(run, model, task, to)]
    if inputs and inputs[0] in VIEWS:
        return write_view(inputs[0], run, model, task, inputs[1:], to)
    if inputs:
        return write_inputs(model, task, inputs, to)
    if run is None:
        raise RunError("A bundle brings no data: name what to look at, for example a picture.")
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    found = sections(run, model, task, data)
    found.append(drawn("work", say("Non-linearities at work"), "", lambda: working_figures(model, task, data)))
    paths = save_all([figure for section in found for figure in section.figures], to)
    if page := write_boundary(model, task, data, run.recipe.name, to):
        paths.append(page)
    if problems := [f"{section.title}: {section.problem}" for section in found if section.problem]:
        raise SeodangError("{count} figures are in {path}; the rest is missing.\n  {problems}", count=len(paths), path=to,
                           problems="\n  ".join(problems))  # fmt: skip
    return paths


def save_all(figures: Sequence[Figure], to: Path, prefix: str = "") -> list[Path]:
    """Write every figure under its name; equal names are numbered."""
    taken: dict[str, int] = {}
    paths = []
    for figure in figures:
        name = prefix + (re.sub(r"[^\w.-]+", "-", figure.name).strip("-.") or type(figure).__name__.lower())
        taken[name] = taken.get(name, 0) + 1
        paths.append(save(figure, to, name if taken[name] == 1 else f"{name}-{taken[name]}"))
    return paths


def write_view(
    word: str, run: RunFolder | None, model: nn.Module, task: Task, words: Sequence[str], to: Path
) -> list[Path]:
    """Write one view as SVG, as PNG and on a page; return the files, the page last."""
    figures = view_figures(word, run, model, task, words)
    drawings = save_all(figures, to)
    return [*drawings, *write_pngs(figures, drawings), write_page(TITLES[word](), figures, to, word)]


def write_inputs(model: nn.Module, task: Task, words: Sequence[str], to: Path) -> list[Path]:
    """Write what the model makes of each input; of a picture also as PNG and on a page.

    Raises: ConfigError if nothing but options is named.
    """
    inputs, options, paths = list(words), dict[str, str](), list[Path]()
    if isinstance(task.facts.inputs, ImageInputs):
        inputs, options = read_words(words, PICTURE, say("a picture"))
        if not inputs:
            raise ConfigError("{word}: goes with a picture: seodang look RUN PICTURE {word}", word=words[0])
    for place, text in enumerate(inputs):
        name = f"input-{place + 1}" if len(inputs) > 1 else "input"
        figures = input_figures(model, task, text, options)
        drawings = save_all(figures, to, name + "-")
        paths += drawings
        if isinstance(task.facts.inputs, ImageInputs):
            paths += [*write_pngs(figures, drawings), write_page(text.rpartition("/")[2], figures, to, name)]
    return paths


def boundary_file(run: RunFolder, model: nn.Module, task: Task, to: Path) -> Path:
    """Write the page of the decision boundary; return the file.

    Raises: RunError where there is no plane to draw on, or nothing was kept to draw.
    """
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    path = write_boundary(model, task, data, run.recipe.name, to)
    if path is None:
        raise RunError("{path}: look … boundary needs a classification by two numbers, of at most {limit:,} weights, that was trained "
                       "by this version or a later one.", path=run.path, limit=MOST_WEIGHTS)  # fmt: skip
    return path


def flow_figures(run: RunFolder, model: nn.Module, task: Task) -> list[Figure]:
    """Return the spread of outputs and gradients over one batch of the run's own training examples.

    Raises: RunError where an agent makes its own data, or nothing in the network is a dense layer or convolution.
    """
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    if "train" not in data.facts.sizes or isinstance(data.facts.inputs, WorldInputs):
        raise RunError("{path}: look … gradients needs training examples, and an agent makes its own.", path=run.path)
    examples = data.split("train")
    batch = examples.batch(torch.arange(min(EXAMPLES, len(examples))), None)
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    figures = gradient_figures(model, task, map_tensors(batch, lambda field: field.to(device)))
    if not figures:
        raise RunError("{path}: its network has no dense layer or convolution that the loss depends on.", path=run.path)
    return figures


def working_figures(model: nn.Module, task: Task, data: Dataset) -> list[Figure]:
    """Return how the non-linearities fare on held-out examples, where the model takes what the data gives."""
    split = held_out_split(data)
    if split is None or isinstance(data.facts.inputs, WorldInputs):
        return []
    examples = data.split(split)
    inputs = examples.batch(torch.arange(min(EXAMPLES, len(examples))), None)[0]
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    return activation_health_figures(model, inputs.to(device)) if takes(model, task, inputs) else []


def input_figures(model: nn.Module, task: Task, text: str, options: dict[str, str]) -> list[Figure]:
    """Return what the model makes of one input; `options` say what of a picture is explained."""
    facts = task.facts
    made = [figure_of(picture) for picture in task.pictures_of(model, text)]
    if isinstance(facts.inputs, TokenInputs):
        return [*text_figures(model, facts.inputs, text), *made]
    if isinstance(facts.inputs, WorldInputs):
        return made
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    example = read_input(facts.inputs, text)[None].to(device)
    shown: list[Figure] = []
    if task.answers == "classes":
        shown.append(class_chances(model, example, facts))
    if takes(model, task, example):
        shown += activation_figures(model, example, facts)
        if isinstance(facts.inputs, ImageInputs):
            shown += picture_figures(model, task, example, options)
    return [*shown, *made]


def class_chances(model: nn.Module, example: torch.Tensor, facts: Facts) -> Bars:
    """Return the probability of each class for one example, the likeliest first."""
    with torch.no_grad():
        chances = model(example)[0].float().softmax(-1).cpu()
    best = chances.topk(min(MOST_CLASSES, len(chances)))
    classes = facts.classes or tuple(map(str, range(len(chances))))
    names = tuple(classes[place] for place in best.indices.tolist())
    return Bars(say("What it is taken for"), say("Most probable: {token}.", token=names[0]), names, tuple(best.values.tolist()),
                Axis(say("probability"), percent=True), marked=(0,), name="classes")  # fmt: skip
