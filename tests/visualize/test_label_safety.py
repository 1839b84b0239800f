"""Label safety: planted classes of which a flip breaks two and leaves one, under a model that knows them exactly."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, generator
from seodang.data.images import MemoryImages
from seodang.visualize.figure import Images, Matrix
from seodang.visualize.label_safety import measure, safety_figures, spelled

INPUTS = ImageInputs(channels=1, height=9, width=9, mean=(0.3,), std=(0.4,))
CLASSES = ("left", "middle", "right")


class Bars(Dataset):
    """A bright column on the left, in the middle or on the right, on dark noise."""

    kinds: ClassVar[tuple[str, ...]] = ("classification",)

    def __init__(self, count: int = 900) -> None:
        super().__init__(Config(), 0)
        self.labels = torch.arange(count) % 3
        self.images = torch.randint(0, 40, (count, 1, 9, 9), dtype=torch.uint8, generator=generator("bars"))
        for place, column in enumerate((1, 4, 7)):
            self.images[self.labels == place, :, :, column] = 230
        self.facts = Facts(inputs=INPUTS, classes=CLASSES, sizes={"test": count})

    def split(self, name: str) -> MemoryImages:
        return MemoryImages(self.images, self.labels, INPUTS)


class Knower(nn.Module):
    """Answers where the brightest column is; `wrong` of a hundred pictures it gets wrong, whatever they show."""

    def __init__(self, wrong: int = 0) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, images: Tensor) -> Tensor:
        logits = images.mean((1, 2))[:, [1, 4, 7]]
        places = torch.arange(len(images))
        logits[places % 100 < self.wrong] *= -1
        return logits


def found(*changes: Any, wrong: int = 0) -> Any:
    choices = [Choice.of({"name": change} if isinstance(change, str) else change) for change in changes]
    return measure(Knower(wrong), Bars(), choices)


def test_a_flip_breaks_the_two_classes_it_exchanges_and_no_other() -> None:
    split, count, (flip,) = found({"name": "flip", "probability": 1.0})
    assert (split, count, flip.changed) == ("test", 900, 900)
    left, middle, right = flip.classes
    assert (left.verdict, left.taken_for, left.taken_share) == ("breaks", "right", 1.0)
    assert (right.verdict, right.taken_for) == ("breaks", "left")
    assert (middle.verdict, middle.without, middle.with_, middle.taken_for) == ("keeps", 1.0, 1.0, "")
    assert (flip.without, flip.with_) == (1.0, pytest.approx(1 / 3))
    assert {(true, answer) for _, true, answer in flip.pictures} == {("left", "right"), ("right", "left")}
    assert spelled(flip.those("breaks")) == "left → right (100 % → 0 %), right → left (100 % → 0 %)"


def test_only_pictures_that_changed_count() -> None:
    _, _, (flip,) = found("flip")
    assert 380 < flip.changed < 520
    assert flip.with_ == pytest.approx(1 / 3, abs=0.05)


def test_what_keeps_the_label_is_safe_even_with_a_model_that_errs() -> None:
    _, _, results = found("noise", {"name": "shift", "pixels": 1, "fill": "edge"}, "brightness", wrong=5)
    noise, _, brightness = results
    assert {one.verdict for one in noise.classes + brightness.classes} == {"keeps"}


def test_a_loss_without_one_other_class_in_its_place_is_a_fall() -> None:
    _, _, (noise,) = found({"name": "noise", "std": 255.0})
    assert [one.verdict for one in noise.classes] == ["falls"] * 3
    assert 0.8 < noise.with_ < 0.97


def test_the_charts_show_points_lost_and_what_became_of_the_pictures() -> None:
    split, count, results = found({"name": "flip", "probability": 1.0}, "noise")
    chart, pictures = safety_figures(results, split, count)
    assert isinstance(chart, Matrix)
    assert chart.rows == ("flip (probability=1.0)", "noise")
    assert chart.values[0].tolist() == [-100, 0, -100]
    assert np.abs(chart.values[1]).max() == 0
    assert isinstance(pictures, Images)
    assert pictures.captions[0] == "left → right\nflip (probability=1.0)"
