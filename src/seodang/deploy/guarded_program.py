"""A torch.export file, read and run by a child process that can do nothing but compute.

PyTorch's reader of .pt2 files evaluates text they hold and may unpickle, so a file from elsewhere is a program. The child
has the limits and the seccomp filter of `sandbox`; tensors go in and come out through pipes, as safetensors bytes.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO
from weakref import finalize

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seodang.core.errors import WeightsError
from seodang.deploy.sandbox import SPARE_EXPANSION, child_command, child_environment, forbid_calls, limit, refuse_bomb

SECONDS = 3600
"""Processor time the child gets for all its answers."""
MOST_BYTES = 1 << 31
"""No answer is longer."""


class GuardedProgram:
    """Callable: a batch of inputs → the outputs of the network in the file.

    Raises: WeightsError if the file cannot be read, or an answer does not come.
    """

    def __init__(self, data: bytes, path: Path, note: str) -> None:
        self.path = path
        code = "from seodang.deploy.guarded_program import main; main()"
        self.child = subprocess.Popen(child_command(code, len(data), SECONDS, note), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment())  # fmt: skip
        self._closed = finalize(self, _end, self.child)
        self.record = self._exchange(data).decode("utf-8", errors="replace")
        """What the file says of itself under `note`; "" if nothing."""

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        try:
            outputs = load(self._exchange(save({"inputs": inputs.contiguous()})))
            return [outputs[f"outputs_{place}"] for place in range(len(outputs))]
        except (SafetensorError, KeyError) as error:
            raise WeightsError("{path}: no answer came from it: {reason}.", path=self.path, reason=error) from None

    def _exchange(self, data: bytes) -> bytes:
        assert self.child.stdin
        assert self.child.stdout
        try:
            write_frame(self.child.stdin, data)
            return read_frame(self.child.stdout)
        except (OSError, EOFError):
            self.child.kill()
            words = self.child.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
            raise WeightsError("{path}: no answer came from it: {reason}.", path=self.path,
                               reason=words.rstrip(".") or f"exit {self.child.returncode}") from None  # fmt: skip


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def write_frame(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes:
    """Return the next piece of a pipe.

    Raises: EOFError if it ends before
    """
    head = pipe.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
    if not 0 <= length <= MOST_BYTES:
        raise EOFError
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


# ------------------------------------------------------------------------------------------- in the child


def main() -> None:
    """Read a .pt2 file, write what it says of itself, then answer inputs until there are no more."""
    import torch  # lazy: only the child needs it here
    from torch._export.serde import serialize  # noqa: F401  # whatever is imported later counts towards the memory
    from torch.export import pt2_archive  # noqa: F401

    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    size, note = int(sys.argv[1]), sys.argv[3]
    limit(size + SPARE_EXPANSION, int(sys.argv[2]))
    forbid_calls()
    try:
        file = io.BytesIO(read_frame(sys.stdin.buffer))
        refuse_bomb(file, size)
        notes = {note: ""}
        model = torch.export.load(file, extra_files=notes).module()
        write_frame(answers, str(notes[note]).encode())
        while True:
            inputs = load(read_frame(sys.stdin.buffer))["inputs"]
            with torch.no_grad():
                found = model(inputs)
            outputs = found if isinstance(found, (tuple, list)) else (found,)
            write_frame(answers, save({f"outputs_{place}": value.contiguous() for place, value in enumerate(outputs)}))
    except EOFError:
        os._exit(0)
    except BaseException as error:  # whatever a hostile file provokes becomes one line
        sys.stderr.write(json.dumps(f"{type(error).__name__}: {error}"[:300]).strip('"').partition("\\n")[0] + "\n")
        sys.stderr.flush()
        os._exit(1)
