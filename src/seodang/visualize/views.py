"""look RUN layers | field | filters | embeddings: what the words after the run ask for, and the figures they stand for.

Words with an equals sign say more: ``layer=stages.3``, ``class=cat``, ``unit=3,4``, ``split=test``; all others are pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DataError, RunError, nearest
from seodang.core.inputs import Facts, ImageInputs, TokenInputs, WorldInputs
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset, datasets
from seodang.data.reading import read_input
from seodang.task.base import Task
from seodang.visualize.answers import drawn_rows, held_out_split
from seodang.visualize.embeddings import embed, embed_rows
from seodang.visualize.fields import field_figures
from seodang.visualize.figure import Figure
from seodang.visualize.filters import Source, filter_figures
from seodang.visualize.near import Embedded, near_figures
from seodang.visualize.sections import affordable, takes
from seodang.visualize.seeing import layer_maps, maps_figure
from seodang.visualize.summary import layer_figure, layer_table

LAYERS, FIELD, FILTERS, EMBEDDINGS = "layers", "field", "filters", "embeddings"
VIEWS: dict[str, tuple[str, ...]] = {
    LAYERS: (), FIELD: ("layer", "unit"), FILTERS: ("layer", "split"), EMBEDDINGS: ("layer", "split"),
}  # fmt: skip
"""The words, and what may be said beside each."""
PICTURE = ("layer", "class")
"""What may be said beside a picture."""
OPTIONS = ("layer", "class", "unit", "split")


class Asked(NamedTuple):
    """Inputs and options that were written."""

    inputs: list[str]
    options: dict[str, str]


def read_words(words: Sequence[str], known: Sequence[str], what: str) -> Asked:
    """Part ``option=value`` from inputs; `what` is what the options stand beside.

    Raises: ConfigError for an option that does not go with it, or is given twice.
    """
    inputs, options = [], {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in OPTIONS:
            inputs.append(word)
        elif name not in known:
            raise ConfigError("{word}: does not go with look … {what}.{suggestion} Options: {known}.", word=word, what=what,
                              suggestion=nearest(name, known), known=", ".join(known) or "–")  # fmt: skip
        elif name in options or not value:
            raise ConfigError("{word}: is empty, or given twice.", word=word)
        else:
            options[name] = value
    return Asked(inputs, options)


def view_figures(word: str, run: RunFolder | None, model: nn.Module, task: Task, words: Sequence[str]) -> list[Figure]:
    """Return the figures of one view.

    Raises: ConfigError, DataError, RunError for what it cannot show, by name.
    """
    inputs, options = read_words(words, VIEWS[word], word)
    layer = options.get("layer", "")
    if word == LAYERS:
        _refuse_inputs(word, inputs)
        return [layer_figure(layer_table(model, task.blank_inputs(model)))]
    require_numbers(model, task, word)
    if word == EMBEDDINGS:
        return embedding_figures(run, model, task, inputs, layer, options.get("split", ""))
    if not isinstance(task.facts.inputs, ImageInputs):
        raise ConfigError("look … {what} is for networks that take pictures; this one takes {kind}.", what=word,
                          kind=task.facts.inputs.kind)  # fmt: skip
    if len(inputs) > 1:
        raise ConfigError("look … {what} takes one picture; {count} are named.", what=word, count=len(inputs))
    source = source_of(run, model, task, inputs, options.get("split", ""))
    if word == FIELD:
        return field_figures(model, source.pictures(source.rows[:1]), task.facts, layer, options.get("unit", ""))
    return filter_figures(model, task.facts, source, layer)


def picture_figures(model: nn.Module, task: Task, example: Tensor, options: dict[str, str]) -> list[Figure]:
    """Return what speaks for a class in one picture (a batch of one), and the maps of a layer that was named."""
    figures: list[Figure] = []
    layer = options.get("layer", "")
    if layer:
        figures.append(layer_maps(model, example, layer))
    if task.answers == "classes":
        figures.append(
            maps_figure(
                model, example, task.facts, class_of(model, task.facts, example, options.get("class", "")), layer
            )
        )
    elif "class" in options:
        raise ConfigError("class={name}: this network does not answer with classes.", name=options["class"])
    return figures


def class_of(model: nn.Module, facts: Facts, example: Tensor, name: str) -> int:
    """Return the number of a class, by default of the likeliest.

    Raises: ConfigError if there is no such class.
    """
    if not name:
        with torch.no_grad():
            return int(model(example)[0].argmax())
    classes = facts.classes or ()
    if name not in classes:
        raise ConfigError("class={name}: is no class of this data.{suggestion} Classes: {names}.", name=name,
                          suggestion=nearest(name, classes), names=", ".join(classes[:30]))  # fmt: skip
    return classes.index(name)


def require_numbers(model: nn.Module, task: Task, word: str) -> None:
    """Raise ConfigError unless the model itself takes pictures, rows or vectors."""
    inputs = task.facts.inputs
    if isinstance(inputs, (TokenInputs, WorldInputs)) or not takes(model, task, torch.zeros(1, *inputs.shape)):
        raise ConfigError("look … {what} is for networks that take pictures, rows or vectors.", what=word)


def _refuse_inputs(word: str, inputs: Sequence[str]) -> None:
    if inputs:
        raise ConfigError("look … {what} needs no input; '{name}' is one too many.", what=word, name=inputs[0])


# ------------------------------------------------------------------------------------------- where from


def device_of(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def own_data(run: RunFolder | None) -> Dataset:
    """Return the data of a run.

    Raises: RunError for a bundle, which has none.
    """
    if run is None:
        raise RunError("A bundle brings no data: name what to look at, for example a picture.")
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    return data


def split_of(data: Dataset, split: str) -> str:
    """Return the split that was asked for, by default the held-out one.

    Raises: DataError if the data has none such.
    """
    wanted = split or held_out_split(data)
    if wanted is None or not data.facts.sizes.get(wanted):
        raise DataError("There is no split '{split}' in this data; it has {splits}.", split=split,
                        splits=", ".join(data.facts.sizes))  # fmt: skip
    return wanted


def source_of(run: RunFolder | None, model: nn.Module, task: Task, inputs: Sequence[str], split: str) -> Source:
    """Return one picture of a person, or those of a split that can be looked through in seconds."""
    device = device_of(model)
    if inputs:
        if split:
            raise ConfigError("{word}: does not go with a picture of one's own.", word=f"split={split}")
        example = read_input(task.facts.inputs, inputs[0])[None].to(device)
        return Source(lambda rows: example[torch.zeros_like(rows)], torch.tensor([0]))
    data = own_data(run)
    split = split_of(data, split)
    examples = data.split(split)

    def pictures(rows: Tensor) -> Tensor:
        return examples.batch(rows, None)[0].to(device)

    return Source(pictures, drawn_rows(split, len(examples), affordable(model, task)))


def embedding_figures(
    run: RunFolder | None, model: nn.Module, task: Task, inputs: Sequence[str], layer: str, split: str
) -> list[Figure]:  # fmt: skip
    """Return the embeddings of a split and the nearest neighbours in it: of pictures that are given, else of its own."""
    data = own_data(run)
    split = split_of(data, split)
    examples = data.split(split)
    device = device_of(model)
    own = torch.stack([read_input(task.facts.inputs, text) for text in inputs]) if inputs else None
    rows = drawn_rows(split, len(examples), affordable(model, task))
    values, labels = embed_rows(model, examples, rows, layer)
    if labels is not None and (labels.ndim != 1 or labels.is_floating_point()):
        labels = None
    images = examples.batch(rows, None)[0] if isinstance(task.facts.inputs, ImageInputs) else None
    if own is not None and images is None:
        raise ConfigError("look … {what} shows neighbours of pictures; this network takes {kind}.", what=EMBEDDINGS,
                          kind=task.facts.inputs.kind)  # fmt: skip
    given = (
        (own, embed(model, own.to(device), layer), [text.rpartition("/")[2] for text in inputs])
        if own is not None
        else None
    )
    return near_figures(Embedded(split, rows, values, labels), task.facts, images, given)


TITLES: dict[str, Callable[[], str]] = {
    LAYERS: lambda: say("Layers"),
    FIELD: lambda: say("Receptive fields"),
    FILTERS: lambda: say("Filters"),
    EMBEDDINGS: lambda: say("Embeddings"),
}
