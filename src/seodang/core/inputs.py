"""What a model eats and what its answers mean: plain records that travel with the weights.

`Facts` is what a dataset knows about itself. It fills the blanks of the model, is stored in the bundle, and
is all that prediction needs later: sizes, statistics, class names, vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from seodang.core.config import Config
from seodang.core.language import say


class ImageInputs(Config):
    """Pictures of one size. `mean` and `std` are per channel, of pixels scaled to 0…1."""

    kind: Literal["image"] = "image"
    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int = Field(0, ge=0)
    """Pixels the shorter side of a picture file is scaled to before its middle is cut out; 0 = no more than needed is cut."""

    @model_validator(mode="after")
    def _enough_to_cut(self) -> Self:
        if 0 < self.resize < max(self.height, self.width):
            raise ValueError(say("resize={resize} leaves pictures too small to cut {height}×{width} pixels out of them",
                                 resize=self.resize, height=self.height, width=self.width))  # fmt: skip
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)


class Column(Config):
    """One column of a table. A number is standardised, a category one-hot; either may be missing."""

    name: str
    kind: Literal["number", "category"]
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()
    missing: bool = False
    """Whether training rows lacked it; then one more input says so."""

    @property
    def width(self) -> int:
        return (1 if self.kind == "number" else len(self.categories)) + int(self.missing)


class TableInputs(Config):
    """Rows of a table, one input per number and one per category."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(column.width for column in self.columns),)


class VectorInputs(Config):
    """Plain arrays of numbers, standardised by `mean` and `std` (each one number, or one per element)."""

    kind: Literal["vector"] = "vector"
    size: int = Field(gt=0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)


class TokenInputs(Config):
    """Sequences of tokens. `tokenizer` is the text of a Hugging Face ``tokenizer.json``."""

    kind: Literal["tokens"] = "tokens"
    vocab_size: int = Field(gt=0)
    length: int = Field(gt=0)
    tokenizer: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)


class WorldInputs(Config):
    """What an agent sees of a Gymnasium world: `size` numbers; it answers with one of `num_actions`."""

    kind: Literal["world"] = "world"
    environment: str
    size: int = Field(gt=0)
    num_actions: int = Field(gt=0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)


Inputs: TypeAlias = ImageInputs | TableInputs | VectorInputs | TokenInputs | WorldInputs


class Target(Config):
    """The quantity a regression predicts, and how it was standardised."""

    name: str
    mean: float = 0.0
    std: float = 1.0


class Facts(Config):
    """What the data decides about the model, and what people must know about the data."""

    inputs: Annotated[Inputs, Field(discriminator="kind")]
    classes: tuple[str, ...] | None = None
    """Class names in label order; None where there are no classes."""
    several: bool = False
    """Whether an example may have several of the classes, or none; labels are then (B, K) of 0 and 1."""
    targets: tuple[Target, ...] = ()
    """What a regression predicts."""
    sizes: Mapping[str, int]
    """Examples per split: train, valid, test. A split that is not here does not exist."""
    licence: str = "the user's own"
    source: str = "the user's own"
    notes: tuple[str, ...] = ()
    """What was decided while reading: split rule, columns taken for categories, files skipped."""
    digest: str = ""
    """Fingerprint of the examples and their order."""

    def known(self) -> dict[str, Any]:
        """Return the settings of a model that the data decides."""
        inputs = self.inputs
        known: dict[str, Any] = {"in_features": prod(inputs.shape)}
        if isinstance(inputs, ImageInputs):
            known |= {"in_channels": inputs.channels, "image_size": (inputs.height, inputs.width)}
        if isinstance(inputs, TokenInputs):
            known = {"vocab_size": inputs.vocab_size, "max_len": inputs.length}
        if self.classes is not None:
            known |= {"num_classes": len(self.classes), "out_features": len(self.classes)}
        elif self.targets:
            known |= {"out_features": len(self.targets)}
        if isinstance(inputs, WorldInputs):
            known |= {"num_actions": inputs.num_actions, "out_features": inputs.num_actions}
        return known


def has_two_inputs(facts: Facts) -> bool:
    """Return whether the inputs are two numbers: then a plane shows everything a model can say."""
    inputs = facts.inputs
    if isinstance(inputs, VectorInputs):
        return inputs.size == 2
    return isinstance(inputs, TableInputs) and inputs.shape == (2,) and len(inputs.columns) == 2
