"""Published weights: where the official files are, how to know them again, and what they score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

HOST = "https://download.pytorch.org/models/"
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet (ILSVRC 2012), whose pictures are for research only"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of pixels in 0…1, per channel: what these networks were trained with."""
IMAGENET_RESIZE = 256
"""What the shorter side of a picture is scaled to before 224 × 224 pixels are cut out of its middle."""
HALF = (0.5, 0.5, 0.5)
"""GoogLeNet was trained elsewhere, with pixels from -1 to 1; torchvision changes its inputs so inside the model."""


class Published(NamedTuple):
    """One official file of weights."""

    model: str
    """The architecture it belongs to."""
    url: str
    size_mb: float
    """Its size in units of 2²⁰ bytes."""
    sha256: str
    """The digest of the file, or only the first eight digits of it, which its publisher put into its name."""
    top1: float
    """Share of the 50,000 validation pictures it names right, as published: 224 pixels from the middle of 256 (of 232 for
    .imagenet-v2)."""
    top5: float
    """Share for which the right name is among the five most probable."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    licence: str = LICENCE
    resize: int = IMAGENET_RESIZE
    """Length of the shorter side of the pictures whose middle it was measured on."""

    @property
    def name(self) -> str:
        """Its name where it is published."""
        return self.url.rpartition("/")[2]

    @property
    def most_bytes(self) -> int:
        """The largest size in bytes that is rounded to the published one."""
        return ceil((self.size_mb + 0.0005) * 2**20)

    @property
    def whole_digest(self) -> bool:
        return len(self.sha256) == 64

    def settings(self) -> dict[str, Any]:
        """Return what is known of the data it was trained on, as `seodang import` takes it."""
        return {
            "classes": list(imagenet_classes()),
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.resize,
        }


def _torchvision(
    model: str, file: str, size_mb: float, top1: float, top5: float, rest: str = "", **other: Any
) -> Published:
    found = re.search(r"-([0-9a-f]{8})\.pth$", file)
    assert found
    return Published(model, HOST + file, size_mb, found[1] + rest, top1 / 100, top5 / 100, **other)


PUBLISHED: Mapping[str, Published] = {
    "alexnet.imagenet": _torchvision("alexnet", "alexnet-owt-7be5be79.pth", 233.087, 56.522, 79.066,
                                     "1159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
    "vgg11.imagenet": _torchvision("vgg11", "vgg11-8a719046.pth", 506.840, 69.020, 88.628),
    "vgg11-bn.imagenet": _torchvision("vgg11-bn", "vgg11_bn-6002323d.pth", 506.881, 70.370, 89.810),
    "vgg13.imagenet": _torchvision("vgg13", "vgg13-19584684.pth", 507.545, 69.928, 89.246),
    "vgg13-bn.imagenet": _torchvision("vgg13-bn", "vgg13_bn-abd245e5.pth", 507.590, 71.586, 90.374),
    "vgg16.imagenet": _torchvision("vgg16", "vgg16-397923af.pth", 527.796, 71.592, 90.382,
                                   "8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
    "vgg16-bn.imagenet": _torchvision("vgg16-bn", "vgg16_bn-6c64b313.pth", 527.866, 73.360, 91.516),
    "vgg19.imagenet": _torchvision("vgg19", "vgg19-dcbb9e9d.pth", 548.051, 72.376, 90.876),
    "vgg19-bn.imagenet": _torchvision("vgg19-bn", "vgg19_bn-c79401a0.pth", 548.143, 74.218, 91.842),
    "googlenet.imagenet": _torchvision("googlenet", "googlenet-1378be20.pth", 49.731, 69.778, 89.530, mean=HALF, std=HALF),
    "resnet18.imagenet": _torchvision("resnet18", "resnet18-f37072fd.pth", 44.661, 69.758, 89.078,
                                      "47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"),
    "resnet34.imagenet": _torchvision("resnet34", "resnet34-b627a593.pth", 83.275, 73.314, 91.420,
                                      "bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f"),
    "resnet50.imagenet": _torchvision("resnet50", "resnet50-0676ba61.pth", 97.781, 76.130, 92.862,
                                      "b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"),
    "resnet50.imagenet-v2": _torchvision("resnet50", "resnet50-11ad3fa6.pth", 97.790, 80.858, 95.434,
                                         "2ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca", resize=232),
    "resnet101.imagenet": _torchvision("resnet101", "resnet101-63fe2227.pth", 170.511, 77.374, 93.546,
                                       "b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a"),
    "resnet101.imagenet-v2": _torchvision("resnet101", "resnet101-cd907fc2.pth", 170.530, 81.886, 95.780, resize=232),
    "resnet152.imagenet": _torchvision("resnet152", "resnet152-394f9c45.pth", 230.434, 78.312, 94.046,
                                       "966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58"),
    "resnet152.imagenet-v2": _torchvision("resnet152", "resnet152-f82ba261.pth", 230.474, 82.284, 96.002, resize=232),
    "densenet121.imagenet": _torchvision("densenet121", "densenet121-a639ec97.pth", 30.845, 74.434, 91.972),
    "densenet161.imagenet": _torchvision("densenet161", "densenet161-8d451a50.pth", 110.369, 77.138, 93.560),
    "densenet169.imagenet": _torchvision("densenet169", "densenet169-b2777c0a.pth", 54.708, 75.600, 92.806),
    "densenet201.imagenet": _torchvision("densenet201", "densenet201-c1103571.pth", 77.373, 76.896, 93.370),
}  # fmt: skip
"""Addresses, from the tables of torchvision 0.28 (URLs, sizes, scores). Its file names hold the first eight digits of
each SHA-256; whole digests are quoted from public records that agree with them, and were not computed here."""


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1,000 classes of ILSVRC 2012 in the order of torchvision's networks, from its list."""
    return tuple((Path(__file__).parent / "imagenet_classes.txt").read_text("utf-8").splitlines())


def recognize(sha256: str) -> str | None:
    """Return the address of the official file with this digest, if it is one."""
    return next((name for name, file in PUBLISHED.items() if sha256.startswith(file.sha256)), None)
