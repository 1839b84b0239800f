"""From what a person gives to a tensor a model takes, by the facts that travel with the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seodang.core.errors import DataError
from seodang.core.inputs import ImageInputs, Inputs
from seodang.data.images import normalize


def read_input(inputs: Inputs, text: str) -> Tensor:
    """Return the tensor (no batch axis) of one input: a picture's path.

    Raises: DataError
    """
    if isinstance(inputs, ImageInputs):
        path = Path(text)
        image = Image.open(path).convert("L" if inputs.channels == 1 else "RGB").resize((inputs.width, inputs.height))
        pixels = torch.from_numpy(np.asarray(image).copy()).float().div(255)
        return normalize(pixels.reshape(inputs.height, inputs.width, -1).permute(2, 0, 1)[None], inputs)[0]
    raise DataError("{text}: cannot be read as {kind}.", text=text, kind=inputs.kind)
