"""MNIST and Fashion-MNIST: 70,000 pictures of 28×28 grey pixels each, in the idx format."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import prod
from typing import ClassVar

import numpy as np

from seodang.core.errors import DataError
from seodang.data.array_reading import unpack
from seodang.data.dataset import datasets
from seodang.data.download import Official, find_files
from seodang.data.named import NamedImages, NamedImagesConfig, Part

IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"

# The authors' own site (yann.lecun.com) has no https and refuses programs; this is PyTorch's copy of the same files.
# Digests of the files as published there are the widely pinned ones (TensorFlow Datasets, red-datasets, burn and others);
# digests of the content were computed from data whose MD5 are those of the original idx files.
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = (
    Official(f"train-{IMAGES}", f"{_MNIST}train-{IMAGES}", 9_912_422,
             "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
             47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    Official(f"train-{LABELS}", f"{_MNIST}train-{LABELS}", 28_881,
             "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
             60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    Official(f"t10k-{IMAGES}", f"{_MNIST}t10k-{IMAGES}", 1_648_877,
             "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
             7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    Official(f"t10k-{LABELS}", f"{_MNIST}t10k-{LABELS}", 4_542,
             "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
             10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)  # fmt: skip

# The authors' repository at a fixed commit. Digests of the label files were computed from it; those of the picture files
# are the widely pinned ones of the same files (Julia's Flux, JAX and others), their MD5 stand in the authors' README.
_FASHION = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
FASHION_FILES = (
    Official(f"train-{IMAGES}", f"{_FASHION}train-{IMAGES}", 26_421_880,
             "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 47_040_016),
    Official(f"train-{LABELS}", f"{_FASHION}train-{LABELS}", 29_515,
             "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
             60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    Official(f"t10k-{IMAGES}", f"{_FASHION}t10k-{IMAGES}", 4_422_102,
             "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 7_840_016),
    Official(f"t10k-{LABELS}", f"{_FASHION}t10k-{LABELS}", 5_148,
             "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
             10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)  # fmt: skip

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# 4,900 of the 70,000, put together from public copies of parts; made for offline work, there is no publisher's address.
SUBSET = Official("fashion_mnist_subset.npz", "", 2_121_935,
                  "81e517c511fd5051ab9c1b55bc73f7fd2e60d5187f805db01b12be2f258bb26c")  # fmt: skip


def read_idx(name: str, data: bytes) -> np.ndarray:
    """Return the array in an idx file of bytes.

    Source: LeCun, Cortes & Burges, "The MNIST database", section "File formats".
    Raises: DataError if the header or the length is wrong.
    """
    axes = data[3] if len(data) > 3 and data[:3] == b"\x00\x00\x08" else 0
    shape = tuple(int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis]) for axis in range(axes))
    if not axes or 0 in shape or len(data) != 4 + 4 * axes + prod(shape):
        raise DataError(
            "{path}: is not an idx file of bytes, or it is cut off ({size} bytes).", path=name, size=len(data)
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_npz(name: str, data: bytes, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the `wanted` arrays of an npz file; objects are refused.

    Raises: DataError
    """
    arrays = unpack(io.BytesIO(data), name)
    if missing := [key for key in wanted if key not in arrays]:
        raise DataError("{path}: lacks {missing}.", path=name, missing=", ".join(missing))
    return {key: arrays[key] for key in wanted}


class IdxImages(NamedImages):
    """Four idx files: pictures and labels of the training and the test part."""

    name: ClassVar[str]
    files: ClassVar[Sequence[Official]]
    folders: ClassVar[Sequence[str]] = ()

    def read(self) -> tuple[Part, Part]:
        found = find_files(self.name, self.files, self.folders)
        return _part(found, "train"), _part(found, "t10k")


def _part(files: Mapping[str, bytes], prefix: str) -> Part:
    images, labels = (read_idx(name, files[name]) for name in (f"{prefix}-{IMAGES}", f"{prefix}-{LABELS}"))
    return Part.of(images, labels)


@datasets.register({"mnist": NamedImagesConfig()})
class MNIST(IdxImages):
    """70,000 handwritten digits of 28×28 grey pixels, 10,000 of them for testing.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
    """

    name = "mnist"
    files = MNIST_FILES
    folders = ("MNIST/raw",)
    classes = tuple("0123456789")
    licence = "made freely available by its authors; no formal licence"
    source = "yann.lecun.com/exdb/mnist"


@datasets.register({"fashion-mnist": NamedImagesConfig()})
class FashionMNIST(IdxImages):
    """70,000 pictures of clothes, 28×28 grey pixels, ten kinds, 10,000 of them for testing.

    Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST", arXiv:1708.07747.
    """

    name = "fashion-mnist"
    files = FASHION_FILES
    folders = ("FashionMNIST/raw",)
    classes = FASHION_CLASSES
    licence = "MIT"
    source = "github.com/zalandoresearch/fashion-mnist"


@datasets.register({"fashion-mnist-subset": NamedImagesConfig()})
class FashionMNISTSubset(NamedImages):
    """4,900 pictures of Fashion-MNIST: 2,900 to train on, the first 2,000 of the official test part.

    Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST", arXiv:1708.07747.
    """

    classes = FASHION_CLASSES
    licence = "MIT"
    source = "github.com/zalandoresearch/fashion-mnist (a part)"

    def read(self) -> tuple[Part, Part]:
        data = find_files("fashion-mnist-subset", [SUBSET])[SUBSET.name]
        names = ("x_train", "y_train", "x_sprite", "y_sprite", "x_test", "y_test")
        arrays = read_npz(SUBSET.name, data, names)
        images = np.concatenate([arrays["x_train"], arrays["x_sprite"]])
        labels = np.concatenate([arrays["y_train"], arrays["y_sprite"]])
        return Part.of(images, labels), Part.of(arrays["x_test"], arrays["y_test"])
