"""Maps of what speaks for a class, beside finite differences, backward passes by hand, and plain loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import ImageInputs
from seodang.visualize.attribution import black, integrated_gradients
from seodang.visualize.backward import Rule, class_gradient, forward, last_maps
from seodang.visualize.gradcam import gradcam, guided_gradcam, on_picture
from seodang.visualize.occlusion import occlusion, starts


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3),
    ).double()  # fmt: skip


def pictures(count: int = 2, side: int = 8) -> Tensor:
    return torch.rand(count, 2, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


# ------------------------------------------------------------------------------------------------ Grad-CAM


def test_gradcam_is_the_sum_of_maps_weighed_by_finite_differences() -> None:
    model, inputs, target, step = network().eval(), pictures(), 1, 1e-6
    path, found = gradcam(model, inputs, target)
    assert path == "4", "the last maps that no pooling made"
    with torch.no_grad():
        maps = model[:5](inputs)
        for row in range(len(inputs)):
            total = torch.zeros(4, 4, dtype=torch.float64)
            for channel in range(3):
                slopes = []
                for place in range(16):
                    above, below = maps[row : row + 1].clone(), maps[row : row + 1].clone()
                    above[0, channel, place // 4, place % 4] += step
                    below[0, channel, place // 4, place % 4] -= step
                    slopes.append(float((model[5:](above) - model[5:](below))[0, target]) / (2 * step))
                total += sum(slopes) / 16 * maps[row, channel]
            assert torch.allclose(found[row], total.clamp(min=0), atol=1e-8)
    assert found.max() > 0


def test_guided_gradcam_is_the_product() -> None:
    model, inputs = network(), pictures()
    _, maps = gradcam(model, inputs, 2)
    guided = class_gradient(model, inputs, 2, "guided")
    large = on_picture(maps, (8, 8))
    found = guided_gradcam(model, inputs, 2)
    for channel in range(2):
        assert torch.allclose(found[:, channel], guided[:, channel] * large)
    square = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    assert torch.allclose(on_picture(square, (4, 4))[0, 0], torch.tensor([0.0, 0.25, 0.75, 1.0])), (
        "halfway between the middles"
    )


def test_layers_that_cannot_be_explained_are_named() -> None:
    model, inputs = network(), pictures(1)
    with pytest.raises(ConfigError, match=r"layer=33: is no layer .* Did you mean '3'"):
        gradcam(model, inputs, 0, "33")
    with pytest.raises(ConfigError, match="layer=6: is no layer"):
        gradcam(model, inputs, 0, "6")
    with pytest.raises(ConfigError, match="this network has none for pictures of 8×8"):
        gradcam(nn.Sequential(nn.Flatten(), nn.Linear(128, 2)).double(), inputs, 0)

    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.dense = nn.Conv2d(2, 2, 3), nn.Linear(128, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            self.unused(inputs)
            return self.dense(inputs.flatten(1))

    with pytest.raises(ConfigError, match="does not reach the answer"):
        gradcam(Idle().double(), inputs, 0, "unused")


# --------------------------------------------------------------------------------------- gradients and rules


def test_the_plain_gradient_is_the_finite_difference() -> None:
    model, inputs = network().eval(), pictures(1)
    found = class_gradient(model, inputs, 0)[0].flatten()
    for place in range(0, 128, 5):
        change = torch.zeros(128, dtype=torch.float64)
        change[place] = 1e-6
        with torch.no_grad():
            slope = (model(inputs + change.view_as(inputs)) - model(inputs - change.view_as(inputs)))[0, 0] / 2e-6
        assert float(found[place]) == pytest.approx(float(slope), abs=1e-7)


class Functional(nn.Module):
    """The same three layers, with rectifiers called in the four ways there are."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers, self.way = nn.ModuleList(nn.Linear(6, 6, bias=False) for _ in range(3)), way

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:2]:
            x = layer(x)
            match self.way:
                case "module":
                    x = nn.ReLU()(x)
                case "function":
                    x = F.relu(x)
                case "in-place":
                    x = nn.ReLU(inplace=True)(x)
                case "method":
                    x = x.relu()
        return self.layers[2](x)


@pytest.mark.parametrize("way", ["module", "function", "in-place", "method"])
@pytest.mark.parametrize("rule", ["plain", "guided", "deconvolution"])
def test_rules_of_rectifiers_are_those_of_a_pass_by_hand(rule: Rule, way: str) -> None:
    model = Functional(way).double()
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights = [layer.weight.detach() for layer in model.layers]  # type: ignore[union-attr]
    before = [weights[0] @ x[0]]
    before.append(weights[1] @ before[0].clamp(min=0))
    flow = weights[2][4]
    for weight, answer in zip(reversed(weights[:2]), reversed(before), strict=True):
        if rule in ("guided", "deconvolution"):
            flow = torch.tensor([max(0.0, value) for value in flow.tolist()], dtype=torch.float64)
        if rule in ("plain", "guided"):
            flow = torch.tensor([value if a > 0 else 0.0 for value, a in zip(flow.tolist(), answer.tolist(), strict=True)],
                                dtype=torch.float64)  # fmt: skip
        flow = weight.T @ flow
    assert torch.allclose(class_gradient(model, x, 4, rule)[0], flow)
    assert forward(model, x, rule).rectifiers == 2


def test_looking_leaves_nothing_behind() -> None:
    model, inputs = network().train(), pictures(1)
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    said = model(inputs)
    gradcam(model, inputs, 0)
    guided_gradcam(model, inputs, 0)
    with torch.no_grad():  # people look from inside such blocks too
        integrated_gradients(model, inputs[0], 0, torch.zeros(1, dtype=torch.float64), 4)
    occlusion(model, inputs, 0)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not inputs.requires_grad
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks
    assert torch._C._len_torch_function_stack() == 0
    torch.manual_seed(0)
    assert torch.equal(model(inputs), said)


def test_the_last_maps_are_named_by_the_module_that_made_them() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Identity()), nn.Identity(), nn.MaxPool2d(2))
    assert last_maps(model, forward(model.double(), pictures(1)).kept) == "0.0"


# ------------------------------------------------------------------------------------------------ occlusion


def test_occlusion_is_one_pass_for_each_place_of_the_square() -> None:
    model, inputs, target = network().eval(), pictures(1, 8), 2
    found = occlusion(model, inputs, target, square=3, stride=2, fill=0.25)
    assert found.tops == found.lefts == [0, 2, 4, 5]
    total, count = torch.zeros(8, 8), torch.zeros(8, 8)
    with torch.no_grad():
        whole = float(F.softmax(model(inputs), 1)[0, target])
        for i, top in enumerate(found.tops):
            for j, left in enumerate(found.lefts):
                hidden = inputs.clone()
                for row in range(top, top + 3):
                    for column in range(left, left + 3):
                        hidden[0, :, row, column] = 0.25
                probability = float(F.softmax(model(hidden), 1)[0, target])
                assert float(found.probabilities[i, j]) == pytest.approx(probability, abs=1e-6)
                total[top : top + 3, left : left + 3] += whole - probability
                count[top : top + 3, left : left + 3] += 1
    assert found.whole == pytest.approx(whole, abs=1e-6)
    assert count.min() >= 1
    assert torch.allclose(found.drop, total / count, atol=1e-6)
    with pytest.raises(ConfigError, match="square=9: must be between 1 and 8"):
        occlusion(model, inputs, target, square=9)


def test_the_square_reaches_every_pixel() -> None:
    for side in range(1, 20):
        for square in range(1, side + 1):
            for stride in range(1, square + 1):
                hidden = {pixel for start in starts(side, square, stride) for pixel in range(start, start + square)}
                assert hidden == set(range(side))


# ------------------------------------------------------------------------------------ integrated gradients


def test_of_a_linear_network_it_is_weight_times_difference() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double()
    picture, baseline = pictures(1)[0], torch.full((2, 1, 1), 0.3, dtype=torch.float64)
    found = integrated_gradients(dense, picture, 1, baseline)
    assert torch.allclose(found.values, (picture - 0.3) * dense[1].weight.detach()[1].view(2, 8, 8))
    assert found.steps == 64
    assert abs(found.gap) < 1e-12


def test_the_line_is_walked_by_finite_differences_too() -> None:
    model, picture, target = network().eval(), pictures(1)[0], 0
    baseline = torch.zeros(2, 8, 8, dtype=torch.float64)
    found = integrated_gradients(model, picture, target, baseline, steps=5)
    with torch.no_grad():
        for place in range(0, 128, 17):
            slopes = []
            for part in range(5):
                at = (part + 0.5) / 5 * picture
                above, below = at.clone().flatten(), at.clone().flatten()
                above[place] += 1e-6
                below[place] -= 1e-6
                slopes.append(float((model(above.view(1, 2, 8, 8)) - model(below.view(1, 2, 8, 8)))[0, target]) / 2e-6)
            wanted = float(picture.flatten()[place]) * sum(slopes) / 5
            assert float(found.values.flatten()[place]) == pytest.approx(wanted, abs=1e-7)


def test_all_shares_add_up_to_the_difference_and_the_gap_is_told() -> None:
    model, picture = network().eval(), pictures(1)[0] * 3
    baseline = torch.zeros(2, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        wanted = float((model(picture[None]) - model(torch.zeros(1, 2, 8, 8, dtype=torch.float64)))[0, 2])
    found = integrated_gradients(model, picture, 2, baseline)
    assert found.difference == pytest.approx(wanted)
    assert float(found.values.sum()) + found.gap == pytest.approx(wanted)
    assert abs(found.gap) <= 0.02 * abs(wanted)
    assert abs(integrated_gradients(model, picture, 2, baseline, steps=1).gap) > abs(found.gap)


def test_black_is_black_in_the_units_of_the_network() -> None:
    inputs = ImageInputs(channels=2, height=1, width=1, mean=(0.5, 0.2), std=(0.25, 0.1))
    assert torch.allclose(black(inputs).flatten(), torch.tensor([-2.0, -2.0]))
