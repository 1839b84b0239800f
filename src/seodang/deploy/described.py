"""What a file for elsewhere says of itself: the record of a bundle, and in plain words what must be done to a picture."""

from __future__ import annotations

import json
from typing import Any

from seodang.core.inputs import ImageInputs
from seodang.models.bundle import BundleRecord

RECORD, PREPROCESSING, CLASSES = "seodang", "preprocessing", "classes"
"""Names of what is written: a bundle's `model.json`; for pictures what is done to them; the names of classes in order."""


def described(record: BundleRecord, sizes: str) -> dict[str, str]:
    """Return names and JSON texts to be kept in an exported file."""
    found: dict[str, Any] = {RECORD: record.values()}
    if isinstance(record.facts.inputs, ImageInputs):
        found[PREPROCESSING] = preprocessing(record.facts.inputs, sizes)
    if record.facts.classes is not None:
        found[CLASSES] = list(record.facts.classes)
    return {name: json.dumps(value, ensure_ascii=False, allow_nan=False) for name, value in found.items()}


def preprocessing(inputs: ImageInputs, sizes: str) -> dict[str, Any]:
    """Return what must be done to a picture before a network takes it.

    Units: `resize` is the length in pixels the shorter side is scaled to, null where the picture is scaled so that the
    least is cut off; then `height` × `width` pixels are cut out of the middle; pixels go from 0 to 1; then `mean` is
    subtracted and it is divided by `std`, channel by channel.
    """
    return {"colours": "grey" if inputs.channels == 1 else "RGB", "resize": inputs.resize or None,
            "interpolation": "bilinear", "height": inputs.height, "width": inputs.width, "sizes": sizes,
            "pixels": [0, 1], "mean": list(inputs.mean), "std": list(inputs.std), "layout": "NCHW"}  # fmt: skip
