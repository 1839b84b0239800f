"""Pictures in memory: normalisation, and every augmentation against what it should do to known pictures."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import SeodangError
from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data.augment import Augment, augmentations
from seodang.data.augment_geometry import similarity_grid
from seodang.data.dataset import Draws, Loader, generator
from seodang.data.images import MemoryImages, channel_statistics, normalize, pixels

INPUTS = ImageInputs(channels=2, height=9, width=12, mean=(0.3, 0.6), std=(0.2, 0.5))
COLOUR_INPUTS = ImageInputs(channels=3, height=9, width=12, mean=(0.3, 0.4, 0.6), std=(0.2, 0.3, 0.5))
UNIT = ImageInputs(channels=2, height=9, width=12, mean=(0.0, 0.0), std=(1.0, 1.0))


def pictures(count: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 2, 9, 12), dtype=torch.uint8, generator=generator("pictures"))


def colour_pictures(count: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 3, 9, 12), dtype=torch.uint8, generator=generator("colours"))


def draws(total: int, rows: slice | None = None, index: int = 0) -> Draws:
    return Draws(0, 0, index, total, rows or slice(None))


def augmented(images: Tensor, name: str, **settings: object) -> Tensor:
    """Return the pictures changed, on the scale of bytes."""
    change = augmentations.make(Choice.of({"name": name, **settings}))
    return change(images.float() if change.interpolates else images, draws(len(images)))


# ---------------------------------------------------------------------------------------------- reading


def test_a_batch_is_the_pixels_normalised() -> None:
    images, labels = pictures(), torch.arange(40)
    rows = torch.tensor([5, 3, 39, 3])
    batch = MemoryImages(images, labels, INPUTS).batch(rows, draws(4))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (INPUTS.mean, INPUTS.std))
    torch.testing.assert_close(batch.images, (images[rows].float() / 255 - mean) / std, rtol=0, atol=2e-6)
    assert batch.labels is not None
    assert batch.labels.tolist() == [5, 3, 39, 3]


def test_one_picture_read_for_prediction_is_normalised_alike_and_back() -> None:
    images = pictures(3)
    batch = MemoryImages(images, None, INPUTS).batch(torch.arange(3), None)
    torch.testing.assert_close(normalize(images / 255, INPUTS), batch.images, rtol=0, atol=2e-6)
    torch.testing.assert_close(pixels(batch.images, INPUTS) * 255, images.float(), rtol=0, atol=1e-3)
    assert batch.labels is None


def test_statistics_are_those_of_every_pixel() -> None:
    images = pictures(5000)
    mean, std = channel_statistics(images)
    values = images.double().transpose(0, 1).flatten(1) / 255
    assert mean == tuple(round(value, 4) for value in values.mean(1).tolist())
    assert std == tuple(round(value, 4) for value in values.std(1, correction=0).tolist())


def test_a_blank_channel_is_divided_by_one() -> None:
    mean, std = channel_statistics(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    assert (mean, std) == ((0.0,), (1.0,))


def test_pictures_stay_bytes_and_are_never_changed() -> None:
    images = pictures()
    before = images.clone()
    examples = MemoryImages(images, None, INPUTS, ["shift", "flip", "affine", "crop"])
    examples.batch(torch.arange(40), draws(40))
    assert examples.images.dtype == torch.uint8
    assert torch.equal(images, before)


# --------------------------------------------------------------------------------------------- when and how


def test_only_training_batches_are_augmented() -> None:
    examples = MemoryImages(pictures(), None, INPUTS, ["shift"])
    rows = torch.arange(40)
    plain = MemoryImages(pictures(), None, INPUTS).batch(rows, None).images
    assert torch.equal(examples.batch(rows, None).images, plain)
    assert not torch.equal(examples.batch(rows, draws(40)).images, plain)


@pytest.mark.parametrize("name", augmentations.names())
def test_the_same_draw_repeats_and_another_differs(name: str) -> None:
    examples, rows = MemoryImages(colour_pictures(), None, COLOUR_INPUTS, [name]), torch.arange(40)
    first = examples.batch(rows, draws(40, index=1)).images
    assert torch.equal(first, examples.batch(rows, draws(40, index=1)).images)
    assert not torch.equal(first, examples.batch(rows, draws(40, index=2)).images)


@pytest.mark.parametrize("name", augmentations.names())
def test_ranks_together_see_what_one_sees(name: str) -> None:
    examples = MemoryImages(colour_pictures(), torch.arange(40), COLOUR_INPUTS, [name])
    one = next(Loader(examples, 15, seed=3))
    parts = [next(Loader(examples, 15, seed=3, rank=rank, world=4)) for rank in range(4)]
    torch.testing.assert_close(torch.cat([part.images for part in parts]), one.images, rtol=0, atol=1e-6)
    assert torch.equal(torch.cat([part.labels for part in parts]), one.labels)  # type: ignore[misc]


def test_several_are_applied_in_the_order_they_are_written() -> None:
    rows, images = torch.arange(40), pictures()
    both = MemoryImages(images, None, UNIT, ["flip", Choice.of({"name": "shift", "pixels": 2})]).batch(rows, draws(40))
    one_draws = draws(40)
    flipped = augmentations.make(Choice(name="flip"))(images, one_draws)
    shifted = augmentations.make(Choice.of({"name": "shift", "pixels": 2}))(flipped, one_draws)
    torch.testing.assert_close(both.images, shifted.float() / 255, rtol=0, atol=1e-6)


class Holder(Config):
    augment: Augment = ()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["shfit"], "There is no augmentation called 'shfit'. Did you mean 'shift'?"),
        ([{"name": "affine", "degres": 3}], "augmentation.degres: is not a setting here. Did you mean 'degrees'?"),
        ([{"name": "affine", "degrees": -1.0}], "augmentation.degrees: should be 0.0 or more"),
        ([{"name": "shift", "pixels": 0}], "augmentation.pixels: should be greater than 0"),
        ([{"name": "scale", "scale": 1.0}], "augmentation.scale: should be less than 1"),
    ],
)
def test_a_wrong_augmentation_is_said_when_it_is_read(written: list[object], message: str) -> None:
    with pytest.raises(SeodangError) as caught:
        Holder.of({"augment": written})
    assert message in str(caught.value)


# --------------------------------------------------------------------------------------------- each of them


def test_shift_moves_whole_pixels_both_ways_and_fills_with_black() -> None:
    images = pictures(400)
    moved = augmented(images, "shift", pixels=2)
    assert moved.dtype == torch.uint8
    padded = F.pad(images, (2, 2, 2, 2))
    seen = set()
    for before, after in zip(padded, moved, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[:, y : y + 9, x : x + 12], after)]
        assert places
        seen.add(places[0])
    assert len(seen) == 25


def test_shift_reaches_an_eighth_unless_told() -> None:
    spot = torch.zeros(500, 1, 16, 24, dtype=torch.uint8)
    spot[:, :, 8, 12] = 255
    where = augmented(spot, "shift").nonzero()
    assert (where[:, 2].min(), where[:, 2].max()) == (6, 10)
    assert (where[:, 3].min(), where[:, 3].max()) == (9, 15)


@pytest.mark.parametrize(("fill", "mode"), [("edge", "replicate"), ("reflect", "reflect"), ("black", "constant")])
def test_what_comes_in_can_be_chosen(fill: str, mode: str) -> None:
    images = pictures(60)
    padded = F.pad(images, (3, 3, 3, 3), mode=mode)
    for before, after in zip(padded, augmented(images, "crop", pixels=3, fill=fill), strict=True):
        windows = before.unfold(1, 9, 1).unfold(2, 12, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert (windows == after).flatten(1).all(1).any()


@pytest.mark.parametrize(("axis", "dim"), [("horizontal", 3), ("vertical", 2)])
def test_flip_mirrors_about_half_of_the_pictures(axis: str, dim: int) -> None:
    images = pictures(400)
    flipped = augmented(images, "flip", axis=axis)
    mirrored = (flipped == images.flip(dim)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) | mirrored).all()
    assert 150 < mirrored.sum() < 250
    assert torch.equal(augmented(images, "flip", axis=axis, probability=1.0), images.flip(dim))


def test_affine_of_no_strength_changes_nothing() -> None:
    images = pictures()
    torch.testing.assert_close(augmented(images, "affine", degrees=0.0, shift=0.0, scale=0.0), images.float(),
                               rtol=0, atol=1e-2)  # fmt: skip


def sampled(
    images: Tensor, degrees: float = 0.0, factor: float = 1.0, move: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    count = len(images)
    grid = similarity_grid(images, torch.full((count,), math.radians(degrees)), torch.full((count,), factor),
                           torch.tensor([move] * count))  # fmt: skip
    return F.grid_sample(images, grid, align_corners=False)


def test_a_right_angle_turns_clockwise_exactly() -> None:
    square = torch.rand(2, 3, 10, 10, generator=generator(0))
    torch.testing.assert_close(sampled(square, 90.0), square.rot90(-1, (2, 3)), rtol=0, atol=1e-4)


def test_a_turn_of_an_oblong_picture_is_a_turn_in_pixels() -> None:
    image = torch.zeros(1, 1, 21, 41)
    image[0, 0, 10, 20 + 8] = 1  # 8 pixels right of the centre
    turned = sampled(image, 90.0)
    assert turned[0, 0, 10 + 8, 20] == pytest.approx(1, abs=1e-4)  # 8 pixels below it


def test_a_move_is_right_and_down_in_pixels() -> None:
    image = torch.rand(1, 1, 9, 12, generator=generator(1))
    moved = sampled(image, move=(3.0, 1.0))
    torch.testing.assert_close(moved[:, :, 1:, 3:], image[:, :, :-1, :-3], rtol=0, atol=1e-4)
    assert moved[:, :, 0].abs().max() < 1e-4
    assert moved[:, :, :, :3].abs().max() < 1e-4


def test_a_factor_above_one_enlarges() -> None:
    image = torch.zeros(1, 1, 20, 20)
    image[:, :, 8:12, 8:12] = 1
    assert sampled(image, factor=2.0).sum() == pytest.approx(64, rel=0.02)
    assert sampled(image, factor=0.5).sum() == pytest.approx(4, rel=0.02)


def test_the_grid_is_that_of_affine_grid() -> None:
    images = torch.zeros(5, 1, 14, 14)
    angle, factor = torch.rand(5) - 0.5, torch.rand(5) + 0.5
    cos, sin = angle.cos() / factor, angle.sin() / factor
    matrix = torch.stack([torch.stack([cos, sin, cos * 0], 1), torch.stack([-sin, cos, cos * 0], 1)], 1)
    expected = F.affine_grid(matrix, [5, 1, 14, 14], align_corners=False)
    torch.testing.assert_close(similarity_grid(images, angle, factor, torch.zeros(5, 2)), expected, rtol=0, atol=1e-6)


def test_strengths_are_reached_and_not_exceeded() -> None:
    dot = torch.zeros(600, 1, 31, 31)
    dot[:, :, 15, 25] = 255  # ten pixels right of the centre
    y, x = torch.meshgrid(torch.arange(31.0) - 15, torch.arange(31.0) - 15, indexing="ij")

    def centre(images: Tensor) -> tuple[Tensor, Tensor]:
        mass = images[:, 0].sum((1, 2))
        return (images[:, 0] * x).sum((1, 2)) / mass, (images[:, 0] * y).sum((1, 2)) / mass

    right, down = centre(augmented(dot, "rotate", degrees=30.0))
    angles = torch.atan2(down, right).rad2deg()
    assert 27 < angles.max() < 32
    assert -32 < angles.min() < -27
    right, down = centre(augmented(dot, "scale", scale=0.2))
    assert 11.5 < right.max() < 12.4
    assert 7.6 < right.min() < 8.5
    assert down.abs().max() < 0.1
    right, down = centre(augmented(dot, "affine", degrees=0.0, scale=0.0, shift=3.0))
    assert 12.7 < right.max() < 13.1
    assert 6.9 < right.min() < 7.3
    assert 2.7 < down.max() < 3.1
