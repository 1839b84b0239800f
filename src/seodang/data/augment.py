"""Augmentation: random changes of training pictures, a whole batch at a time.

In a recipe: ``augment = ["flip", { name = "affine", degrees = 15 }]``. They are applied in that order, only
to training pictures; each takes its randomness from the batch's `Draws`, so runs repeat and resume exactly.
They are grouped by idea: `augment_geometry` moves, `augment_crop` cuts out, `augment_colour` recolours, `augment_erasing`
covers up or adds noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from jaxtyping import Shaped
from pydantic import AfterValidator
from torch import Tensor

from seodang.core.config import Config
from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.core.registry import Registry
from seodang.data.dataset import Draws


class Augmentation:
    """Changes pictures at random. Subclasses are registered in `augmentations` and called batch by batch.

    Grey levels stay on the scale of 0 to 255; what comes in from outside is 0, black.
    """

    interpolates: bool = False
    """Whether it needs floats; else it moves bytes about, exactly and faster."""

    def __init__(self, settings: Config) -> None:
        self.settings = settings

    def fit(self, inputs: ImageInputs) -> None:
        """Learn what the pictures are like, before the first batch.

        Raises: ConfigError if such pictures cannot be changed so.
        """

    def __call__(self, images: Shaped[Tensor, "B C H W"], draws: Draws) -> Shaped[Tensor, "B C H W"]:
        raise NotImplementedError(f"{type(self).__name__}.__call__")


augmentations: Registry[Augmentation] = Registry("augmentation", "seodang.data")


def _known(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    for choice in choices:
        augmentations.settings(choice)
    return choices


Augment: TypeAlias = Annotated[tuple[Choice, ...], AfterValidator(_known)]
"""The type of an ``augment`` setting: names, or tables with settings, checked when the recipe is read."""


def fitted(choices: Sequence[str | Choice], inputs: ImageInputs) -> list[Augmentation]:
    """Return the augmentations, ready for such pictures.

    Raises: ConfigError if one of them cannot be applied to them.
    """
    made = []
    for choice in choices:
        change = augmentations.make(Choice.of({"name": choice} if isinstance(choice, str) else choice.values()))
        change.fit(inputs)
        made.append(change)
    return made


def changed(
    images: Shaped[Tensor, "B C H W"], changes: Sequence[Augmentation], draws: Draws
) -> Shaped[Tensor, "B C H W"]:
    """Return the pictures after all changes, on the scale of bytes; floats as soon as one of them needs floats."""
    for change in changes:
        images = change(images.float() if change.interpolates else images, draws)
    return images
