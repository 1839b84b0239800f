"""Export: the best model for use elsewhere, with what must be known about its inputs written beside it and into it.

    safetensors   a bundle: weights and settings; loads here and, as plain tensors, everywhere
    torch         torch.export, one .pt2 file: runs with PyTorch alone
    onnx          one .onnx file: runs with ONNX Runtime and many others
    torchvision, timm, huggingface
                  weights under the names of that library (`deploy.foreign`)

All hold `model.json` (mean and deviation of the pixels, columns, classes, tokenizer) and a manifest with sizes and
digests; a .pt2 or .onnx file also holds it itself, and `seodang predict` needs nothing else. Batches may have any size;
texts any length the model can see; pictures any size where the network averages its maps.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DiskError, MissingExtra, TrainingError
from seodang.core.files import make_folders, read_manifest, write_folder
from seodang.core.language import say
from seodang.deploy.described import described
from seodang.deploy.exported import ExportedModel
from seodang.deploy.foreign import LIBRARIES, foreign_files
from seodang.deploy.free_sizes import Freedom, freedoms
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle
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
    if isinstance(bundle.model, ExportedModel):
        raise ConfigError("This is an exported file already. Export the run or the bundle it was made from.")
    if path.exists():
        raise DiskError("{path}: is there already. Remove it, or write elsewhere: --path", path=path)
    make_folders(path.parent)
    return FORMATS[to](bundle, path)


def place_for(base: Path, to: str, path: Path | str | None) -> Path:
    """Return where to write: `path`, else below the run or bundle `base`.

    Raises: ConfigError if nobody says, and `base` is no folder (published weights).
    """
    if path is None and not base.is_dir():
        raise ConfigError("{path}: is no folder to write into. Say where to: --path DIR", path=base)
    return Path(path) if path is not None else base / "export" / to


def _as_bundle(bundle: Bundle, path: Path) -> Path:
    bundle.write(path)
    return path


def _as_torch(bundle: Bundle, path: Path) -> Path:
    program = _program(bundle)
    exported = program.graph.module()
    _compare(bundle, [(example, _listed(exported(example))) for example in program.examples])
    program.graph.example_inputs = None  # torch would pickle them, and nobody needs them
    buffer = io.BytesIO()
    torch.export.save(program.graph, buffer, extra_files=described(bundle.record, program.sizes))
    facts = {"export": "torch", "torch": torch.__version__, "sizes": program.sizes}
    _write(bundle, path, "model.pt2", buffer.getvalue(), facts)
    return path / "model.pt2"


def _as_onnx(bundle: Bundle, path: Path) -> Path:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "export")
    program = _program(bundle)
    with _quiet():
        proto = torch.onnx.export(program.graph, dynamo=True, verbose=False, input_names=["inputs"],
                                  output_names=_output_names(bundle.model, program.examples[0])).model_proto  # fmt: skip
    _name_sizes(proto.graph)
    for name, text in described(bundle.record, program.sizes).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    if (size := proto.ByteSize()) > LARGEST_ONNX:
        raise ConfigError("The model has {size:,} bytes; one ONNX file holds at most {largest:,}. Export it with --to torch.",
                          size=size, largest=LARGEST_ONNX)  # fmt: skip
    data = proto.SerializeToString()
    if importlib.util.find_spec("onnxruntime"):
        _compare(bundle, [(example, _run_onnx(data, example)) for example in program.examples])
    facts = {"export": "onnx", "opset": proto.opset_import[0].version, "sizes": program.sizes}
    _write(bundle, path, "model.onnx", data, facts)
    return path / "model.onnx"


def _as_foreign(library: str, bundle: Bundle, path: Path) -> Path:
    files = {**foreign_files(bundle, library), SETTINGS: bundle.files()[SETTINGS]}
    write_folder(path, files, {"export": library})
    return path / WEIGHTS


FORMATS: dict[str, Callable[[Bundle, Path], Path]] = {
    "safetensors": _as_bundle,
    "torch": _as_torch,
    "onnx": _as_onnx,
    **{library: partial(_as_foreign, library) for library in LIBRARIES},
}


def told(path: Path) -> str:
    """Return what sizes of pictures an exported file takes, for people; "" where there is nothing to say."""
    folder = path if path.is_dir() else path.parent
    match read_manifest(folder).get("sizes"):
        case "any":
            return say("Batches and pictures may have any size.")
        case "fixed":
            return say("Batches may have any size; pictures have one: this network does not average its maps.")
    return ""


# ------------------------------------------------------------------------------------------------ details


class _Plain(nn.Module):
    """The model with plain tuples for answers: other programs know no named ones."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.model(inputs)
        return tuple(outputs) if isinstance(outputs, tuple) else outputs


class _Program(NamedTuple):
    graph: torch.export.ExportedProgram
    examples: list[Tensor]
    """Batches to try it on: of two, one and three examples, the last of another size where that may differ."""
    sizes: str
    """What sizes pictures may have; see `Freedom`."""


def _program(bundle: Bundle) -> _Program:
    """Return the model as a graph with as many free axes as it allows."""
    model = bundle.model.eval().cpu()
    facts = bundle.record.facts
    blanks = tasks.make(bundle.record.task, facts.known(), facts).blank_inputs(model)
    if "" not in blanks:
        raise ConfigError("This model has several parts with inputs of their own ({parts}) and no way through all of them; "
                          "export it with --to safetensors.", parts=", ".join(blanks))  # fmt: skip
    blank = blanks[""]
    example = _filled(blank, 2, tuple(blank.shape[1:]))
    graph, freedom = _freest(model, example, freedoms(model, blank))
    for node in graph.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders of this machine
    examples = [example, _filled(blank, 1, tuple(blank.shape[1:])), _filled(blank, 3, freedom.other)]
    return _Program(graph, examples, freedom.sizes)


def _freest(
    model: nn.Module, example: Tensor, choices: Sequence[Freedom]
) -> tuple[torch.export.ExportedProgram, Freedom]:
    """Return the graph with the first of `choices` that holds for it: PyTorch refuses axes that cannot be free."""
    for place, freedom in enumerate(choices):
        try:
            with _quiet(), torch.no_grad():
                graph = torch.export.export(_Plain(model), (example,), dynamic_shapes=(dict(freedom.axes),),
                                            prefer_deferred_runtime_asserts_over_guards=freedom.sizes == "any")  # fmt: skip
                if freedom.sizes == "any":
                    graph.module()(_filled(example, 1, freedom.other))
            return graph, freedom
        except (NotImplementedError, AssertionError, torch._dynamo.exc.UserError, RuntimeError, ValueError):
            if place == len(choices) - 1:
                raise
    raise AssertionError("there is at least one choice")


def _filled(blank: Tensor, count: int, size: tuple[int, ...]) -> Tensor:
    """Return a batch of so many examples of that size like the blank one, with numbers in it."""
    generator = torch.Generator().manual_seed(count)
    shape = (count, *size)
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


def _name_sizes(graph: Any) -> None:
    """Call the free axes of the inputs what they are, in place of the exporter's s34 and s14."""
    (inputs,) = graph.input
    sizes = inputs.type.tensor_type.shape.dim
    names = ("batch", "length") if len(sizes) == 2 else ("batch", "channels", "height", "width")
    new = {size.dim_param: name for size, name in zip(sizes, names, strict=False) if size.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in new:
                size.dim_param = new[size.dim_param]


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
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
