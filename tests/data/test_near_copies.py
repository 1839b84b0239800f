"""Pictures that look nearly the same, and others that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from seodang.data.inspect import inspect
from seodang.data.near_copies import near_pairs, print_of


def scene(seed: int, size: int = 64) -> Image.Image:
    """Smooth noise: large patches of colour, as photographs have."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


CHANGES = {
    "smaller": lambda picture: picture.resize((40, 40)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "grey": lambda picture: picture.convert("L"),
    "one pixel cut": lambda picture: picture.crop((1, 1, 64, 64)),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_near_copies_are_found_in_the_other_split(tmp_path: Path, change: str) -> None:
    for split, start in (("train", 0), ("test", 50)):
        for number in range(6):
            path = tmp_path / split / ("cat" if number % 2 else "dog") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            scene(start + number).save(path)
    assert not [finding for finding in inspect(tmp_path) if "nearly the same" in finding.message]
    CHANGES[change](scene(3)).save(tmp_path / "test" / "cat" / "copy.jpg", quality=80)
    found = [finding for finding in inspect(tmp_path) if "nearly the same" in finding.message]
    assert len(found) == 1
    assert found[0].level == "warning"
    assert found[0].where.endswith("train/cat/3.png")
    assert "test/cat/copy.jpg" in found[0].message


def test_where_we_split_pairs_are_named_together(tmp_path: Path) -> None:
    for number in range(8):
        path = tmp_path / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        scene(number).save(path)
    scene(4).resize((50, 50)).save(tmp_path / "dog" / "again.png")
    (found,) = [finding.message for finding in inspect(tmp_path) if "nearly the same" in finding.message]
    assert "dog/4.png ≈ dog/again.png" in found


def test_plain_pictures_are_not_compared() -> None:
    plain = [np.full((20, 20, 3), level, dtype=np.uint8) for level in (10, 10, 200)]
    assert [print_of(pixels) for pixels in plain] == [None, None, None]
    assert not list(near_pairs([None, None], [0, 1]))


def test_pairs_are_the_same_for_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [print_of(np.asarray(scene(number // 2).resize((64 - number % 2 * 9,) * 2))) for number in range(20)]
    whole = list(near_pairs(prints, [0] * 20))
    monkeypatch.setattr("seodang.data.near_copies.BLOCK", 3)
    assert list(near_pairs(prints, [0] * 20)) == whole == [(number, number + 1) for number in range(0, 20, 2)]
