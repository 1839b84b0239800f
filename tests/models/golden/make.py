"""Write logits.json: what other libraries compute with weights made by formula. Needs torch, torchvision, timm, transformers.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 torchvision timm transformers
    venv/bin/python tests/models/golden/make.py RESNET_CIFAR

RESNET_CIFAR is resnet.py of github.com/akamaster/pytorch_resnet_cifar10 at commit 4e4f8da1ba2611dad2eedf8a23505c0fbd94b983.
Everything is computed with 64-bit numbers; of a thousand logits every hundredth is kept; hidden dense layers of
AlexNet and VGG have 64 units instead of 4096.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from formula import pictures, weight
from torch import nn

HERE = Path(__file__).parent
KEPT = 100
HIDDEN, HIDDEN_BEFORE = 64, 4096


def import_torchvision() -> Any:
    """Import torchvision beside a PyTorch it was not built for; its compiled operators are not needed here."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    return torchvision, library


def fill(model: nn.Module) -> nn.Module:
    model = model.double().eval()
    model.load_state_dict({name: weight(name, value.shape) for name, value in model.state_dict().items()})
    return model


def densenet_cifar(torchvision: Any, growth: int, depth: int) -> nn.Module:
    """Return torchvision's DenseNet with the stem of the CIFAR form."""
    model = torchvision.models.DenseNet(growth, (depth,) * 3, 2 * growth, num_classes=10)
    model.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    del model.features.norm0, model.features.relu0, model.features.pool0
    return model


def narrowed(model: nn.Module) -> nn.Module:
    """Return AlexNet or VGG with 64 units in each hidden dense layer, which otherwise hold nine tenths of the weights."""
    for index, layer in enumerate(model.classifier):
        if isinstance(layer, nn.Linear):
            inputs = layer.in_features if layer.in_features > HIDDEN_BEFORE else HIDDEN
            last = index == len(model.classifier) - 1
            model.classifier[index] = nn.Linear(inputs, layer.out_features if last else HIDDEN)
    return model


def narrowed_timm(timm: Any) -> nn.Module:
    model = timm.create_model("vgg11")
    model.pre_logits = timm.models.vgg.ConvMlp(512, HIDDEN, 7)
    model.head.fc = nn.Linear(HIDDEN, 1000)
    return model


def sources(resnet_cifar: str) -> Iterator[tuple[str, str, nn.Module, int]]:
    """Yield our name, the source, the model and the side of the pictures."""
    torchvision, _library = import_torchvision()
    import timm
    import transformers

    vision, own = f"torchvision {torchvision.__version__}", torchvision.models
    yield "alexnet", vision, narrowed(own.alexnet()), 64
    for layers in (11, 13, 16, 19):
        yield f"vgg{layers}", vision, narrowed(getattr(own, f"vgg{layers}")()), 32
        yield f"vgg{layers}-bn", vision, narrowed(getattr(own, f"vgg{layers}_bn")()), 32
    yield "googlenet", vision, own.googlenet(init_weights=False, aux_logits=True, transform_input=False), 64
    for layers in (18, 34, 50, 101, 152):
        yield f"resnet{layers}", vision, getattr(own, f"resnet{layers}")(), 64
    for layers in (121, 161, 169, 201):
        yield f"densenet{layers}", vision, getattr(own, f"densenet{layers}")(), 64
    yield "densenet-bc-100-12-cifar", f"{vision}, the stem exchanged", densenet_cifar(torchvision, 12, 16), 32
    yield "vgg11", f"timm {timm.__version__}", narrowed_timm(timm), 32
    for block, name, widths, depths in (("basic", "resnet18", (64, 128, 256, 512), (2, 2, 2, 2)),
                                        ("bottleneck", "resnet50", (256, 512, 1024, 2048), (3, 4, 6, 3))):  # fmt: skip
        config = transformers.ResNetConfig(layer_type=block, hidden_sizes=widths, depths=depths, num_labels=1000)
        yield name, f"transformers {transformers.__version__}", transformers.ResNetForImageClassification(config), 64
    spec = importlib.util.spec_from_file_location("resnet_cifar", resnet_cifar)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for layers in (20, 32, 44, 56, 110):
        model = module.ResNet(module.BasicBlock, [(layers - 2) // 6] * 3)
        yield f"resnet{layers}-cifar", "akamaster/pytorch_resnet_cifar10 4e4f8da", model, 32


def logits(model: nn.Module, size: int) -> list[list[list[float]]]:
    """Return the logits, and those of auxiliary classifiers behind them, first to last."""
    images = pictures(size)
    with torch.no_grad():
        if type(model).__name__ != "GoogLeNet":
            outputs = model(images)
            found = [outputs if isinstance(outputs, torch.Tensor) else outputs.logits]
        else:
            model.training = True  # itself alone: normalisation and dropout stay as in evaluation
            last, second, first = model(images)
            found = [last, first, second]
    return [(output[:, ::KEPT] if output.shape[1] > KEPT else output).tolist() for output in found]


def main() -> None:
    written = []
    for name, source, model, size in sources(sys.argv[1]):
        written.append({"model": name, "source": source, "size": size, "logits": logits(fill(model), size)})
        print(name, source, written[-1]["logits"][0][0][:3])
    made = {
        "made_by": "tests/models/golden/make.py",
        "torch": torch.__version__,
        "machine": platform.machine(),
        "models": written,
    }
    (HERE / "logits.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
