"""Embeddings as pictures: a plane in which like lies by like, and the nearest neighbours of some examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.visualize.embeddings import Neighbours, agreement, neighbours, plane
from seodang.visualize.figure import Axis, Column, Figure, Images, Scatter, Series, Table
from seodang.visualize.pixels import SMALL, picture
from seodang.visualize.scale import number, percent

NEAREST = 7
VOTERS = 5
MOST_ASKED, MOST_GROUPS = 10, 20


class Embedded(NamedTuple):
    """The embeddings of examples `rows` of a split, and their classes where there are any."""

    split: str
    rows: Tensor
    values: Tensor
    labels: Tensor | None


def plane_figure(found: Embedded, facts: Facts) -> Scatter:
    """Return the embeddings in the plane of their largest spread, one colour for each class."""
    made = plane(found.values)
    names = (facts.classes or ())[:MOST_GROUPS]
    groups: list[Series] = []
    if found.labels is None or not names:
        groups.append(Series(found.split, made.points[:, 0].tolist(), made.points[:, 1].tolist()))
    else:
        for place, name in enumerate(names):
            points = made.points[found.labels == place]
            groups.append(Series(name, points[:, 0].tolist(), points[:, 1].tolist(), place))
    axes = [
        Axis(say("direction {number}", number=place + 1) + f" ({percent(share)})")
        for place, share in enumerate(made.shares)
    ]
    return Scatter(
        say("Embeddings"), say("{count} examples in a plane.", count=len(found.rows)), tuple(groups), *axes,
        about=say("{count} examples of {split}, {size} numbers each, in the two directions of their largest spread; in brackets the share "
                  "of all spread.", count=f"{len(found.rows):,}", split=found.split, size=found.values.shape[1]), name="embeddings",
    )  # fmt: skip


def agreement_table(found: Embedded, facts: Facts, near: Neighbours) -> Table | None:
    """Return for each class how many of its neighbours are of it too; None without classes."""
    if found.labels is None or facts.classes is None or near.rows.shape[1] == 0:
        return None
    same = (found.labels[near.rows] == found.labels[:, None]).double().mean(1)
    rows, values = [], []
    for place, name in enumerate(facts.classes):
        inside = found.labels == place
        if count := int(inside.sum()):
            share = float(same[inside].mean())
            rows.append((name, f"{count:,}", percent(share)))
            values.append((name, float(count), share))
    voted = agreement(Neighbours(near.rows[:, :VOTERS], near.cosines[:, :VOTERS]), found.labels)
    columns = (
        Column(say("class")),
        Column(say("examples"), number=True),
        Column(say("neighbours of its class"), number=True, bar=True),
    )
    return Table(
        say("Are neighbours alike?"), say("{count} classes.", count=len(rows)), columns, tuple(rows), tuple(values),
        about=say("Of the {nearest} nearest neighbours by cosine, how many are of the same class. The vote of {voters} neighbours alone, "
                  "without the last layer, is right for {share}.", nearest=near.rows.shape[1], voters=min(VOTERS, near.rows.shape[1]),
                  share=percent(voted)), name="neighbours-table",
    )  # fmt: skip


def first_of_each(labels: Tensor | None, count: int) -> list[int]:
    """Return the first example of each class, or the first ones."""
    if labels is None:
        return list(range(min(count, MOST_ASKED)))
    values = labels.tolist()
    return sorted({label: place for place, label in reversed(list(enumerate(values)))}.values())[:MOST_ASKED]


def neighbours_figure(
    asked: Tensor, asked_names: Sequence[str], near: Neighbours, shown: Tensor, names: Sequence[str], facts: Facts
) -> Images:  # fmt: skip
    """Return one row for each asked picture: itself, then its neighbours (numbers in `shown`), with their cosines."""
    inputs = facts.inputs
    assert isinstance(inputs, ImageInputs)
    images, captions = [], []
    for place, image in enumerate(asked):
        images.append(picture(image, inputs))
        captions.append(asked_names[place])
        for row, cosine in zip(near.rows[place].tolist(), near.cosines[place].tolist(), strict=True):
            images.append(picture(shown[row], inputs))
            captions.append(f"{names[row]}\n{number(cosine)}")
    return Images(
        say("Nearest neighbours"), say("{count} pictures and those the network takes for alike.", count=len(asked)), tuple(images),
        tuple(captions), columns=1 + near.rows.shape[1], smooth=max(inputs.height, inputs.width) > SMALL,
        about=say("First in each row a picture, then those whose embeddings point most nearly the same way, with the cosine between."),
        name="neighbours",
    )  # fmt: skip


def near_figures(
    found: Embedded, facts: Facts, pictures: Tensor | None, given: tuple[Tensor, Tensor, Sequence[str]] | None
) -> list[Figure]:
    """Return plane, neighbours and table. `pictures` are those of the examples, `given` pictures of a person: themselves,
    their embeddings, their names."""
    near = neighbours(found.values, found.values, NEAREST, same=True)
    figures: list[Figure] = [plane_figure(found, facts)]
    classes = facts.classes or ()
    names = [str(row) if found.labels is None or not classes else classes[int(found.labels[place])]
             for place, row in enumerate(found.rows.tolist())]  # fmt: skip
    if pictures is not None and given is not None:
        figures.append(
            neighbours_figure(given[0], given[2], neighbours(given[1], found.values, NEAREST), pictures, names, facts)
        )
    elif pictures is not None:
        asked = torch.tensor(first_of_each(found.labels, len(found.rows)))
        own = Neighbours(near.rows[asked], near.cosines[asked])
        figures.append(
            neighbours_figure(pictures[asked], [names[place] for place in asked.tolist()], own, pictures, names, facts)
        )
    table = agreement_table(found, facts, near)
    return [*figures, table] if table else figures
