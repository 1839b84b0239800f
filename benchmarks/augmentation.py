"""Augmentation: whole batches, against a pipeline that treats one picture at a time with Pillow.

    python -m benchmarks.augmentation [THREADS …]

Both begin with pictures as bytes in memory and end with a normalised float32 batch. Both do the same operations with
the same strengths: flip, crop with 4 pixels of padding, rotate by up to 15 degrees bilinearly, brightness, contrast,
saturation and hue, erase a rectangle; then normalise. Each operation is timed alone too. Pillow uses its quickest way: one
matrix for saturation and hue together, nothing converted twice. Rounds take turns; medians are compared.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data.augment_colour import colour_matrix
from seodang.data.dataset import Draws, generator
from seodang.data.images import MemoryImages
from seodang.training.allocator import keep_freed_memory

BATCH, BATCHES, ROUNDS = 256, 4, 7
AGAIN = 5
"""Times the batches are gone through in a round, so that both sides take about as long."""
ERASE = {"name": "erase", "probability": 0.5}
Change = Callable[[Image.Image, random.Random], Image.Image]


# --------------------------------------------------------------------------------------------- with Pillow


def flip(image: Image.Image, draw: random.Random) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else image


def crop(image: Image.Image, draw: random.Random) -> Image.Image:
    left, top = draw.randint(0, 8), draw.randint(0, 8)
    return ImageOps.expand(image, 4).crop((left, top, left + image.width, top + image.height))


def rotate(image: Image.Image, draw: random.Random) -> Image.Image:
    return image.rotate(draw.uniform(-15, 15), Image.Resampling.BILINEAR)


def brightness_and_contrast(image: Image.Image, draw: random.Random) -> Image.Image:
    image = ImageEnhance.Brightness(image).enhance(draw.uniform(0.6, 1.4))
    return ImageEnhance.Contrast(image).enhance(draw.uniform(0.6, 1.4))


def colour(image: Image.Image, draw: random.Random) -> Image.Image:
    image = brightness_and_contrast(image, draw)
    amount, angle = draw.uniform(0.6, 1.4), math.radians(draw.uniform(-18, 18))
    return image.convert("RGB", matrix_for_pillow(amount, angle))


def matrix_for_pillow(amount: float, angle: float) -> tuple[float, ...]:
    """Return the matrix of saturation and hue, as Pillow takes it."""
    rows = BASES[0] + amount * (math.cos(angle) * BASES[1] + math.sin(angle) * BASES[2])
    return tuple(value for row in rows for value in (*row, 0.0))


def _bases() -> tuple[np.ndarray, ...]:
    one, none, turned = (
        colour_matrix(torch.tensor([amount]), torch.tensor([angle]))[0].numpy()
        for amount, angle in ((1.0, 0.0), (0.0, 0.0), (1.0, math.pi / 2))
    )
    return none, one - none, turned - none


BASES = _bases()


def erase(image: Image.Image, draw: random.Random) -> Image.Image:
    if draw.random() >= 0.5:
        return image
    width, height = image.size
    while True:
        area, ratio = draw.uniform(0.02, 0.4) * width * height, draw.uniform(0.3, 1 / 0.3)
        tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < tall <= height and 0 < wide <= width:
            break
    left, top = draw.randint(0, width - wide), draw.randint(0, height - tall)
    image = image.copy()
    noise = draw.randbytes(wide * tall * len(image.getbands()))
    image.paste(Image.frombytes(image.mode, (wide, tall), noise), (left, top))
    return image


def one_by_one(images: np.ndarray, changes: Sequence[Change], inputs: ImageInputs, seed: int) -> Tensor:
    draw = random.Random(seed)
    made = np.empty(images.shape, dtype=np.uint8)  # (B, H, W, C), as pictures come out of a decoder
    for place, pixels in enumerate(images):
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        for change in changes:
            image = change(image, draw)
        made[place] = np.asarray(image).reshape(pixels.shape)
    mean, std = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (inputs.mean, inputs.std))
    return torch.from_numpy(made).permute(0, 3, 1, 2).float().sub_(mean).div_(std)


# -------------------------------------------------------------------------------------------- both in turns


def operations(channels: int) -> dict[str, tuple[Change, dict[str, object]]]:
    """Return each operation: as a function of one picture, and as an augmentation."""
    strong: dict[str, object] = {"name": "colour", "brightness": 0.4, "contrast": 0.4}
    coloured = {**strong, "saturation": 0.4, "hue": 18.0}
    return {
        "flip": (flip, {"name": "flip"}),
        "crop": (crop, {"name": "crop"}),
        "rotate": (rotate, {"name": "rotate", "degrees": 15.0}),
        "colour": (colour, coloured) if channels == 3 else (brightness_and_contrast, {**strong, "saturation": 0.0}),
        "erase": (erase, dict(ERASE)),
    }


def measure(size: int, channels: int, names: Sequence[str]) -> tuple[float, float]:
    """Return pictures per second, one by one and in batches."""
    chosen = operations(channels)
    inputs = ImageInputs(channels=channels, height=size, width=size, mean=(0.4,) * channels, std=(0.25,) * channels)
    pictures = torch.randint(0, 256, (BATCH * BATCHES, channels, size, size), dtype=torch.uint8, generator=generator(0))
    rows = torch.arange(len(pictures)).split(BATCH)
    arrays = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())
    examples = MemoryImages(pictures, None, inputs, [Choice.of(chosen[name][1]) for name in names])
    changes = [chosen[name][0] for name in names]
    seconds: dict[str, list[float]] = {"pillow": [], "batch": []}
    for round_ in range(ROUNDS + 1):
        began = time.perf_counter()
        for chunk in rows:
            one_by_one(arrays[chunk[0] : chunk[-1] + 1], changes, inputs, round_)
        middle = time.perf_counter()
        for index, chunk in enumerate(list(rows) * AGAIN):
            examples.batch(chunk, Draws(0, round_, index, len(chunk), slice(None)))
        ended = time.perf_counter()
        if round_:  # the first warms up
            seconds["pillow"].append(middle - began)
            seconds["batch"].append((ended - middle) / AGAIN)
    pillow, batch = (len(pictures) / statistics.median(found) for found in seconds.values())
    return pillow, batch


def main() -> None:
    keep_freed_memory()  # as training does
    for threads in [int(word) for word in sys.argv[1:]] or [1, 2]:
        torch.set_num_threads(threads)
        for size, channels in ((32, 3), (28, 1)):
            print(
                f"{size} × {size} × {channels}, {threads} thread(s), batches of {BATCH}, median of {ROUNDS} rounds in turns"
            )
            every = list(operations(channels))
            for names in [*([name] for name in every), every]:
                pillow, batch = measure(size, channels, names)
                title = " + ".join(names) if len(names) < len(every) else "all of them"
                print(f"  {title:12} Pillow {pillow:9,.0f}  batch {batch:9,.0f} pictures/s: {batch / pillow:5.1f} x")


if __name__ == "__main__":
    main()
