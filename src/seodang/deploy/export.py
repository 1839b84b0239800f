"""Export: the best model for use elsewhere, with what must be known about its inputs written beside it.

    safetensors   a bundle: weights and settings; loads here and, as plain tensors, everywhere
    torch         torch.export, one .pt2 file: runs with PyTorch alone
    onnx          one .onnx file: runs with ONNX Runtime and many others

All three hold `model.json` (mean and deviation of the pixels, columns, classes, tokenizer) and a manifest with
sizes and digests. Batches may have any size; texts any length the model can see.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DiskError, MissingExtra, TrainingError
from seodang.core.files import make_folders, write_folder
from seodang.models.bundle import SETTINGS, Bundle
from seodang.task.base import tasks

TOLERANCE = 1e-4
"""How far an exported model's answers may be from the original's, as a share of the largest."""
LARGEST_ONNX = 2_000_000_000
"""Bytes one ONNX file can hold: a limit of its format."""


def export(bundle: Bundle, to: str, path: Path) -> Path:
    """Write `bundle` in the format `to` into the new folder `path`; return what to load.

    What is exported is run beside the original before it is written.
    Raises: ConfigError for an unknown format; DiskError if `path` exists; MissingExtra; TrainingError if the
    exported model answers differently.
    """
    if to not in FORMATS:
        raise ConfigError("export --to {format}: there is no such format. Formats: {known}.", format=to,
                          known=", ".join(FORMATS))  # fmt: skip
    if path.exists():
        raise DiskError("{path}: is there already. Remove it, or write elsewhere: --path", path=path)
    make_folders(path.parent)
    return FORMATS[to](bundle, path)


def _as_bundle(bundle: Bundle, path: Path) -> Path:
    bundle.write(path)
    return path


def _as_torch(bundle: Bundle, path: Path) -> Path:
    program, examples = _program(bundle)
    exported = program.module()
    _compare(bundle, [(example, _listed(exported(example))) for example in examples])
    program.example_inputs = None  # torch would pickle them, and nobody needs them
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    _write(bundle, path, "model.pt2", buffer.getvalue(), {"export": "torch", "torch": torch.__version__})
    return path / "model.pt2"


def _as_onnx(bundle: Bundle, path: Path) -> Path:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "export")
    program, examples = _program(bundle)
    with _quiet():
        proto = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["inputs"],
                                  output_names=_output_names(bundle.model, examples[0])).model_proto  # fmt: skip
    if (size := proto.ByteSize()) > LARGEST_ONNX:
        raise ConfigError("The model has {size:,} bytes; one ONNX file holds at most {largest:,}. Export it with --to torch.",
                          size=size, largest=LARGEST_ONNX)  # fmt: skip
    data = proto.SerializeToString()
    if importlib.util.find_spec("onnxruntime"):
        _compare(bundle, [(example, _run_onnx(data, example)) for example in examples])
    _write(bundle, path, "model.onnx", data, {"export": "onnx", "opset": proto.opset_import[0].version})
    return path / "model.onnx"


FORMATS: dict[str, Callable[[Bundle, Path], Path]] = {"safetensors": _as_bundle, "torch": _as_torch, "onnx": _as_onnx}


# ------------------------------------------------------------------------------------------------ details


class _Plain(nn.Module):
    """The model with plain tuples for answers: other programs know no named ones."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.model(inputs)
        return tuple(outputs) if isinstance(outputs, tuple) else outputs


def _program(bundle: Bundle) -> tuple[torch.export.ExportedProgram, list[Tensor]]:
    """Return the model as a graph, and batches of one, two and three examples to try it on."""
    model = bundle.model.eval().cpu()
    facts = bundle.record.facts
    blanks = tasks.make(bundle.record.task, facts.known(), facts).blank_inputs(model)
    if "" not in blanks:
        raise ConfigError("This model has several parts with inputs of their own ({parts}) and no way through all of them; "
                          "export it with --to safetensors.", parts=", ".join(blanks))  # fmt: skip
    blank = blanks[""]
    examples = [_filled(blank, count) for count in (2, 1, 3)]
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if not blank.is_floating_point() and blank.ndim == 2 and blank.shape[1] > 1:
        free[1] = torch.export.Dim("length", min=1, max=blank.shape[1])
        examples[-1] = examples[-1][:, : max(1, blank.shape[1] // 2)]
    with _quiet(), torch.no_grad():
        program = torch.export.export(_Plain(model), (examples[0],), dynamic_shapes=(free,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders of this machine
    return program, examples


def _filled(blank: Tensor, count: int) -> Tensor:
    """Return a batch like the blank example, with numbers in it."""
    generator = torch.Generator().manual_seed(count)
    shape = (count, *blank.shape[1:])
    if blank.is_floating_point():
        return torch.randn(shape, generator=generator)
    return torch.randint(0, 2, shape, generator=generator)


def _listed(outputs: Any) -> list[np.ndarray]:
    values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [value.detach().numpy() for value in values]


def _output_names(model: nn.Module, example: Tensor) -> list[str]:
    with torch.no_grad():
        outputs = model(example)
    names = getattr(outputs, "_fields", None)
    return list(names) if names else [f"outputs_{place}" for place in range(len(outputs))] if isinstance(
        outputs, tuple) else ["outputs"]  # fmt: skip


def _run_onnx(data: bytes, example: Tensor) -> list[np.ndarray]:
    import onnxruntime  # lazy: an extra

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"inputs": example.numpy()})


def _compare(bundle: Bundle, pairs: Sequence[tuple[Tensor, list[np.ndarray]]]) -> None:
    """Refuse an exported model that answers differently; one that draws at random cannot be compared.

    Raises: TrainingError
    """
    for example, found in pairs:
        with torch.no_grad():
            wanted, again = (_listed(bundle.model(example)) for _ in range(2))
        for place, (a, b, c) in enumerate(zip(wanted, again, found, strict=True)):
            if not np.array_equal(a, b):
                continue
            largest = float(np.abs(a).max(initial=1.0))
            difference = float(np.abs(a - c).max(initial=0.0)) if a.shape == c.shape else float("inf")
            if difference > TOLERANCE * largest:
                raise TrainingError("The exported model does not answer like the original: output {place} differs by "
                                    "{difference:.3g} for a batch of {count}. Nothing was written.", place=place,
                                    difference=difference, count=len(example))  # fmt: skip


def _write(bundle: Bundle, path: Path, name: str, data: bytes, facts: dict[str, Any]) -> None:
    settings = bundle.files()[SETTINGS]
    write_folder(path, {name: data, SETTINGS: settings}, facts)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own remarks from the user: what matters is checked and said by `_compare`."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
