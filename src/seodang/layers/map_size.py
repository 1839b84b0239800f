"""The size of maps behind convolutions and pooling, and the smallest picture that leaves any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seodang.core.errors import ConfigError

LARGEST = 4096
"""No shipped network needs pictures with longer sides."""


class Window(NamedTuple):
    """What a convolution or a pooling slides over its maps."""

    kernel: int
    stride: int = 1
    padding: int = 0
    ceil: bool = False
    """Whether a window that reaches over the edge counts, as Caffe pools."""

    def output(self, side: int) -> int:
        """Return the side of the maps behind it; below 1, there are none."""
        room = side + 2 * self.padding - self.kernel
        if room < 0:
            return 1 if self.ceil and room > -self.stride and side > 0 else 0
        steps = -(-room // self.stride) if self.ceil else room // self.stride
        if self.ceil and steps * self.stride >= side + self.padding:  # a window that starts behind the edge
            steps -= 1
        return steps + 1


def map_side(side: int, windows: Sequence[Window]) -> int:
    """Return the side of the last maps, 0 if a picture is used up on the way."""
    for window in windows:
        side = window.output(side)
        if side < 1:
            return 0
    return side


def map_size(image_size: tuple[int, int], windows: Sequence[Window], least: int = 1) -> tuple[int, int]:
    """Return height and width of the last maps of a picture; each must be at least `least`.

    Raises: ConfigError with the smallest picture that works.
    """
    height, width = (map_side(side, windows) for side in image_size)
    if min(height, width) >= least:
        return height, width
    smallest = next((side for side in range(1, LARGEST) if map_side(side, windows) >= least), LARGEST)
    raise ConfigError("model.image_size={height}×{width}: such a picture is used up on the way through this network. The smallest "
                      "that works is {smallest}×{smallest}: enlarge the pictures (data.image_size={smallest}), or take a "
                      "smaller network.", height=image_size[0], width=image_size[1], smallest=smallest)  # fmt: skip
