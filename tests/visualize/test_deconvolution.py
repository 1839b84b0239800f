"""A deconvolved unit is what transposed filters, remembered maxima and rectifiers give by hand; peaks are those of loops."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seodang.core.inputs import Facts, ImageInputs
from seodang.visualize.deconvolution import deconvolved, peaks
from seodang.visualize.figure import Images
from seodang.visualize.filters import Source, convolutions, filter_figures

FACTS = Facts(
    inputs=ImageInputs(channels=2, height=8, width=10, mean=(0.5, 0.5), std=(0.25, 0.25)), classes=("a", "b"), sizes={}
)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(30, 2),
    )  # fmt: skip


def pictures(count: int) -> Tensor:
    return torch.randn(count, 2, 8, 10, generator=torch.Generator().manual_seed(4))


def test_a_unit_goes_back_through_transposed_filters_and_remembered_maxima() -> None:
    model, inputs = network(), pictures(2)
    channel, places = 3, [(1, 2), (0, 1)]
    found = deconvolved(model, inputs, "4", channel, places)
    with torch.no_grad():
        first = model[1](model[0](inputs))
        pooled, where = F.max_pool2d(first, 2, return_indices=True)
        answer = model[3](pooled).relu()
        alone = torch.zeros_like(answer)
        for picture, (row, column) in enumerate(places):
            alone[picture, channel, row, column] = answer[picture, channel, row, column]
        back = F.conv_transpose2d(alone.relu(), model[3].weight)
        back = F.max_unpool2d(back, where, 2, output_size=first.shape[-2:])
        wanted = F.conv_transpose2d(back.relu(), model[0].weight, padding=1)
    assert answer[:, channel].amax() > 0
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found.abs().max() > 0


def test_peaks_are_the_largest_answers() -> None:
    model, inputs = network().eval(), pictures(40)
    rows = torch.arange(3, 40)
    found = peaks(model, lambda numbers: inputs[numbers], rows, "3", most=2, top=3)
    with torch.no_grad():
        maps = model[:4](inputs)
    best: dict[int, list[tuple[float, int, int, int]]] = {}
    for channel in range(5):
        best[channel] = sorted(
            (
                max((float(maps[row, channel, i, j]), row, i, j) for i in range(2) for j in range(3))
                for row in rows.tolist()
            ),
            reverse=True,
        )[:3]
    strongest = sorted(best, key=lambda channel: -best[channel][0][0])[:2]
    assert list(found) == strongest
    for channel in strongest:
        assert [(peak.example, peak.row, peak.column) for peak in found[channel]] == [
            found[1:] for found in best[channel]
        ]


def test_pictures_are_cut_to_what_the_unit_sees() -> None:
    model, inputs = network().eval(), pictures(12)
    source = Source(lambda numbers: inputs[numbers], torch.arange(12))
    assert convolutions(model, inputs[:1]) == ["0", "3"]
    filters, first, second = filter_figures(model, FACTS, source)
    assert filters.name == "filters"
    assert (first.name, second.name) == ("deconvolved-0", "deconvolved-3")
    assert isinstance(first, Images)
    assert isinstance(second, Images)
    assert first.images[0].shape == (3 * 3 + 2, 3 * 3 + 2, 3), "nine parts of 3×3 pixels with lines between"
    assert second.images[0].shape == (3 * 7 + 2, 3 * 8 + 2, 3), (
        "8×8, of whose rows the border of the picture cuts one off"
    )
    assert first.captions[0].startswith("channel ")
    (_, alone) = filter_figures(model, FACTS, Source(lambda numbers: inputs[:1], torch.tensor([0])), "4")
    assert alone.name == "deconvolved-4"
