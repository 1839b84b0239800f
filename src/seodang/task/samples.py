"""What a person may ask of a model that draws pictures: how many, and where to write them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from seodang.core.errors import DataError
from seodang.core.files import write
from seodang.core.language import say
from seodang.task.base import Prediction
from seodang.task.pictures import as_bytes, grid, png, whole_pictures

LARGEST = 10_000


def sample_count(text: str) -> int:
    """Return how many pictures ``sample 16`` asks for (``sample`` or nothing: 16), or 0 if it is another request.

    Raises: DataError
    """
    words = text.split()
    if not words or words == ["sample"]:
        return 16
    if words[0] != "sample" or len(words) != 2:
        return 0
    if words[1].isdigit() and 1 <= int(words[1]) <= LARGEST:
        return int(words[1])
    raise DataError("'{text}': write: sample 16 (a number from 1 to {largest})", text=text, largest=LARGEST)


def answer(text: str, images: Float[Tensor, "N C H W"], to: str | None, values: dict[str, Any]) -> Prediction:
    """Return a prediction that is pictures; with `to` they are also written there, as one PNG."""
    if to is not None:
        columns = math.ceil(math.sqrt(len(images)))
        write(Path(to), png(grid(as_bytes(images.cpu()), columns), scale=4))
        text = say("{text} They are in {path}.", text=text, path=to)
    return Prediction(text, {**values, "pictures": whole_pictures(images)})
