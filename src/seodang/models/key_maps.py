"""Names of weights in other libraries: for each architecture a table from ours to theirs that can be read both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from seodang.core.errors import WeightsError
from seodang.core.language import say
from seodang.models.densenet import DenseNet
from seodang.models.googlenet import GoogLeNet
from seodang.models.resnet import ResNet
from seodang.models.resnet_cifar import CIFARResNet
from seodang.models.vgg import VGG

COUNTER = ".num_batches_tracked"
"""Ending of the counters of batch normalisation, which files made before PyTorch 0.4.1 do not have."""

Rules: TypeAlias = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""Patterns and what replaces them, applied to our names one after the other."""


class KeyMap(NamedTuple):
    """Where each of our weights is in a file of another library: a bijection."""

    source: str
    """Whose names they are; "seodang" for our own."""
    theirs: Mapping[str, str]
    """Our name → theirs."""

    @property
    def ours(self) -> dict[str, str]:
        """Their name → ours."""
        return {theirs: ours for ours, theirs in self.theirs.items()}


def _one_more(prefix: str) -> Callable[[re.Match[str]], str]:
    """Return a replacement that counts from 1 what we count from 0."""
    return lambda match: f"{prefix}{int(match[1]) + 1}."


def _numbered_layer(match: re.Match[str]) -> str:
    """Return the place of a convolution or normalisation in a block of Transformers: layer.0.convolution for convolution1."""
    return f"layer.{int(match[2]) - 1}.{match[1]}."


RESIDUAL: Rules = (
    (r"^stem\.convolution\.", "conv1."),
    (r"^stem\.normalization\.", "bn1."),
    (r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}."),
    (r"\.convolution(\d)\.", r".conv\1."),
    (r"\.normalization(\d)\.", r".bn\1."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"^classifier\.", "fc."),
)
RESIDUAL_TRANSFORMERS: Rules = (
    (r"^stem\.", "resnet.embedder.embedder."),
    (r"^stages\.(\d+)\.(\d+)\.", r"resnet.encoder.stages.\1.layers.\2."),
    (r"(?<=\.)(convolution|normalization)(\d)\.", _numbered_layer),
    (r"^classifier\.", "classifier.1."),
)
RESIDUAL_CIFAR: Rules = (*RESIDUAL[:-3], (r"\.shortcut\.convolution\.", ".shortcut.0."),
                         (r"\.shortcut\.normalization\.", ".shortcut.1."), (r"^classifier\.", "linear."))  # fmt: skip
DENSE: Rules = (
    (r"^stem\.convolution\.", "features.conv0."),
    (r"^stem\.normalization\.", "features.norm0."),
    (r"^normalization\.", "features.norm5."),
    (r"^stages\.(\d+)\.block\.layers\.", _one_more("features.denseblock")),
    (r"^stages\.(\d+)\.transition\.", _one_more("features.transition")),
    (r"(?<=features\.transition\d\.)convolution\.", "conv."),
    (r"(?<=features\.transition\d\.)normalization\.", "norm."),
    (r"(?<=features\.denseblock\d\.)(\d+)\.", _one_more("denselayer")),
    (r"\.normalization(\d)\.", r".norm\1."),
    (r"\.squeeze\.", ".conv1."),
    (r"\.convolution\.", ".conv2."),
)
DENSE_2017: Rules = (*DENSE, (r"(?<=\.)(norm|conv)([12])\.", r"\1.\2."))
INCEPTION: Rules = (
    (r"^stem\.0\.", "conv1."),
    (r"^stem\.2\.", "conv2."),
    (r"^stem\.3\.", "conv3."),
    (r"^inception\.", "inception"),
    (r"^auxiliary(\d)\.hidden\.", r"aux\1.fc1."),
    (r"^auxiliary(\d)\.classifier\.", r"aux\1.fc2."),
    (r"^auxiliary(\d)\.convolution\.", r"aux\1.conv."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".bn."),
    (r"^classifier\.", "fc."),
)
STACKED_TIMM: Rules = (
    (r"^classifier\.0\.", "pre_logits.fc1."),
    (r"^classifier\.3\.", "pre_logits.fc2."),
    (r"^classifier\.6\.", "head.fc."),
)


def dialects(model: nn.Module) -> Iterator[tuple[str, Rules]]:
    """Yield each foreign naming of a model's weights: whose it is, and its rules."""
    config: Any = getattr(model, "config", None)
    if isinstance(model, ResNet):
        yield "torchvision, timm", RESIDUAL
        yield "Transformers", RESIDUAL_TRANSFORMERS
    elif isinstance(model, CIFARResNet):
        yield "akamaster/pytorch_resnet_cifar10", RESIDUAL_CIFAR
    elif isinstance(model, DenseNet) and config.bottleneck:
        yield "torchvision, timm", DENSE
        yield "torchvision (files of 2017)", DENSE_2017
    elif isinstance(model, GoogLeNet) and config.batch_norm and not config.response_norm:
        yield "torchvision", INCEPTION
    elif isinstance(model, VGG) and len(config.hidden_sizes) == 2:
        yield "timm", STACKED_TIMM


def key_maps(model: nn.Module) -> list[KeyMap]:
    """Return the tables of a model's weights: ours first, then those of other libraries."""
    names = list(model.state_dict())
    maps = [KeyMap("seodang", {name: name for name in names})]
    for source, rules in dialects(model):
        theirs = {}
        for name in names:
            other = name
            for pattern, replacement in rules:
                other = re.sub(pattern, replacement, other)
            theirs[name] = other
        assert len(set(theirs.values())) == len(theirs), f"{source}: two weights have one name"
        maps.append(KeyMap(source, theirs))
    return maps


class Translated(NamedTuple):
    """Weights under our names, whose names they had, and what there is to say about it."""

    weights: dict[str, Tensor]
    source: str
    notes: tuple[str, ...]


def translate(model: nn.Module, weights: Mapping[str, Tensor], path: Any) -> Translated:
    """Return the weights of a file under the names of `model`, from whatever library they are.

    The naming with the most names in common is taken. Counters of batches may be missing all together: they start at 0.

    Raises: WeightsError listing everything in the file that is not in the model, and the other way round.
    """
    maps = key_maps(model)
    found = max(maps, key=lambda map_: len(map_.ours.keys() & weights.keys()))
    if found.source == "seodang":  # whatever does not fit is said when the weights are put into the model
        return Translated(dict(weights), found.source, ())
    wanted, notes = found.ours, []
    counters = {theirs for theirs in wanted if theirs.endswith(COUNTER)}
    given = dict(weights)
    if counters and not counters & given.keys():
        given |= {name: torch.zeros((), dtype=torch.int64) for name in counters}
        notes.append(say("{path}: has no counters of the batches each normalisation has seen (so files were before PyTorch "
                         "0.4.1); they start at 0. Nothing computes with them.", path=path))  # fmt: skip
    problems = [say("left over in the file: {name}", name=name) for name in given if name not in wanted]
    problems += [
        say("not in the file: {name} ({ours} here)", name=name, ours=wanted[name])
        for name in wanted
        if name not in given
    ]
    if problems:
        raise WeightsError("{path}: these are names of {source}, but not those of this model.\n  {problems}", path=path,
                           source=found.source, problems="\n  ".join(problems))  # fmt: skip
    notes.append(say("{path}: names of {source}.", path=path, source=found.source))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    ours = {wanted[name]: _as_dense(value, shapes[wanted[name]]) for name, value in given.items()}
    return Translated(ours, found.source, tuple(notes))


def _as_dense(value: Tensor, shape: torch.Size) -> Tensor:
    """Return the weights of a convolution that covers its whole input as those of the dense layer it is (VGG in timm)."""
    if value.ndim == 4 and len(shape) == 2 and value.flatten(1).shape == shape:
        return value.flatten(1)
    return value
