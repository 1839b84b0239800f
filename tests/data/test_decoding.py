"""Pictures of every kind become pixels or are refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from seodang.core.errors import DataError
from seodang.data.decoding import Unreadable, decode, header, strict_pillow
from tests.data.pictures import folder, photos, picture

# --------------------------------------------------------------------------------------------- decoding


def saved(image: Image.Image, path: Path, **options: Any) -> bytes:
    image.save(path, **options)
    return path.read_bytes()


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]] * 4, dtype=np.uint16)
    for suffix in ("png", "tiff"):
        data = saved(Image.fromarray(values), tmp_path / f"x.{suffix}")
        assert decode(data, 1)[0, :, 0].tolist() == [0, 1, 128, 255]
    floats = saved(Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)), tmp_path / "f.tiff")
    assert decode(floats, 1).max() == 128


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), tmp_path / "x.png")
    assert (decode(clear, 3) == 255).all()
    half = saved(Image.new("LA", (4, 4), (100, 128)), tmp_path / "y.png")
    assert decode(half, 1)[0, 0, 0] == 177
    palette = saved(Image.new("P", (4, 4), 0), tmp_path / "z.png", transparency=0)
    assert (decode(palette, 3) == 255).all()


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    ink = saved(Image.new("CMYK", (8, 8), (0, 255, 0, 0)), tmp_path / "x.jpg", quality=100)
    assert np.abs(decode(ink, 3)[4, 4].astype(int) - [255, 0, 255]).max() < 3
    palette = saved(Image.new("RGB", (8, 8), (9, 200, 3)).quantize(4), tmp_path / "y.png")
    assert decode(palette, 3)[0, 0].tolist() == [9, 200, 3]
    bits = saved(Image.new("1", (8, 8), 1), tmp_path / "z.png")
    assert decode(bits, 1).min() == 255


def test_pictures_are_turned_as_they_were_taken(tmp_path: Path) -> None:
    values = np.zeros((4, 8, 3), dtype=np.uint8)
    values[:, :4] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    path = tmp_path / "x.png"
    data = saved(Image.fromarray(values), path, exif=exif)
    assert (header(path).height, header(path).width) == (8, 4)
    pixels = decode(data, 3)
    assert pixels.shape == (8, 4, 3)
    assert pixels[:4].min() == 255
    assert pixels[4:].max() == 0


def test_the_first_frame_of_a_film_is_used_and_said(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 3, "b": 3})
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a" / "film.gif", save_all=True, append_images=frames[1:])
    assert decode((tmp_path / "a" / "film.gif").read_bytes(), 3)[0, 0].tolist() == [255, 0, 0]
    assert any(
        "with several frames the first frame is used (film.gif)" in note for note in folder(tmp_path).facts.notes
    )


def truncated(path: Path) -> Path:
    picture(path, 5, (64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def bomb(path: Path) -> Path:
    Image.new("1", (9000, 6000)).save(path)
    return path


def large_bomb(path: Path) -> Path:
    Image.new("1", (20000, 20000)).save(path)
    return path


def text_called_picture(path: Path) -> Path:
    path.write_text("hello")
    return path


def icon_called_png(path: Path) -> Path:
    Image.new("RGB", (16, 16)).save(path, format="ICO")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def broken_link(path: Path) -> Path:
    path.symlink_to(path.with_name("nowhere"))
    return path


def endless_link(path: Path) -> Path:
    path.symlink_to(path)
    return path


def zero_bytes(path: Path) -> Path:
    path.touch()
    return path


def far_too_bright(path: Path) -> Path:
    Image.fromarray(np.full((4, 4), 7.0, dtype=np.float32)).save(path, format="TIFF")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "is damaged or cut off"),
        (bomb, "has 9000 × 6000 pixels, more than 50,000,000 in all"),
        (large_bomb, "has more than 50,000,000 pixels"),
        (text_called_picture, "is no picture in a known format"),
        (icon_called_png, "is no picture in a known format"),
        (pipe, "is not a regular file"),
        (broken_link, r"cannot be read \(No such file or directory\)"),
        (endless_link, r"cannot be read \(Too many levels of symbolic links\)"),
        (zero_bytes, "is empty"),
        (far_too_bright, "holds floating-point grey levels outside 0…1"),
    ],
)
def test_pictures_that_cannot_be_read_are_named_or_skipped_by_wish(tmp_path: Path, make: Any, message: str) -> None:
    photos(tmp_path, {"a": 5, "b": 5})
    make(tmp_path / "a" / "bad.png")
    with pytest.raises(DataError, match=f"bad.png: {message}.*data.on_unreadable=skip"):
        folder(tmp_path)
    data = folder(tmp_path, on_unreadable="skip")
    assert sum(data.facts.sizes.values()) == 10
    assert any(note.startswith("Skipped: a/bad.png") for note in data.facts.notes)


def test_all_bad_pictures_are_listed_up_to_a_few(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 5, "b": 5})
    for index in range(8):
        truncated(tmp_path / "a" / f"bad{index}.jpg")
    with pytest.raises(DataError, match=r"(?s)bad0.jpg.*bad4.jpg.*and 3 more. See them all: seodang check --data"):
        folder(tmp_path)


def test_cut_pictures_are_refused_whatever_another_library_switched_on(tmp_path: Path) -> None:
    path = truncated(tmp_path / "x.jpg")
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # some other library was careless
    try:
        with strict_pillow(), pytest.raises(Unreadable):
            decode(path.read_bytes(), 3)
        assert ImageFile.LOAD_TRUNCATED_IMAGES
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
