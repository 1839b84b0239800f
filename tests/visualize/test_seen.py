"""What training sees: the pictures of the first batches with the labels they are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seodang.core.recipe import Recipe
from seodang.data.dataset import Dataset, datasets
from seodang.task.base import Task, tasks
from seodang.visualize.figure import Images
from seodang.visualize.seen import BATCHES, EACH, seen_figures


def parts(data: dict[str, Any], task: dict[str, Any]) -> tuple[Recipe, Task, Dataset]:
    recipe = Recipe.of(
        {"name": "seen", "about": "", "model": "mlp", "data": data, "task": task, "optimizer": "adam", "seed": 4}
    )
    prepared = datasets.make(recipe.data, None, recipe.seed)
    prepared.prepare()
    return recipe, tasks.make(recipe.task, prepared.facts.known(), prepared.facts), prepared


def shown(data: dict[str, Any], **task: Any) -> Images:
    (figure,) = seen_figures(*parts({"name": "digits", **data}, {"name": "classification", **task}))
    assert isinstance(figure, Images)
    return figure


def test_plain_pictures_stand_over_their_labels() -> None:
    figure = shown({})
    assert len(figure.images) == len(figure.captions) == BATCHES * EACH
    assert set(figure.captions) <= set("0123456789")
    assert "unchanged" in figure.alt


def test_augmented_pictures_differ_and_keep_their_labels() -> None:
    plain, changed = shown({}), shown({"augment": ["cutout", {"name": "shift", "pixels": 2}]})
    assert plain.captions == changed.captions
    assert not any(np.array_equal(one, other) for one, other in zip(plain.images[:4], changed.images[:4], strict=True))
    assert "cutout, shift" in changed.alt


def test_mixed_labels_say_how_much_of_each() -> None:
    plain, figure = shown({}), shown({}, cutmix=1.0)
    assert "cutmix=1.0" in figure.alt
    shares = set()
    for caption, own in zip(figure.captions, plain.captions, strict=True):
        first, second = caption.split("\n")
        if first == own:  # mixed with its own class, or itself
            assert second == "100 %"
            continue
        assert first.split()[0] == own
        numbers = [float(text.split()[1]) for text in (first, second)]
        assert abs(sum(numbers) - 100) < 0.2
        shares.add(numbers[0])
    assert 1 < len(shares) <= BATCHES


def test_to_look_changes_nothing() -> None:
    state = torch.get_rng_state()
    first = shown({}, mixup=0.4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    second = shown({}, mixup=0.4)
    assert first.captions == second.captions


def test_without_pictures_there_is_nothing_to_show() -> None:
    assert seen_figures(*parts({"name": "iris"}, {"name": "classification"})) == []
