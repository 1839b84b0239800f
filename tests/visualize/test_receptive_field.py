"""Fields by composing windows are those that changing one pixel after the other shows; used pixels are finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.layers.record import record
from seodang.models.base import Architecture, architectures
from seodang.visualize.fields import field_figures, unit_of
from seodang.visualize.figure import Images, Table
from seodang.visualize.receptive_field import effective_field, effective_side, receptive_fields
from seodang.visualize.stacked import stack

PICTURES = list({entry.maker: name for name in reversed(architectures.names()) if (entry := architectures[name]).maker.__module__
                 .startswith("seodang.") and getattr(entry.maker, "takes", ()) == ("image",) and "num_classes" in
                 entry.maker.example}.values())  # fmt: skip
"""One name of each class of network that says the class of a picture."""


def tiny(name: str) -> Architecture:
    torch.manual_seed(0)
    model = architectures.make(Choice.of({"name": name, **architectures[name].maker.example}))  # type: ignore[attr-defined]
    assert isinstance(model, Architecture)
    return model.double().eval()


def reached(model: nn.Module, height: int, width: int, channels: int, change: float) -> dict[str, Tensor]:
    """Return for each layer with maps which units (I, J) change when pixel (H W) does: no weight is negative, nothing cancels,
    and a large `change` makes any pixel the maximum of every window it is in."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_().clamp_(min=1e-3).mul_(0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.zero_()
    pictures = torch.ones(1 + height * width, channels, height, width, dtype=torch.float64)
    for pixel in range(height * width):
        pictures[1 + pixel, :, pixel // width, pixel % width] += change
    found: dict[str, list[Tensor]] = {}
    for part in pictures[1:].split(256):
        with torch.no_grad(), record(model) as kept:
            model(torch.cat([pictures[:1], part]))
        for path, value in kept.items():
            if path and value.ndim == 4:
                found.setdefault(path, []).append((value[1:] != value[:1]).any(1))
    return {path: torch.cat(parts) for path, parts in found.items()}


@pytest.mark.parametrize("name", PICTURES)
def test_windows_composed_are_what_changing_pixels_shows(name: str) -> None:
    model = tiny(name)
    config = model.config.values()
    height, width = config["image_size"]
    fields = receptive_fields(model, torch.zeros(1, config["in_channels"], height, width, dtype=torch.float64))
    assert fields.unknown == ()
    assert fields.layers
    change = (
        2.0 if config.get("activation") == "scaled-tanh" else 1e5
    )  # where a squashing function levels off, nothing is seen
    changed = reached(model, height, width, config["in_channels"], change)
    assert set(fields.layers) == set(changed)
    compared = silent = 0
    for path, field in fields.layers.items():
        for row in range(len(field.rows.low)):
            for column in range(len(field.columns.low)):
                rows, columns = torch.nonzero(changed[path][:, row, column].view(height, width), as_tuple=True)
                compared += 1
                silent += not len(rows)
                if len(rows):  # a unit of which all pixels are lost in rounding says nothing
                    shown = (int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
                    assert shown == field.box(row, column), f"{path} {row},{column}"
    assert silent <= 0.01 * compared


@pytest.mark.parametrize(("name", "layer", "size", "jump"), [
    ("vgg16", "features.28", 196, 16), ("vgg16", "features.30", 212, 32), ("resnet18", "stages", 435, 32),
    ("resnet50", "stages", 427, 32), ("alexnet", "features.12", 195, 32), ("lenet-5", "s4", 16, 4),
])  # fmt: skip
def test_published_sizes(name: str, layer: str, size: int, jump: int) -> None:
    """Araujo, Norris & Sim 2019, table of sizes; the stride of resnet50's bottlenecks is at the 3×3 convolution here."""
    with torch.device("meta"):
        model = architectures.make(Choice.of({"name": name}))
        config = model.config.values()  # type: ignore[union-attr, operator]
        found = receptive_fields(model, torch.zeros(1, config["in_channels"], *config["image_size"])).layers[layer]
    assert (found.rows.size, found.rows.jump) == (size, jump)


def test_a_layer_that_is_not_known_is_named_and_has_no_field() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3))
    found = receptive_fields(model, torch.zeros(1, 1, 8, 8))
    assert list(found.layers) == ["0"]
    assert found.unknown
    with pytest.raises(ConfigError, match="no receptive fields"):
        field_figures(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(1, 1, 2, 2), FACTS)


FACTS = Facts(
    inputs=ImageInputs(channels=1, height=9, width=11, mean=(0.5,), std=(0.25,)), classes=("a", "b"), sizes={}
)


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3))


def test_what_a_unit_uses_is_the_finite_difference() -> None:
    model = network().double()
    draw = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 1, 9, 11, generator=draw, dtype=torch.float64)
    for channel in (None, 1):
        found = effective_field(model, pictures, "3", 1, 2, channel)
        for row in range(9):
            for column in range(11):
                sizes = []
                for picture in pictures:
                    above, below = picture[None].clone(), picture[None].clone()
                    above[0, 0, row, column] += 1e-5
                    below[0, 0, row, column] -= 1e-5
                    with torch.no_grad():
                        change = (model(above) - model(below))[0, :, 1, 2] / 2e-5
                    sizes.append(abs(float(change.sum() if channel is None else change[channel])))
                assert float(found[row, column]) == pytest.approx(sum(sizes) / 2, abs=1e-8)
    top, left, bottom, right = receptive_fields(model, pictures[:1]).layers["3"].box(1, 2)
    outside = found.clone()
    outside[top:bottom, left:right] = 0
    assert not outside.any()
    assert effective_side(torch.tensor([[1.0, 0.046], [0.045, 0.0]])) == pytest.approx(2**0.5)


def test_two_small_kernels_see_as_much_as_one_large_one() -> None:
    for small, large, side in (((3, 3), (5,), 5), ((3, 3, 3), (7,), 7)):
        stacked, single = stack(small, 10), stack(large, 10)
        assert stacked.side == single.side == side
        assert (stacked.parameters, single.parameters) == (len(small) * 9 * 100, large[0] ** 2 * 100)


def test_figures_and_what_is_wrong_with_a_unit() -> None:
    model, example = network(), torch.zeros(1, 1, 9, 11)
    pictures, table, stacked = field_figures(model, example, FACTS, "3", "0,1,2")
    assert isinstance(pictures, Images)
    assert pictures.captions[0] == "3 1,2\ncan see 8×8"
    assert isinstance(table, Table)
    assert table.rows[0] == ("0", "9×11", "3×3", "1", "-1", "9.1 %")
    assert isinstance(stacked, Table)
    assert unit_of("3,4") == (None, 3, 4)
    for unit in ("3", "a,b", "1,2,3,4", "-1,2"):
        with pytest.raises(ConfigError, match="should be row,column"):
            unit_of(unit)
    with pytest.raises(ConfigError, match=r"unit=2,2: layer 3 has 2 channels of 2×3 places"):
        field_figures(model, example, FACTS, "3", "2,2")
    with pytest.raises(ConfigError, match="layer=4: is no layer"):
        field_figures(model, example, FACTS, "4")
