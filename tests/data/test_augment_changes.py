"""Colour, resized crop, erasing, cutout and noise against their papers, Pillow and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor

from seodang.core.errors import ConfigError
from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data.augment import Augmentation, changed, fitted
from seodang.data.augment_colour import LUMA, colour_matrix
from seodang.data.augment_crop import first_fitting, spread
from seodang.data.dataset import Draws, generator
from seodang.data.images import MemoryImages

RGB = ImageInputs(channels=3, height=20, width=30, mean=(0.2, 0.5, 0.7), std=(0.3, 0.2, 0.1))


def pictures(count: int, low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, (count, 3, 20, 30), dtype=torch.uint8, generator=generator("augment changes"))


def draws(total: int) -> Draws:
    return Draws(0, 0, 0, total, slice(None))


def made(name: str, inputs: ImageInputs = RGB, **settings: Any) -> Augmentation:
    return fitted([Choice.of({"name": name, **settings})], inputs)[0]


def applied(images: Tensor, name: str, **settings: Any) -> Tensor:
    return changed(images, [made(name, **settings)], draws(len(images)))


class Told(Draws):
    """Draws that are told what to draw: each row is the four numbers of one picture, between -1 and 1."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__(0, 0, 0, len(rows), slice(None))
        self.rows = torch.tensor(rows)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        assert (shape, low, high) == ((4,), -1, 1)
        return self.rows


# ---------------------------------------------------------------------------------------------- colour


@pytest.mark.parametrize(
    ("name", "place", "enhance"),
    [("brightness", 0, ImageEnhance.Brightness), ("contrast", 1, ImageEnhance.Contrast), ("saturation", 2, ImageEnhance.Color)],
)  # fmt: skip
@pytest.mark.parametrize("amount", [-0.4, 0.3])
def test_colour_changes_as_pillow_does(name: str, place: int, enhance: Any, amount: float) -> None:
    images = pictures(3, 90, 160)  # nothing reaches 0 or 255
    row = [0.0] * 4
    row[place] = amount / 0.4
    found = made(name)(images.float(), Told([row] * 3))
    for before, after in zip(images, found, strict=True):
        wanted = enhance(Image.fromarray(before.permute(1, 2, 0).numpy())).enhance(1 + amount)
        assert (
            np.abs(after.permute(1, 2, 0).numpy() - np.asarray(wanted, dtype=float)).max() <= 1.2
        )  # Pillow rounds the grey level, then cuts off


def test_hue_turns_colours_about_grey_and_back() -> None:
    images = pictures(4, 100, 150).float()
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    third = made("hue", hue=120.0)
    turned = third(images, Told([[0, 0, 0, 1.0]] * 4))
    assert (turned - images).abs().max() > 10
    assert third(grey, Told([[0, 0, 0, 1.0]] * 4)).sub(grey).abs().max() < 1e-3
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    torch.testing.assert_close((turned * luma).sum(1), (images * luma).sum(1), rtol=0, atol=0.01)
    again = third(third(turned, Told([[0, 0, 0, 1.0]] * 4)), Told([[0, 0, 0, 1.0]] * 4))
    torch.testing.assert_close(again, images, rtol=0, atol=0.05)


def test_a_hue_of_red_becomes_green_after_a_third_of_a_turn() -> None:
    red = colour_matrix(torch.ones(1), torch.tensor([2 * torch.pi / 3]))[0] @ torch.tensor([1.0, 0.0, 0.0])
    assert red.argmax() == 1


def test_the_four_changes_commute_where_nothing_is_cut() -> None:
    images = pictures(2, 110, 130).float()
    numbers = [0.3, -0.5, 0.7, 0.9]
    at_once = made("colour", hue=30.0)(images, Told([numbers] * 2))
    one_by_one = images
    for place, name in reversed(list(enumerate(["brightness", "contrast", "saturation", "hue"]))):
        row = [0.0] * 4
        row[place] = numbers[place]
        settings = {"hue": 30.0} if name == "hue" else {}
        one_by_one = made(name, **settings)(one_by_one, Told([row] * 2))
    torch.testing.assert_close(at_once, one_by_one, rtol=0, atol=0.01)


def test_colour_reaches_its_strength_and_stays_within_the_levels() -> None:
    grey = torch.full((800, 3, 4, 4), 100, dtype=torch.uint8)
    levels = applied(grey, "brightness", brightness=0.4)[:, 0, 0, 0]
    assert 60 <= levels.min() < 62
    assert 138 < levels.max() <= 140
    wild = applied(pictures(50), "colour", brightness=1.0, contrast=1.0, saturation=1.0, hue=180.0)
    assert (wild.min(), wild.max()) == (0, 255)


def test_brightness_and_contrast_of_grey_pictures() -> None:
    inputs = ImageInputs(channels=1, height=6, width=6, mean=(0.5,), std=(0.5,))
    images = torch.randint(80, 120, (5, 1, 6, 6), generator=generator(1)).float()
    change = made("colour", inputs, brightness=0.5, contrast=0.4, saturation=0.0)
    mean = images.mean((1, 2, 3), keepdim=True)
    wanted = 1.2 * (0.8 * images + 0.2 * mean)
    torch.testing.assert_close(change(images, Told([[0.4, -0.5, 0, 0]] * 5)), wanted, rtol=0, atol=0.01)


# -------------------------------------------------------------------------------------------- resized crop


def test_a_part_is_enlarged_as_if_it_were_a_picture_of_its_own() -> None:
    image = pictures(1).float()
    top, left, tall, wide = (torch.tensor([value]) for value in (3, 5, 9, 14))
    x, y = spread(left, wide, 30), spread(top, tall, 20)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    found = F.grid_sample(image, grid, align_corners=False)
    wanted = F.interpolate(image[:, :, 3:12, 5:19], size=(20, 30), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.02)


def test_parts_have_the_areas_that_were_asked_for() -> None:
    across = torch.arange(24.0).expand(600, 1, 24, 24)
    down = torch.arange(24.0)[:, None].expand(600, 1, 24, 24)
    inputs = ImageInputs(channels=1, height=24, width=24, mean=(0.5,), std=(0.5,))
    crop = made("resized-crop", inputs, least=0.25)
    wide, tall = (crop(ramp, draws(600)).flatten(1) for ramp in (across, down))
    areas = (wide.amax(1) - wide.amin(1) + 1) * (tall.amax(1) - tall.amin(1) + 1) / 576
    assert 0.2 < areas.min() < 0.32
    assert areas.max() > 0.9
    assert areas.mean() == pytest.approx(0.6, abs=0.05)


def test_the_first_rectangle_that_fits_is_taken() -> None:
    areas, aspects = torch.tensor([[90.0, 20.0, 25.0]]), torch.tensor([[4.0, 1.25, 1.0]])
    tall, wide, fits = first_fitting(areas, aspects, 10, 10)
    assert (tall.item(), wide.item(), fits.item()) == (4, 5, True)
    assert not first_fitting(areas[:, :1], aspects[:, :1], 10, 10)[2].item()


# ----------------------------------------------------------------------------------- erasing, cutout, noise


def boxes(hit: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and width of the region that was hit in each picture (B, H, W); it has no holes."""
    tall, wide = hit.any(2).sum(1), hit.any(1).sum(1)
    assert torch.equal(hit.flatten(1).sum(1), tall * wide)
    return tall, wide


def test_half_of_the_pictures_lose_a_rectangle_of_the_papers_size_and_shape() -> None:
    images = torch.full((1500, 3, 20, 30), 7, dtype=torch.uint8)
    erased = applied(images, "erase", value="white")
    assert erased.dtype == torch.uint8
    assert set(erased.unique().tolist()) == {7, 255}
    hit = (erased == 255).all(1)
    assert torch.equal(hit, (erased == 255).any(1))
    tall, wide = boxes(hit)
    touched = tall > 0
    assert touched.float().mean() == pytest.approx(0.5, abs=0.05)
    areas, ratios = (tall * wide)[touched] / 600, tall[touched] / wide[touched]
    assert 0.01 < areas.min() < 0.05
    assert 0.37 < areas.max() < 0.43
    assert 0.24 < ratios.min() < 0.4
    assert 2.5 < ratios.max() <= 4
    assert hit.any(0).all()  # everywhere


def test_random_erasing_puts_every_level_with_the_same_chance() -> None:
    images = torch.full((600, 3, 20, 30), 7, dtype=torch.uint8)
    erased = applied(images, "erase", probability=1.0)
    assert applied(images, "erase", probability=1.0, value="black").unique().tolist() == [0, 7]
    levels = erased[erased != 7].float()
    assert levels.mean() == pytest.approx(127.9, abs=1)
    assert levels.std() == pytest.approx(73.9, abs=1)
    assert len(levels.unique()) == 255


@pytest.mark.parametrize("name", ["erase", "cutout"])
def test_the_mean_is_zero_after_normalisation(name: str) -> None:
    change: dict[str, Any] = {"name": name, "value": "mean"}
    examples = MemoryImages(pictures(60), None, RGB, [Choice.of(change)])
    batch = examples.batch(torch.arange(60), draws(60)).images
    covered = batch.abs().amax(1) < 1e-5
    assert covered.flatten(1).any(1).float().mean() > 0.3


def test_cutout_has_its_centre_on_any_pixel_so_that_squares_may_stick_out() -> None:
    images = torch.full((3000, 3, 20, 30), 9, dtype=torch.uint8)
    hit = (applied(images, "cutout", size=8, value="black") == 0).all(1)
    tall, wide = boxes(hit)
    assert (tall.max(), wide.max()) == (8, 8)
    assert (tall.min(), wide.min()) == (4, 4)
    assert (tall == 8).float().mean() == pytest.approx(13 / 20, abs=0.04)
    assert (wide == 8).float().mean() == pytest.approx(23 / 30, abs=0.04)
    assert hit.any(0).all()
    assert boxes((applied(images, "cutout", value="black") == 0).all(1))[0].max() == 10  # half of the shorter side
    several = (applied(images, "cutout", size=4, holes=3, value="black") == 0).all(1).flatten(1).sum(1)
    assert several.max() > 40


def test_noise_is_gaussian_of_the_strength_asked_for_even_on_black() -> None:
    noise = applied(torch.zeros(200, 3, 20, 30, dtype=torch.uint8), "noise", std=30.0)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    assert noise.std() == pytest.approx(30, abs=0.3)
    assert (noise.abs() < 30).float().mean() == pytest.approx(0.6827, abs=0.005)


# ----------------------------------------------------------------------------------------------- refused


GREY = ImageInputs(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "colour"}, "saturation=0.4 changes colours, but these pictures have 1 channel"),
        ({"name": "hue"}, "hue=18.0 changes colours"),
        ({"name": "cutout", "size": 8}, "cutout with size=8 can leave nothing of a picture of 8×8"),
        ({"name": "erase", "least": 0.5}, "erase has least=0.5, but most=0.4"),
        ({"name": "crop", "fill": "reflect", "pixels": 8}, "pixels=8 with fill=reflect mirrors more than a picture of 8×8 has"),
        ({"name": "noise", "std": 0.0}, "augmentation.std: should be greater than 0"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_does_not_go_with_the_pictures_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fitted([Choice.of(change)], GREY)
    assert message in str(caught.value)
