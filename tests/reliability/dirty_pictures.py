"""Dirty and clean folders of pictures."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.reliability.dirty_corpus import case, digit, encoded, photos, put

PNG, JPG = encoded(digit(3, 0), "PNG"), encoded(digit(3, 0, 96, "RGB"), "JPEG", quality=95)
RNG = np.random.default_rng(0)
TURNED = Image.Exif()
TURNED[0x0112] = 6
NOISE = Image.fromarray(RNG.integers(0, 256, (96, 96, 3), dtype=np.uint8))


def planted(name: str, content: bytes, form: str = "png"):  # type: ignore[no-untyped-def]
    """Return a maker of a clean folder with one more file in it."""

    def make(root: Path) -> None:
        photos(root, form=form)
        put(root / name, content)

    return make


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def huge(side: int) -> bytes:
    """Return a PNG of side × side white pixels that is small as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff" * ((side + 7) // 8)) * 64)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


CUT = "is damaged or cut off"
for form in ("PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
    case(f"cut {form}", ("error", f"two/x.{form.lower()}", CUT))(
        planted(f"two/x.{form.lower()}", half(encoded(NOISE, form)))
    )
case("cut JPEG", ("error", "two/x.jpg", CUT))(planted("two/x.jpg", half(JPG)))
for quality in (40, 95):
    case(f"cut JPEG with an end, quality {quality}", ("warning", "two/x.jpg", "cut off"))(
        planted("two/x.jpg", encoded(digit(5, 1, 96, "RGB"), "JPEG", quality=quality)[:-300] + b"\xff\xd9")
    )
case("cut JPEG with an end, noise", ("warning", "two/x.jpg", "cut off"))(
    planted("two/x.jpg", encoded(NOISE, "JPEG")[:-600] + b"\xff\xd9")
)
case("cut JPEG with an end, progressive", ("warning", "two/x.jpg", "cut off"))(
    planted("two/x.jpg", encoded(NOISE, "JPEG", progressive=True)[:-900] + b"\xff\xd9")
)
case("cut JPEG with an end, lying on its side", ("warning", "two/x.jpg", "cut off"))(
    planted("two/x.jpg", encoded(NOISE, "JPEG", exif=TURNED)[:-600] + b"\xff\xd9")
)
case("PNG with a flipped bit", ("error", "two/x.png", CUT))(planted("two/x.png", flipped(encoded(NOISE, "PNG"), 9000)))
case("zero bytes long", ("error", "one/x.png", "is empty"))(planted("one/x.png", b""))
case("zero bytes long, JPEG", ("error", "one/x.jpg", "is empty"))(planted("one/x.jpg", b"", "jpg"))
case("all zeros", ("error", "one/x.png", "is no picture"))(planted("one/x.png", bytes(4096)))
case("text named png", ("error", "one/x.png", "is no picture"))(planted("one/x.png", b"hello"))
case("error page named jpg", ("error", "one/x.jpg", "is no picture"))(
    planted("one/x.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
)
case("HEIC named jpg", ("error", "one/x.jpg", "is no picture"))(
    planted("one/x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
)
case("SVG named png", ("error", "one/x.png", "is no picture"))(
    planted("one/x.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>')
)
case("JPEG named png", ("warning", "one/x.png", "is JPEG"))(planted("one/x.png", JPG))
case("PNG named jpg", ("warning", "one/x.jpg", "is PNG"))(planted("one/x.jpg", PNG))
case("GIF named bmp", ("warning", "one/x.bmp", "is GIF"))(planted("one/x.bmp", encoded(digit(2, 9), "GIF")))
case("CMYK", ("note", "one/x.jpg", "CMYK"))(planted("one/x.jpg", encoded(NOISE.convert("CMYK"), "JPEG")))
case("16 bits", ("note", "one/x.png", "16 bits"))(
    planted("one/x.png", encoded(Image.fromarray((np.arange(1024).reshape(32, 32) * 64).astype(np.uint16)), "PNG"))
)
case("turned by EXIF", ("note", "one/x.jpg", "turned"))(planted("one/x.jpg", encoded(NOISE, "JPEG", exif=TURNED)))
FRAMES = [digit(4, index, mode="L") for index in range(3)]
for form in ("GIF", "PNG", "WEBP", "TIFF"):
    case(f"moving {form}", ("note", f"one/x.{form.lower()}", "several frames"))(
        planted(f"one/x.{form.lower()}", encoded(FRAMES[0], form, save_all=True, append_images=FRAMES[1:]))
    )
case("transparent", ("note", "one/x.png", "transparent"))(
    planted("one/x.png", encoded(Image.fromarray(RNG.integers(0, 256, (32, 32, 4), dtype=np.uint8)), "PNG"))
)
case("one pixel", ("warning", "two/x.png", "1 × 1 pixels"))(
    planted("two/x.png", encoded(Image.new("L", (1, 1)), "PNG"))
)
case("one row", ("warning", "two/x.png", "200 × 1 pixels"))(
    planted("two/x.png", encoded(NOISE.resize((200, 1)), "PNG"))
)
case("a bomb", ("error", "two/x.png", "pixels"))(planted("two/x.png", huge(30_000)))
case("a larger bomb", ("error", "two/x.png", "pixels"))(planted("two/x.png", huge(200_000)))
case("one colour", ("warning", "two/x.png", "all one colour"))(
    planted("two/x.png", encoded(Image.new("RGB", (32, 32), "navy"), "PNG"))
)
case("nothing but transparency", ("warning", "two/x.png", "all one colour"))(
    planted("two/x.png", encoded(Image.new("RGBA", (32, 32)), "PNG"))
)
case("floats out of range", ("error", "two/x.tiff", "floating-point grey levels"))(
    planted("two/x.tiff", encoded(Image.fromarray(np.linspace(-3, 9, 1024, dtype=np.float32).reshape(32, 32)), "TIFF"))
)


@case("a folder with the name of a picture", ("error", "one/x.jpg", "is a folder with the name of a picture"))
def _(root: Path) -> None:
    photos(root)
    put(root / "one" / "x.jpg" / "a.png", PNG)


@case("a file nobody may read", ("error", "one/x.png", "Permission denied"))
def unreadable(root: Path) -> None:
    photos(root)
    put(root / "one" / "x.png", PNG).chmod(0)


@case("a folder nobody may read", ("error", "three", "cannot be read"))
def unreadable_folder(root: Path) -> None:
    photos(root)
    put(root / "three" / "x.png", PNG)
    (root / "three").chmod(0)


@case("a link in a circle", ("warning", "one/round", "link to a folder it lies in"))
def _(root: Path) -> None:
    photos(root)
    (root / "one" / "round").symlink_to(root / "one")


@case("a picture that links to itself", ("error", "one/x.png", "symbolic links"))
def _(root: Path) -> None:
    photos(root)
    (root / "one" / "x.png").symlink_to("x.png")


@case("a picture that links to nothing", ("error", "one/x.png", "No such file"))
def _(root: Path) -> None:
    photos(root)
    (root / "one" / "x.png").symlink_to(root / "gone.png")


@case("a class that links to nothing", ("error", "three", "leads nowhere"))
def _(root: Path) -> None:
    photos(root)
    (root / "three").symlink_to(root.parent / "gone")


@case("a pipe", ("error", "one/x.png", "is not a regular file"))
def _(root: Path) -> None:
    photos(root)
    os.mkfifo(root / "one" / "x.png")


@case("a file name that is no UTF-8", ("note", r"one/caf\xe9.png", "no UTF-8"))
def _(root: Path) -> None:
    photos(root)
    put(Path(os.fsdecode(os.fsencode(root) + b"/one/caf\xe9.png")), PNG)


@case("a class name that is no UTF-8", ("error", r"caf\xe9", "has a name that is no UTF-8"))
def _(root: Path) -> None:
    photos(root)
    put(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9/a.png")), PNG)


for first, second in (("train", "test"), ("train", "valid"), ("valid", "test")):

    @case(f"a picture in {first} and {second}", ("error", f"{first}/one/0.png", "in another split"))
    def _(root: Path, first: str = first, second: str = second) -> None:
        photos(root, "train", "valid", "test")
        put(root / second / "one" / "copy.png", (root / first / "one" / "0.png").read_bytes())


@case("a picture in two splits, saved anew", ("warning", "train/one/0.png", "in another split"))
def _(root: Path) -> None:
    photos(root, "train", "test")
    with Image.open(root / "train" / "one" / "0.png") as image:
        image.save(root / "test" / "one" / "copy.bmp")


@case("a picture in two classes", ("warning", "one/0.png", "in another class"))
def _(root: Path) -> None:
    photos(root)
    put(root / "two" / "copy.png", (root / "one" / "0.png").read_bytes())


@case("a picture in two classes, saved anew", ("warning", "one/0.png", "in another class"))
def _(root: Path) -> None:
    photos(root)
    with Image.open(root / "one" / "0.png") as image:
        image.save(root / "two" / "copy.tiff", compression="tiff_lzw")


@case("a picture twice in a class", ("note", "one/0.png", "is the same file as"))
def _(root: Path) -> None:
    photos(root)
    put(root / "one" / "copy.png", (root / "one" / "0.png").read_bytes())


@case("an empty class", ("error", "three", "holds no picture"))
def _(root: Path) -> None:
    (photos(root) / "three").mkdir()


@case("a class of other files", ("error", "three", "holds no picture"))
def _(root: Path) -> None:
    put(photos(root) / "three" / "readme.txt", "soon")


@case("pictures in formats nobody reads", ("warning", "one/x.heic", "format"))
def _(root: Path) -> None:
    put(photos(root) / "one" / "x.heic", b"\0\0\0\x18ftypheic")


@case("one class", ("error", "", "one class only"))
def _(root: Path) -> None:
    photos(root, names=("zero",))


@case("one class around everything", ("error", "", "one class only"))
def _(root: Path) -> None:
    photos(root / "pictures")


for split in ("valid", "test"):

    @case(f"a class that {split} lacks", ("warning", split, "class 'two' has no pictures here"))
    def _(root: Path, split: str = split) -> None:
        photos(root, "train", "valid", "test")
        for path in (root / split / "two").iterdir():
            path.unlink()
        (root / split / "two").rmdir()

    @case(f"a class that only {split} has", ("error", "", f"class 'three' is in {split} but not in train"))
    def _(root: Path, split: str = split) -> None:
        photos(root, "train", "valid", "test")
        for index in range(8):
            put(root / split / "three" / f"{index}.png", encoded(digit(3, index), "PNG"))


@case("a class spelled differently", ("error", "", "class 'Two' is in test but not in train. Did you mean 'two'"),
      ("warning", "test", "class 'two' has no pictures"))  # fmt: skip
def _(root: Path) -> None:
    photos(root, "train", "test")
    (root / "test" / "two").rename(root / "test" / "Two")


@case("two classes alike but for capitals", ("warning", "", "differ in capitals"))
def _(root: Path) -> None:
    photos(root, names=("zero", "one", "One"))


@case("a class of one", ("warning", "", "class 'three' has 1 examples only"))
def _(root: Path) -> None:
    put(photos(root) / "three" / "0.png", PNG)


@case("uneven classes", ("warning", "", "classes are uneven"))
def _(root: Path) -> None:
    photos(root, names=("zero",), count=150)
    for index in range(6):
        put(root / "one" / f"{index}.png", encoded(digit(1, index), "PNG"))


@case("pictures beside classes", ("error", "", "beside the folders of classes"))
def _(root: Path) -> None:
    put(photos(root) / "loose.png", PNG)


@case("pictures beside splits", ("error", "", "beside the folders train"))
def _(root: Path) -> None:
    put(photos(root, "train", "test") / "loose.png", PNG)


@case("a folder beside splits", ("error", "extra", "lies beside train"))
def _(root: Path) -> None:
    put(photos(root, "train", "test") / "extra" / "a.png", PNG)


@case("an empty split", ("error", "valid", "is empty"))
def _(root: Path) -> None:
    (photos(root, "train", "test") / "valid").mkdir()


@case("no training pictures", ("error", "", "no folder 'train'"))
def _(root: Path) -> None:
    photos(root, "valid", "test")


@case("a test split without classes", ("error", "", "some splits have folders of classes and some have not"),
      also=("has no pictures here",))  # fmt: skip
def _(root: Path) -> None:
    photos(root, "train")
    for index in range(6):
        put(root / "test" / f"{index}.png", encoded(digit(6, index), "PNG"))


@case("no pictures at all", ("error", "", "holds no pictures"))
def _(root: Path) -> None:
    put(root / "readme.txt", "soon")


@case("an empty folder", ("error", "", "holds no pictures"))
def _(root: Path) -> None:
    root.mkdir(exist_ok=True)


@case(
    "no picture can be read",
    ("error", "a/x.png", "is no picture"),
    ("error", "b/x.png", "is no picture"),
    ("error", "", "none of its 2 pictures can be read"),
)
def _(root: Path) -> None:
    put(root / "a" / "x.png", "x")
    put(root / "b" / "x.png", "y")


# ------------------------------------------------------------------------------------------------- clean

case("clean: digits")(lambda root: photos(root))
case("clean: JPEG")(lambda root: photos(root, form="jpg", mode="RGB"))
case("clean: dark JPEG")(lambda root: photos(root, form="jpg", side=96))
case("clean: splits")(lambda root: photos(root, "train", "valid", "test"))
case("clean: train and test")(lambda root: photos(root, "train", "test"))
case("clean: splits named otherwise")(lambda root: photos(root, "Training", "val", "testing"))


@case("clean: without classes")
def _(root: Path) -> None:
    for index in range(12):
        put(root / f"{index}.png", encoded(digit(index % 10, index), "PNG"))


@case("clean: what systems leave behind")
def _(root: Path) -> None:
    photos(root, "train", "test")
    for folder in (root, root / "train", root / "train" / "one"):
        for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", ".directory"):
            put(folder / name, b"\0\1\2")
    put(root / "__MACOSX" / "._x.png", b"\0")
    put(root / ".git" / "a.png", b"\0")


@case("clean: sizes and colours mixed")
def _(root: Path) -> None:
    photos(root)
    for index, side in enumerate((20, 33, 64, 100)):
        put(root / "one" / f"m{index}.png", encoded(digit(1, 50 + index, side, ("L", "RGB", "1", "P")[index]), "PNG"))


@case("clean: deep folders, capitals, links")
def _(root: Path) -> None:
    photos(root / "there")
    for index in range(8):
        put(root / "here" / "one" / "2024" / f"{index}.PNG", encoded(digit(8, index), "PNG"))
        put(root / "here" / "two" / f"{index}.JPEG", encoded(digit(9, index), "JPEG"))
    (root / "here" / "zero").symlink_to(root / "there" / "zero")
    return root / "here"


@case("clean: pictures of a phone")
def _(root: Path) -> None:
    photos(root, form="jpg", mode="RGB")
    first, second = (NOISE.rotate(90 * turn) for turn in range(2))
    put(root / "one" / "x.jpg", encoded(first, "MPO", save_all=True, append_images=[second]))


@case("clean: pictures with a plain floor")
def _(root: Path) -> None:
    photos(root, form="jpg", mode="RGB", side=96)
    for index in range(4):
        image = Image.new("RGB", (96, 96), (180, 170, 160))
        image.paste(digit(7, 40 + index, 48, "RGB"), (20, 0))
        put(root / "one" / f"floor{index}.jpg", encoded(image, "JPEG"))
        put(root / "two" / f"floor{index}.jpg", encoded(image.rotate(180 + index), "JPEG", progressive=True))
