"""Weights under the names of another library, with what it must know of the network and of its pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.models.alexnet import AlexNet
from seodang.models.bundle import WEIGHTS, Bundle, json_bytes
from seodang.models.key_maps import KeyMap, key_maps
from seodang.models.resnet import ResNet
from seodang.models.vgg import VGG

LIBRARIES: Mapping[str, str] = {"torchvision": "torchvision", "timm": "timm", "huggingface": "Transformers"}
"""Names of formats, and what `key_maps` calls the library."""


def foreign_files(bundle: Bundle, library: str) -> dict[str, bytes]:
    """Return the files a library loads: its weights, and for Hugging Face the network's and the pictures' settings.

    Raises: ConfigError if it has no such network.
    """
    theirs = map_to(bundle.model, library).theirs
    state = bundle.model.state_dict()
    weights = {theirs[name]: _shaped(theirs[name], value, bundle.model) for name, value in state.items()}
    files = {WEIGHTS: save(weights, metadata={"format": "pt"})}
    if library == "huggingface":
        assert isinstance(bundle.model, ResNet)
        files["config.json"] = json_bytes(_transformers_config(bundle.model, bundle.record.facts))
        if isinstance(inputs := bundle.record.facts.inputs, ImageInputs):
            files["preprocessor_config.json"] = json_bytes(_transformers_preprocessing(inputs))
    return files


def map_to(model: nn.Module, library: str) -> KeyMap:
    """Return the table from the names of a model's weights to those of a library.

    Raises: ConfigError if it has no such network.
    """
    _refuse_unlike(model, library)
    maps = key_maps(model)
    if library == "torchvision" and _named_like_torchvision(model):
        return maps[0]
    for found in maps[1:]:
        if LIBRARIES[library] in [part.strip() for part in found.source.split(",")]:
            return found
    known = [name for name in LIBRARIES if any(LIBRARIES[name] in found.source.split(", ") for found in maps[1:])]
    known += ["torchvision"] if _named_like_torchvision(model) else []
    raise ConfigError("export --to {library}: {library} has no network like this {model}. Formats for it: {known}.", library=library,
                      model=type(model).__name__, known=", ".join([*known, "safetensors", "torch", "onnx"]))  # fmt: skip


def _refuse_unlike(model: nn.Module, library: str) -> None:
    """Do nothing unless the weights would fit a network that computes something else.

    Raises: ConfigError
    """
    config: Any = getattr(model, "config", None)
    if not isinstance(model, ResNet):
        return
    unlike = {"stem": config.stem} if config.stem != "large" else {}
    if library != "huggingface" and config.block == "bottleneck" and config.stride_at != "3x3":
        unlike["stride_at"] = config.stride_at
    if unlike:
        raise ConfigError("export --to {library}: {library} has no ResNet with {settings}. Use --to safetensors, torch or onnx.",
                          library=library, settings=", ".join(f"{name}={value}" for name, value in unlike.items()))  # fmt: skip


def _named_like_torchvision(model: nn.Module) -> bool:
    config: Any = getattr(model, "config", None)
    if isinstance(model, AlexNet):
        return config.towers == 1 and not config.response_norm
    return isinstance(model, VGG) and len(config.hidden_sizes) == 2


def _shaped(name: str, value: Tensor, model: nn.Module) -> Tensor:
    """Return weights in the shape they have elsewhere: in timm the hidden dense layers of VGG are convolutions."""
    value = value.detach().cpu()
    if isinstance(model, VGG) and name.startswith("pre_logits.") and value.ndim == 2:
        side = model.config.places if ".fc1." in name else 1
        value = value.view(len(value), -1, side, side)
    return value.contiguous()


def _transformers_config(model: ResNet, facts: Facts) -> dict[str, Any]:
    """Return `config.json` of ResNetForImageClassification."""
    config = model.config
    widths = [
        config.width * 2**stage * (4 if config.block == "bottleneck" else 1) for stage in range(len(config.depths))
    ]
    classes = facts.classes or tuple(map(str, range(config.num_classes)))
    return {"architectures": ["ResNetForImageClassification"], "model_type": "resnet", "num_channels": config.in_channels,
            "embedding_size": config.width, "hidden_sizes": widths, "depths": list(config.depths), "layer_type": config.block,
            "hidden_act": "relu", "downsample_in_first_stage": False,
            "downsample_in_bottleneck": config.stride_at == "1x1", "id2label": {str(place): name for place, name in enumerate(classes)},
            "label2id": {name: place for place, name in enumerate(classes)}}  # fmt: skip


def _transformers_preprocessing(inputs: ImageInputs) -> dict[str, Any]:
    """Return `preprocessor_config.json`: resize, cut out the middle, scale to 0…1, normalise."""
    return {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": inputs.channels == 3,
            "do_resize": True, "size": {"shortest_edge": inputs.resize or max(inputs.height, inputs.width)}, "resample": 2,
            "do_center_crop": True, "crop_size": {"height": inputs.height, "width": inputs.width}, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": list(inputs.mean), "image_std": list(inputs.std)}  # fmt: skip
