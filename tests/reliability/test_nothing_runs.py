"""T40, T39, I1-I11: nothing that is read can run, by the source and by trying."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import random
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seodang.core.errors import WeightsError
from seodang.deploy import sandbox

SOURCE = Path(__file__).parents[2] / "src" / "seodang"
FILES = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}

# ------------------------------------------------------------------------------------------- by the source

AUDITED = {
    "deploy/sandbox.py": {"torch.load", "subprocess.run", "ctypes"},
    "deploy/guarded_program.py": {"torch.export.load", "subprocess.Popen"},
    "training/launch.py": {"subprocess.Popen"},
    "cli/measuring.py": {"subprocess.run"},
    "core/registry.py": {"importlib.import_module", "importlib.util.module_from_spec", "loader.exec_module"},
    "comparison/running.py": {"subprocess.Popen"},
    "comparison/nursery.py": {"subprocess.Popen"},
    "training/allocator.py": {"ctypes"},
    "core/stopping.py": {"ctypes"},
    "__init__.py": {"importlib.import_module"},
}
"""File → what it alone may do: open a pickle or a program in the child, start ranks, runs and git, call the C library, import
the package's own modules and plug-ins."""
CALLS = {
    "eval", "exec", "compile", "__import__", "breakpoint", "runpy.run_path", "runpy.run_module",
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.export.load", "torch.ops.load_library",
    "torch.classes.load_library", "pd.read_pickle", "marshal.loads", "shelve.open", "joblib.load", "yaml.load", "yaml.unsafe_load",
    "np.load", "numpy.load", "np.fromfile", "importlib.import_module", "importlib.util.module_from_spec", "loader.exec_module",
    "exec_module", "os.system", "os.popen", "os.execv", "os.execvp", "os.execve", "os.spawnv", "pty.spawn", "ctypes.CDLL",
}  # fmt: skip
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "runpy",
    "yaml",
    "h5py",
    "keras",
    "xmlrpc",
}


def misdeeds(name: str, tree: ast.AST) -> Iterator[str]:
    """Yield what a source file does that could run what was read."""
    allowed = AUDITED.get(name, set())
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in names:
                if module.split(".")[0] in MODULES or (module == "ctypes" and "ctypes" not in allowed):
                    yield f"{where}: imports {module}"
            if isinstance(node, ast.ImportFrom) and node.module in (
                "torch",
                "numpy",
                "os",
                "builtins",
                "importlib",
                "subprocess",
            ):
                for alias in node.names:
                    if alias.name in (
                        "load",
                        "system",
                        "popen",
                        "eval",
                        "exec",
                        "import_module",
                        "run",
                        "Popen",
                        "__import__",
                    ):
                        yield f"{where}: imports {alias.name} from {node.module}, where a call of it is not seen"
        if isinstance(node, ast.Call) and "(" not in (function := ast.unparse(node.func)):
            yield from (f"{where}: {wrong}" for wrong in wrong_calls(function, node, allowed))


def wrong_calls(function: str, node: ast.Call, allowed: set[str]) -> Iterator[str]:
    words = {keyword.arg: keyword.value for keyword in node.keywords}

    def is_constant(name: str, value: object) -> bool:
        found = words.get(name)
        return isinstance(found, ast.Constant) and found.value is value

    runs = function in CALLS or function.endswith((".exec_module", ".load_library"))
    if runs and not any(item in function for item in allowed):
        yield f"calls {function}"
    if function.startswith("subprocess.") and function not in allowed:
        yield "starts a program"
    if "shell" in words and not is_constant("shell", False):
        yield "by a shell"
    if "allow_pickle" in words and not is_constant("allow_pickle", False):
        yield "allows pickle"
    if function == "torch.load" and not is_constant("weights_only", True):
        yield "reads more than weights"
    if function.endswith("Image.open") and "formats" not in words:
        yield "opens pictures of any format"
    if function.endswith(("extractall", "unpack_archive")):
        yield "unpacks to disk"


@pytest.mark.parametrize("name", FILES)
def test_no_source_file_runs_what_it_reads(name: str) -> None:
    assert not list(misdeeds(name, ast.parse(FILES[name].read_text())))


@pytest.mark.parametrize("line", [
    "import pickle", "from pickle import loads", "import yaml", "import h5py", "import ctypes", "eval(text)", "exec(text)", "__import__(name)",
    "torch.load(path, weights_only=True)", "from torch import load", "np.load(path)", "read_array(file, allow_pickle=True)",
    "read_array(file, allow_pickle=flag)", "importlib.import_module(values['module'])", "from importlib import import_module",
    "subprocess.run(words)", "f(text, shell=True)", "os.system(text)", "Image.open(path)", "tar.extractall(folder)",
    "spec.loader.exec_module(module)", "torch.hub.load(repo, name)", "shutil.unpack_archive(path)",
])  # fmt: skip
def test_each_of_them_would_be_seen(line: str) -> None:
    assert list(misdeeds("data/new.py", ast.parse(line)))


def test_what_is_audited_is_still_there() -> None:
    """An exception nobody needs any more is one too many."""
    for name, calls in AUDITED.items():
        text = FILES[name].read_text()
        assert all(call.removeprefix("loader.") in text for call in calls), name


# ------------------------------------------------------------------------------------------------ by trying

TRYING = """
import json, sys
from seodang.core.recipe import Choice, Recipe
from seodang.core.errors import SeodangError
from seodang.training.resolve import registry_of
for section in ("model", "data", "task", "optimizer"):
    registry_of(section).names()
seen = []
def hook(event, arguments):
    if watching and event.startswith(("import", "exec", "compile", "socket.", "subprocess.", "os.system")):
        seen.append((event, str(arguments)[:100]))
watching = False
sys.addaudithook(hook)
names = json.load(sys.stdin)
watching = True
refused = 0
for name in names:
    for section in ("model", "data", "task", "optimizer"):
        for choice in ({"name": name}, {"name": name, "_target_": name, "module": name}, {"name": "mlp", name: name}):
            try:
                registry_of(section).settings(Choice.of(choice))
            except SeodangError:
                refused += 1
watching = False
print(len(names), refused, seen)
"""


def test_ten_thousand_look_ups_of_names_of_code_import_nothing() -> None:
    draw = random.Random(0)
    words = ["os", "system", "subprocess", "run", "torch", "hub", "load", "builtins", "eval", "__import__", "seodang", "models", "mlp", "..",
             "/tmp/x.py", "http://x", "keras", "layers", "Lambda", "_target_", "trust_remote_code", "auto_map", "a b", ":", "mlp:MLP"]  # fmt: skip
    names = [draw.choice((".", "/", ":", "")).join(draw.choices(words, k=draw.randrange(1, 5))) for _ in range(900)]
    names = [name for name in names if name not in ("mlp",)]
    done = subprocess.run(
        [sys.executable, "-c", TRYING], input=json.dumps(names), capture_output=True, text=True, check=True
    )
    count, refused, seen = done.stdout.split(" ", 2)
    assert int(refused) == int(count) * 12 > 10_000
    assert seen.strip() == "[]"


# ---------------------------------------------------------------------------------------------- the sandbox


def bomb() -> bytes:
    """Return a .pt file whose tensors were deflated: a thousandth of their size."""
    sink, packed = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(25_000_000)}, sink)
    with zipfile.ZipFile(sink) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for item in whole.infolist():
            small.writestr(item.filename, whole.read(item), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def endless() -> bytes:
    """Return a pickle of a few hundred bytes whose one key takes 2**60 steps to hash."""
    code = b"\x80\x02}" + b")"
    for _ in range(60):
        code += b"q\x01h\x01\x86"  # remember it, get it again, make a pair
    return code + b"K\x01s."


class Gadget:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def test_a_thousandfold_bomb_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(bomb())
    assert (tmp_path / "x.pt").stat().st_size < 200_000
    with pytest.raises(WeightsError, match=r"it unpacks from .* bytes to 100,"):
        sandbox.convert(tmp_path / "x.pt")


def test_an_endless_pickle_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.pt").write_bytes(endless())
    monkeypatch.setattr(sandbox, "SECONDS", 4)
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"took longer|more memory or time"):
        sandbox.convert(tmp_path / "x.pt")
    assert time.monotonic() - began < 60


def test_a_gadget_reaches_nobody(tmp_path: Path) -> None:
    """A socket listens; a pickle asks to connect to it, and to touch a file. Neither happens; the message says what it asked."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        for number, gadget in enumerate((Gadget(socket.create_connection, listener.getsockname()), Gadget(os.system, f"touch {tmp_path}/ran"),
                                         Gadget(exec, f"open({str(tmp_path / 'ran')!r}, 'w')"))):  # fmt: skip
            path = tmp_path / f"{number}.pt"
            path.write_bytes(pickle.dumps({"a": gadget}, protocol=2))
            with pytest.raises(WeightsError, match="asks to run"):
                sandbox.convert(path)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert not (tmp_path / "ran").exists()
