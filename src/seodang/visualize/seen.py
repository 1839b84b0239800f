"""What training sees: pictures of the first batches, augmented and mixed, below each the label it is trained on."""

from __future__ import annotations

from typing import Any

import torch

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.data.dataset import Dataset, Loader
from seodang.task.base import Task
from seodang.task.classification import Classification
from seodang.task.mixing import Mixed
from seodang.visualize.figure import Figure, Images
from seodang.visualize.pixels import SMALL, picture
from seodang.visualize.scale import percent

BATCHES, EACH = 3, 8
"""Batches drawn, each mixed with a share of its own, and pictures in each."""


def seen_figures(recipe: Recipe, task: Task, data: Dataset) -> list[Figure]:
    """Return the pictures of `BATCHES` small batches as training sees them; nothing where there are no pictures."""
    inputs = data.facts.inputs
    if not isinstance(inputs, ImageInputs) or not data.facts.sizes.get("train"):
        return []
    loader = Loader(data.split("train"), EACH, recipe.seed)
    images, captions = [], []
    with torch.random.fork_rng(devices=[]):  # to look is to change nothing
        torch.manual_seed(recipe.seed)
        for _ in range(min(BATCHES, len(loader))):
            batch = next(loader)
            mixed = task.seen(batch) if isinstance(task, Classification) else Mixed(batch[0], batch[1], batch[1], 1.0)
            images += [picture(image, inputs) for image in mixed.inputs]
            captions += labels_of(mixed, data.facts)
    changes = in_words(recipe, task)
    alt = say("{count} training pictures as the network gets them: {changes}.", count=len(images),
              changes=", ".join(changes) or say("unchanged"))  # fmt: skip
    about = alt
    if any("\n" in caption for caption in captions):
        about += " " + say("Below each: the classes it counts as, and how much of each.")
    return [Images(say("What training sees"), alt, tuple(images), tuple(captions) if any(captions) else (), columns=EACH,
                   smooth=max(inputs.height, inputs.width) > SMALL, about=about, name="seen")]  # fmt: skip


def labels_of(mixed: Mixed, facts: Facts) -> list[str]:
    """Return the label of each example in words; of a mixed one both classes with their shares."""
    if mixed.labels is None or facts.classes is None:
        return [""] * len(mixed.inputs)
    captions = []
    for first, second in zip(mixed.labels.tolist(), mixed.others.tolist(), strict=True):
        one, other = facts.classes[first], facts.classes[second]
        if mixed.share == 1:
            captions.append(one)
        elif first == second:
            captions.append(f"{one}\n{percent(1.0)}")
        else:
            captions.append(f"{one} {percent(mixed.share)}\n{other} {percent(1 - mixed.share)}")
    return captions


def in_words(recipe: Recipe, task: Task) -> list[str]:
    """Return what changes the pictures on the way, as the recipe writes it."""
    written: Any = recipe.data.settings.get("augment", ())
    names = [item if isinstance(item, str) else str(dict(item)["name"]) for item in written]
    mixing = [f"{name}={value}" for name in ("mixup", "cutmix") if (value := getattr(task.settings, name, 0))]
    return [*names, *mixing]
