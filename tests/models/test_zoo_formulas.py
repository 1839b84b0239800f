"""What no library computes alike: old forms of the zoo beside explicit loops and the formulas of their papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.layers.auxiliary import WithAuxiliary, add_losses
from seodang.models.alexnet import AlexNet, ResponseNorm
from seodang.models.base import architectures
from seodang.models.densenet import DenseLayer
from seodang.models.lenet import CONNECTIONS, LeNet, RadialBasis, ScaledTanh, Subsampling, TableConvolution
from seodang.models.resnet import BasicBlock, Bottleneck
from seodang.models.resnet_cifar import PaddedShortcut
from seodang.task.base import tasks


def make(name: str, **settings: object) -> Any:
    torch.manual_seed(0)
    return architectures.make(Choice.of({"name": name, **settings}))


def stir(model: nn.Module) -> Any:
    """Give normalisations scales, shifts and statistics of their own, and return the model in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for weight, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2),
                                      (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):  # fmt: skip
                nn.init.uniform_(weight, low, high)  # type: ignore[arg-type]
    return model.eval()


def normalized(x: Tensor, norm: Any) -> Tensor:
    shape = (1, -1, 1, 1)
    x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return x * norm.weight.view(shape) + norm.bias.view(shape)


# ----------------------------------------------------------------------------------------------- LeNet-5


def test_squashing_passes_through_one() -> None:
    assert ScaledTanh()(torch.tensor([1.0, -1.0, 0.0])).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-4)


def test_the_table_has_the_paper_s_60_connections() -> None:
    assert sum(map(len, CONNECTIONS)) == 60
    assert [len(seen) for seen in CONNECTIONS] == [3] * 6 + [4] * 9 + [6]
    assert all(sum(origin in seen for seen in CONNECTIONS) == 10 for origin in range(6))


def test_table_convolution_beside_loops() -> None:
    layer, x = make("lenet-5-1998").c3, torch.randn(2, 6, 9, 8)
    assert isinstance(layer, TableConvolution)
    output, kernel = layer(x), 0
    for to, seen in enumerate(CONNECTIONS):
        expected = layer.bias[to].expand(2, 5, 4)
        for origin in seen:
            expected = expected + F.conv2d(x[:, origin : origin + 1], layer.weight[kernel][None, None])[:, 0]
            kernel += 1
        torch.testing.assert_close(output[:, to], expected, rtol=1e-4, atol=1e-5)


def test_the_network_of_1998_beside_its_formulas() -> None:
    model: LeNet = make("lenet-5-1998").eval()
    images = torch.randn(2, 1, 28, 28)

    def squash(a: Tensor) -> Tensor:
        return 1.7159 * (2 / 3 * a).tanh()

    def subsample(x: Tensor, layer: Any) -> Tensor:
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        return squash(total * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1))

    assert isinstance(model.s2, Subsampling)
    x = subsample(squash(F.conv2d(F.pad(images, (2, 2, 2, 2)), model.c1.weight, model.c1.bias)), model.s2)
    x = subsample(squash(model.c3(x)), model.s4)
    assert x.shape == (2, 16, 5, 5)
    x = squash(x.flatten(1) @ model.c5.weight.flatten(1).T + model.c5.bias)
    x = squash(x @ model.f6.weight.T + model.f6.bias)
    assert isinstance(model.output, RadialBasis)
    expected = torch.stack([-((x - code) ** 2).sum(1) for code in model.output.codes], 1)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-3)


def test_codes_are_the_same_always_and_far_apart() -> None:
    codes = make("lenet-5-1998").output.codes
    torch.manual_seed(9)
    assert torch.equal(codes, RadialBasis(84, 10).codes)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    apart = (codes[:, None] != codes).sum(-1)
    assert apart[~torch.eye(10, dtype=torch.bool)].min() > 20


def test_first_weights_of_1998_are_in_the_paper_s_range() -> None:
    model = make("lenet-5-1998")
    for weight, inputs in (
        (model.c1.weight, 25),
        (model.s2.weight, 4),
        (model.f6.weight, 120),
        (model.c3.weight[:3], 75),
    ):
        assert 0.8 * 2.4 / inputs < weight.abs().max() <= 2.4 / inputs or weight.numel() < 10


# ----------------------------------------------------------------------------------- Network in Network


def test_network_in_network_beside_its_formulas() -> None:
    model = make("nin-cifar").eval()
    x = images = torch.randn(2, 3, 32, 32)
    for number, block in enumerate(model.features):
        for index, layer in enumerate(module for module in block if isinstance(module, nn.Conv2d)):
            if index == 0:
                x = F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)
            else:  # a dense layer at every place
                x = torch.einsum("bchw,dc->bdhw", x, layer.weight[..., 0, 0]) + layer.bias.view(1, -1, 1, 1)
            x = x.relu()
        if (
            number < 2
        ):  # windows of 3 at every second place; the last reach over the edge, where only what is there counts
            x = torch.stack([torch.stack([(x[..., i : i + 3, j : j + 3].amax((2, 3)) if number == 0 else
                                           x[..., i : i + 3, j : j + 3].mean((2, 3)))
                                          for j in range(0, x.shape[-1] - 1, 2)], -1)
                             for i in range(0, x.shape[-2] - 1, 2)], -2)  # fmt: skip
    assert x.shape[2:] == (8, 8)
    torch.testing.assert_close(model(images), x.mean((2, 3)), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- AlexNet


def test_response_normalisation_beside_loops() -> None:
    x = 3 * torch.randn(2, 12, 3, 3)
    output = ResponseNorm(2)(x)
    for channel in range(12):
        first = 6 * (channel // 6)  # neighbours are in the same tower
        near = [other for other in range(channel - 2, channel + 3) if first <= other < first + 6]
        expected = x[:, channel] / (2 + 1e-4 * sum(x[:, other] ** 2 for other in near)) ** 0.75
        torch.testing.assert_close(output[:, channel], expected)


def test_two_towers_see_each_other_in_the_third_convolution_alone() -> None:
    model: AlexNet = make("alexnet-2012", **{**AlexNet.example, "channels": (8, 8, 12, 8, 8)}).eval()
    convolutions = [module for module in model.features if isinstance(module, nn.Conv2d)]
    x = images = torch.randn(2, 2, 64, 70)
    for number, layer in enumerate(convolutions):
        stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[number]
        towers = []
        for weight, bias, own in zip(layer.weight.chunk(2), layer.bias.chunk(2), x.chunk(2, 1), strict=True):
            sees = x if number in (0, 2) else own
            y = F.conv2d(sees, weight, bias, stride, padding).relu()
            y = ResponseNorm(1)(y) if number < 2 and model.config.response_norm else y
            towers.append(F.max_pool2d(y, 3, 2) if number in (0, 1, 4) else y)
        x = torch.cat(towers, 1)
    torch.testing.assert_close(model.features(images), x, rtol=1e-4, atol=1e-5)


def test_biases_of_2012() -> None:
    with torch.device("cpu"):
        model = make("alexnet-2012", hidden_sizes=(64, 64))
    weighted = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert [int(module.bias[0]) for module in weighted] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert weighted[3].weight.std().item() == pytest.approx(0.01, rel=0.02)


# ----------------------------------------------------------------------------------------------- ResNet


def test_bottleneck_halves_where_it_is_told() -> None:
    for place, strides in (("3x3", (1, 2, 1)), ("1x1", (2, 1, 1))):
        block = Bottleneck(8, 4, 2, place)
        layers = (block.convolution1, block.convolution2, block.convolution3)
        assert tuple(layer.stride[0] for layer in layers) == strides
        assert block(torch.randn(2, 8, 9, 6)).shape == (2, 16, 5, 3)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_last_scale_zero_makes_blocks_the_identity(block: str) -> None:
    model = make(
        "resnet18", block=block, depths=(3,), width=4, stem="small", image_size=(8, 8), last_scale="zero"
    ).eval()
    x = torch.rand(2, 16 if block == "bottleneck" else 4, 8, 8)
    for layer in model.stages[0][1:]:
        torch.testing.assert_close(layer(x), x)


def test_dropped_paths_leave_the_shortcut_and_grow_with_depth() -> None:
    model = make("resnet18", width=4, stem="small", image_size=(8, 8), drop_path=0.4)
    blocks = [module for module in model.modules() if isinstance(module, BasicBlock)]
    assert [block.drop_path.share for block in blocks] == pytest.approx([0.05 * (index + 1) for index in range(8)])
    block, x = blocks[1].train(), torch.rand(400, 4, 8, 8)
    kept = (block(x) != x).flatten(1).any(1).float().mean()
    assert kept == pytest.approx(0.9, abs=0.05)


def test_padded_shortcut_puts_zeros_on_both_sides() -> None:
    x = torch.rand(2, 4, 5, 6)
    y = PaddedShortcut(4, 8, 2)(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_a_plain_network_is_its_twin_without_shortcuts() -> None:
    plain, twin = make("plain20-cifar", width=4, image_size=(8, 8)), make("resnet20-cifar", width=4, image_size=(8, 8))
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in plain.state_dict().items())
    stir(twin)
    plain.load_state_dict(twin.state_dict())
    x = images = torch.randn(2, 3, 8, 8)
    x = normalized(F.conv2d(x, twin.stem.convolution.weight, padding=1), twin.stem.normalization).relu()
    for stage in twin.stages:
        for block in stage:
            for layer, norm in ((block.convolution1, block.normalization1), (block.convolution2, block.normalization2)):
                x = normalized(F.conv2d(x, layer.weight, stride=layer.stride, padding=1), norm).relu()
    expected = x.mean((2, 3)) @ twin.classifier.weight.T + twin.classifier.bias
    torch.testing.assert_close(plain.eval()(images), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(twin(images), expected)


# --------------------------------------------------------------------------------------------- DenseNet


def test_dense_blocks_of_40_layers_beside_their_formula() -> None:
    model = stir(
        make("densenet40-12-cifar", growth=3, depths=(2, 2), stem_channels=5, image_size=(8, 8), compression=0.7)
    )
    x = images = torch.randn(2, 3, 8, 8)
    x = F.conv2d(x, model.stem.convolution.weight, padding=1)
    for number, stage in enumerate(model.stages):
        for layer in stage.block.layers:
            new = F.conv2d(normalized(x, layer.normalization1).relu(), layer.convolution.weight, padding=1)
            x = torch.cat([x, new], 1)
        if number == 0:
            assert stage.transition.convolution.out_channels == math.floor(0.7 * x.shape[1])
            x = F.avg_pool2d(
                F.conv2d(normalized(x, stage.transition.normalization).relu(), stage.transition.convolution.weight), 2
            )
    x = normalized(x, model.normalization).relu().mean((2, 3))
    expected = x @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bottleneck", [0, 1])
def test_computing_again_changes_memory_and_nothing_else(bottleneck: int) -> None:
    found = []
    for memory in ("fast", "small"):
        model = make("densenet121", growth=4, depths=(8, 4), stem="small", stem_channels=6, image_size=(8, 8), num_classes=3,
                     memory=memory, bottleneck=bottleneck, dropout=0.2).train()  # fmt: skip
        images, kept = torch.randn(4, 3, 8, 8), 0

        def count(value: Tensor) -> Tensor:
            nonlocal kept
            kept += value.numel()
            return value

        with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
            logits = model(images)
        logits.square().sum().backward()
        found.append((kept, logits, [weight.grad for weight in model.parameters()], list(model.buffers())))
    fast, small = found
    assert small[0] < 0.7 * fast[0]
    assert torch.equal(fast[1], small[1])
    for part in (2, 3):
        assert all(torch.equal(one, two) for one, two in zip(fast[part], small[part], strict=True))  # type: ignore[arg-type]
    layer = next(module for module in model.modules() if isinstance(module, DenseLayer))
    assert layer.normalization1.momentum == 0.1
    assert layer.normalization1.num_batches_tracked == 1


# -------------------------------------------------------------------------------------------- GoogLeNet


def test_auxiliary_losses_count_three_tenths_and_only_while_training() -> None:
    model = make("googlenet", **architectures["googlenet"].maker.example).train()
    facts = Facts(inputs=ImageInputs(channels=2, height=32, width=36, mean=(0.0,) * 2, std=(1.0,) * 2), classes=("a", "b", "c"),
                  sizes={})  # fmt: skip
    task = tasks.make(Choice.of({"name": "classification", "smoothing": 0.1}), None, facts)
    images, labels = torch.randn(4, 2, 32, 36), torch.tensor([0, 1, 2, 0])
    outputs = model(images)
    assert isinstance(outputs, WithAuxiliary)
    assert [logits.shape for logits in outputs.auxiliary] == [(4, 3), (4, 3)]
    one, two, three = (F.cross_entropy(logits, labels, reduction="sum", label_smoothing=0.1)
                       for logits in (outputs.logits, *outputs.auxiliary))  # fmt: skip
    ((name, loss),) = task.losses(model, (images, labels))
    assert name == "model"
    torch.testing.assert_close(loss, one + 0.3 * (two + three))
    assert isinstance(model.eval()(images), Tensor)
    assert task.score(model, (images, labels))["loss"].total.isfinite()
    assert add_losses(torch.ones(2), torch.sum) == 2


def test_five_by_five_kernels_and_no_normalisation_in_2014() -> None:
    with torch.device("meta"):
        model = make("googlenet-2014")
    assert model.inception["3a"].branch3[1].convolution.kernel_size == (5, 5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert sum(isinstance(module, nn.LocalResponseNorm) for module in model.stem) == 2
