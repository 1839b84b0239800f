"""Named normalisations, the same names in every architecture that has the choice."""

from __future__ import annotations

from math import gcd
from typing import Literal

from torch import nn

NormalizationName = Literal["none", "batch", "layer"]
"""For vectors."""
MapNormalizationName = Literal["none", "batch", "layer", "instance", "group"]
"""For maps of channels."""

GROUP_CHANNELS = 16


def normalization(name: NormalizationName, features: int) -> nn.Module:
    r"""Return a layer that subtracts a mean and divides by a spread, of vectors (B, D).

        batch   of each feature over the batch while training; then the running mean and variance
        layer   of each example over its features

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1; Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 3.
    """
    match name:
        case "batch":
            return nn.BatchNorm1d(features)
        case "layer":
            return nn.LayerNorm(features)
    return nn.Identity()


def map_normalization(name: MapNormalizationName, channels: int) -> nn.Module:
    r"""Return a layer that subtracts a mean and divides by a spread, of maps (B, C, H, W), and scales each channel.

        batch     of each channel over batch and places while training; then the running mean and variance
        layer     of each example over its channels and places
        instance  of each channel of each example over its places
        group     of each 16 channels of each example (if 16 does not divide the channels, the largest of 8, 4, 2 that does)

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 3.2; Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022,
    eq. 4; Wu & He 2018, "Group normalization", arXiv:1803.08494, sec. 3 and table 3 (16 channels per group);
    layer and instance normalisation are its cases of one group and of one channel per group.
    """
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "group":
            return nn.GroupNorm(channels // gcd(GROUP_CHANNELS, channels), channels)
    return nn.Identity()
