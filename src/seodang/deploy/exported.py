"""Networks in exported files, used from the file alone: ONNX by ONNX Runtime, torch.export by a child that can do nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, MissingExtra, WeightsError
from seodang.core.strict import LARGE_BYTES, Refused, parse_json
from seodang.deploy.described import RECORD
from seodang.deploy.guarded_program import GuardedProgram
from seodang.models.bundle import Bundle, BundleRecord
from seodang.task.base import tasks

FILES = ("model.onnx", "model.pt2")
SUFFIXES = tuple(name[name.rindex(".") :] for name in FILES)


class ExportedModel(nn.Module):
    """A network that only answers: no weights to see, nothing to train."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        """Tells where inputs are wanted: in the memory of the processor."""


class ONNXModel(ExportedModel):
    """A network in an .onnx file."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__()
        if importlib.util.find_spec("onnxruntime") is None:
            raise MissingExtra("onnxruntime", "export")
        import onnxruntime  # lazy: an extra

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.path = path
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own exceptions have no common base
            raise WeightsError("{path}: is no ONNX file that ONNX Runtime reads: {reason}.", path=path,
                               reason=_first_line(error)) from None  # fmt: skip

    @property
    def notes(self) -> dict[str, str]:
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def forward(self, inputs: Tensor) -> Any:
        try:
            found = self.session.run(None, {"inputs": inputs.numpy()})
        except Exception as error:
            raise WeightsError("{path}: ONNX Runtime cannot compute an answer with it: {reason}.", path=self.path,
                               reason=_first_line(error)) from None  # fmt: skip
        outputs = tuple(torch.from_numpy(value) for value in found)
        return outputs[0] if len(outputs) == 1 else outputs


class TorchModel(ExportedModel):
    """A network in a .pt2 file. PyTorch's reader of such files runs what they hold, so a guarded child reads it."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__()
        self.program = GuardedProgram(data, path, RECORD)

    @property
    def notes(self) -> dict[str, str]:
        return {RECORD: self.program.record}

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.program(inputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def exported_file(path: Path) -> Path | None:
    """Return the exported file at `path`, or in the folder `path`; None if there is none."""
    if path.suffix in SUFFIXES and path.is_file():
        return path
    return next((path / name for name in FILES if (path / name).is_file()), None)


def read_exported(path: Path) -> Bundle:
    """Return the network in an exported file, and what the file says of itself.

    Raises: MissingExtra, WeightsError if it says nothing or is damaged, ConfigError for tasks that need parts of the
    network a file has not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None
    model = ONNXModel(data, path) if path.suffix == ".onnx" else TorchModel(data, path)
    text = model.notes.get(RECORD, "")
    if not text:
        raise WeightsError("{path}: does not say what goes in and what the answers mean; seodang export writes it into its files.",
                           path=path)  # fmt: skip
    try:
        values = parse_json(text, LARGE_BYTES)
    except Refused as error:
        raise WeightsError("{path}: {reason}.", path=path, reason=error) from None
    if not isinstance(values, dict):
        raise WeightsError("{path}: is not a record of settings.", path=path)
    record = BundleRecord.of(values, where=str(path))
    answers = getattr(tasks[record.task.name].maker, "answers", "")
    if answers not in ("classes", "quantities"):
        raise ConfigError("{path}: the task '{task}' answers with parts of the network that an exported file does not have. "
                          "Use the run itself, or a bundle: seodang export RUN --to safetensors", path=path,
                          task=record.task.name)  # fmt: skip
    return Bundle(model.eval(), record)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
