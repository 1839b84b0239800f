"""The convolutional zoo: published sizes, smallest pictures, first weights, gradients everywhere, one batch learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.layers.map_size import Window, map_side
from seodang.models.base import architectures
from seodang.task.base import tasks

PUBLISHED_COUNTS = {
    # torchvision 0.28, num_params of its weights (googlenet: with auxiliary classifiers, 6,624,904 without)
    "alexnet": 61_100_840, "vgg11": 132_863_336, "vgg11-bn": 132_868_840, "vgg13": 133_047_848, "vgg13-bn": 133_053_736,
    "vgg16": 138_357_544, "vgg16-bn": 138_365_992, "vgg19": 143_667_240, "vgg19-bn": 143_678_248,
    "googlenet": 13_004_888, "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "resnet101": 44_549_160, "resnet152": 60_192_808, "densenet121": 7_978_856, "densenet161": 28_681_000,
    "densenet169": 14_149_480, "densenet201": 20_013_928,
    # Caffe's bvlc_alexnet and bvlc_googlenet (the main path has 6,998,552)
    "alexnet-2012": 60_965_224, "googlenet-2014": 13_378_280,
    # LeCun et al. 1998, sec. II-B: 60,000 trainable; with all connections and a dense output one layer after the other
    "lenet-5-1998": 60_000, "lenet-5": 156 + 2_416 + 48_120 + 10_164 + 850,
    # Caffe Model Zoo, cifar10_nin and nin_imagenet, by hand
    "nin-cifar": 14_592 + 30_880 + 15_456 + 460_992 + 2 * 37_056 + 331_968 + 37_056 + 1_930,
    "nin": 34_944 + 2 * 9_312 + 614_656 + 2 * 65_792 + 885_120 + 2 * 147_840 + 3_539_968 + 1_049_600 + 1_025_000,
    # He et al. 2016, table 6: 0.27, 0.46, 0.66, 0.85, 1.7 million; a plain network has as many as its twin
    "resnet20-cifar": 269_722, "resnet32-cifar": 464_154, "resnet44-cifar": 658_586, "resnet56-cifar": 853_018,
    "resnet110-cifar": 1_727_962, "plain20-cifar": 269_722, "plain32-cifar": 464_154, "plain44-cifar": 658_586,
    "plain56-cifar": 853_018, "plain110-cifar": 1_727_962,
    # Huang et al. 2017, table 2: 1.0, 7.0, 27.2, 0.8, 15.3, 25.6 million
    "densenet40-12-cifar": 1_019_722, "densenet100-12-cifar": 6_979_642, "densenet100-24-cifar": 27_249_082,
    "densenet-bc-100-12-cifar": 769_162, "densenet-bc-250-24-cifar": 15_324_406, "densenet-bc-190-40-cifar": 25_624_430,
}  # fmt: skip

SMALLEST = {"alexnet": 63, "alexnet-2012": 63, "vgg16": 32, "googlenet": 15, "resnet50": 1, "resnet20-cifar": 1, "densenet121": 29,
            "densenet-bc-100-12-cifar": 4, "lenet-5": 12, "lenet-5-1998": 12, "nin-cifar": 4, "nin": 39}  # fmt: skip
"""Sides of pictures; those of torchvision's own names are its min_size."""

ZOO = ("LeNet", "NiN", "AlexNet", "VGG", "GoogLeNet", "ResNet", "CIFARResNet", "DenseNet")
TINY = {entry.maker: name for name in reversed(architectures.names())
        if (entry := architectures[name]).maker.__name__ in ZOO}  # fmt: skip


def make(name: str, **settings: object) -> Any:
    return architectures.make(Choice.of({"name": name, **settings}))


def on_meta(name: str, **settings: object) -> Any:
    with torch.device("meta"):
        return make(name, **settings)


def tiny(name: str, **settings: object) -> Any:
    torch.manual_seed(0)
    return make(name, **{**architectures[name].maker.example, **settings})


@pytest.mark.parametrize("name", PUBLISHED_COUNTS)
def test_as_many_parameters_as_published(name: str) -> None:
    assert sum(weight.numel() for weight in on_meta(name).parameters()) == PUBLISHED_COUNTS[name]


def test_every_member_of_the_zoo_has_its_count_checked() -> None:
    zoo = {name for name in architectures.names() if architectures[name].maker.__name__ in ZOO}
    assert zoo == set(PUBLISHED_COUNTS)
    assert {architectures[name].maker for name in SMALLEST} == set(TINY)


def test_without_auxiliary_classifiers_the_published_rest_is_left() -> None:
    for name, count in (("googlenet", 6_624_904), ("googlenet-2014", 6_998_552)):
        assert sum(weight.numel() for weight in on_meta(name, auxiliary=False).parameters()) == count


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_picture_works_and_a_smaller_one_is_refused(name: str) -> None:
    side = SMALLEST[name]
    model = on_meta(name, image_size=(side, side + 3)).eval()
    images = torch.empty(2, model.config.in_channels, side, side + 3, device="meta")
    assert model(images).shape == (2, model.config.num_classes)
    if side > 1:
        message = (
            rf"image_size={side - 1}×{side + 3}: .* smallest that works is {side}×{side}: enlarge .*image_size={side}\)"
        )
        with pytest.raises(ConfigError, match=message):
            on_meta(name, image_size=(side - 1, side + 3))
        with pytest.raises(RuntimeError):  # PyTorch itself would stop there
            model(images[..., : side - 1, :])


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "densenet121", "googlenet", "alexnet", "nin", "lenet-5"])
def test_channels_size_and_classes_are_free(name: str) -> None:
    model = on_meta(name, in_channels=5, image_size=(97, 80), num_classes=7).eval()
    assert model(torch.empty(3, 5, 97, 80, device="meta")).shape == (3, 7)


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_count_as_pytorch_does(ceil: bool) -> None:
    for kernel, stride, padding in ((3, 2, 0), (3, 2, 1), (2, 2, 0), (3, 3, 1), (2, 1, 0), (5, 3, 2)):
        for side in range(1, 24):
            pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
            try:
                expected = pool(torch.zeros(1, 1, side, side)).shape[-1]
            except RuntimeError:
                expected = 0
            assert map_side(side, [Window(kernel, stride, padding, ceil)]) == expected, (kernel, stride, padding, side)


# --------------------------------------------------------------------------------------------- training


def classification(classes: int) -> Any:
    inputs = ImageInputs(channels=2, height=8, width=8, mean=(0.0, 0.0), std=(1.0, 1.0))
    facts = Facts(inputs=inputs, classes=tuple(map(str, range(classes))), sizes={})
    return tasks.make(Choice(name="classification"), None, facts)


def batch_of(model: Any, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    config = model.config
    return torch.randn(count, config.in_channels, *config.image_size), torch.arange(count) % config.num_classes


@pytest.mark.parametrize("name", sorted(TINY.values()))
def test_gradient_reaches_every_weight(name: str) -> None:
    model = tiny(name).train()
    ((_, loss),) = classification(3).losses(model, batch_of(model))
    loss.backward()
    idle = [path for path, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not idle


@pytest.mark.parametrize("name", sorted(TINY.values()))
def test_one_batch_is_learned(name: str) -> None:
    model = tiny(name).train()
    task, batch = classification(3), batch_of(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(80):
        ((_, loss),) = task.losses(model, batch)
        optimizer.zero_grad()
        (loss / len(batch[0])).backward()
        optimizer.step()
    logits = model(batch[0])
    logits = getattr(logits, "logits", logits)
    assert (logits.argmax(1) == batch[1]).all()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20-cifar", "vgg11-bn", "densenet121", "nin-cifar"])
def test_signals_keep_their_size_at_the_start(name: str) -> None:
    torch.manual_seed(0)
    model = make(name, image_size=(32, 32), num_classes=10).train()
    with torch.no_grad():
        logits = model(torch.randn(8, 3, 32, 32))
    assert 0.01 < logits.std() < 100


def test_blocks_are_what_is_sharded() -> None:
    for name, count in (("resnet50", 16), ("resnet56-cifar", 27), ("densenet121", 58), ("googlenet", 9)):
        model = on_meta(name)
        assert sum(isinstance(module, model.blocks) for module in model.modules()) == count


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet18", {"depths": (2, 0)}, r"model.depths=\[2, 0\]: every stage needs"),
        ("vgg11", {"widths": (64, 128)}, "each stage needs one number above 0 in both"),
        ("densenet121", {"depths": (0,)}, "every block needs one or more layers"),
        ("alexnet-2012", {"channels": (95, 256, 384, 384, 256)}, "must be even"),
        ("nin", {"channels": ((4,), (4,))}, "form=large has 4 blocks"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(name, **settings)
