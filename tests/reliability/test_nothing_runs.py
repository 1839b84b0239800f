"""T40, T39, I1-I11: nothing that is read can run, by the source and by trying; bombs and archives stay where they are."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import pickle
import random
import resource
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save as save_tensors

from seodang.core import files
from seodang.core.errors import DataError, SeodangError, WeightsError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.data import cifar, download
from seodang.data.array_reading import read_arrays
from seodang.data.mnist import read_npz
from seodang.data.picture_loading import load_one
from seodang.data.raw_table import TableFormat
from seodang.data.table_reading import read_table
from seodang.deploy import sandbox
from seodang.models.base import architectures
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle, read_tensors
from tests.reliability.mutation import stored_zip

SOURCE = Path(__file__).parents[2] / "src" / "seodang"
FILES = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}

# ------------------------------------------------------------------------------------------- by the source

AUDITED = {
    "deploy/sandbox.py": {"torch.load", "subprocess.run", "ctypes"},
    "training/launch.py": {"subprocess.Popen"},
    "cli/measuring.py": {"subprocess.run"},
    "core/registry.py": {"importlib.import_module", "importlib.util.module_from_spec", "loader.exec_module"},
    "comparison/running.py": {"subprocess.Popen"},
    "training/allocator.py": {"ctypes"},
    "core/stopping.py": {"ctypes"},
    "__init__.py": {"importlib.import_module"},
}
"""File → what it alone may do: open a pickle in the child, start ranks, runs and git, call the C library, import
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


def record_of(**model: Any) -> dict[str, Any]:
    inputs = ImageInputs(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))
    facts = Facts(inputs=inputs, classes=("a", "b"), sizes={})
    return {
        "format": 1,
        "model": {"name": "mlp", "hidden_sizes": [3], **model},
        "task": {"name": "classification"},
        "facts": facts.values(),
    }


def bundle_at(folder: Path, record: dict[str, Any], weights: bytes | None = None) -> Path:
    facts = Facts.of(record_of()["facts"])
    model = architectures.make(Choice.of({"name": "mlp", "hidden_sizes": (3,)}), facts.known())
    files.write_folder(
        folder, {WEIGHTS: weights or save_tensors(dict(model.state_dict())), SETTINGS: json.dumps(record).encode()}
    )
    return folder


GREEDY = {
    "a layer of 4 TB": record_of(hidden_sizes=[2**40]),
    "ten million layers": record_of(hidden_sizes=[1] * 100_000),
    "a billion blocks": {**record_of(), "model": {"name": "gpt", "num_layers": 10**9, "embed_dim": 4, "num_heads": 1, "vocab_size": 5, "max_len": 4}},
    "a vocabulary of 2**50": {**record_of(), "model": {"name": "gpt", "num_layers": 1, "embed_dim": 4, "num_heads": 1, "vocab_size": 2**50, "max_len": 4}},
    "a picture of 2**62": {**record_of(), "facts": {**record_of()["facts"], "inputs": {**record_of()["facts"]["inputs"], "height": 2**31, "width": 2**31}}},
    "a number too large": record_of(hidden_sizes=[2**70]),
}  # fmt: skip


def test_a_bundle_whose_record_is_true_is_read(tmp_path: Path) -> None:
    assert Bundle.read(bundle_at(tmp_path / "b", record_of())).record.task.name == "classification"


@pytest.mark.parametrize("name", GREEDY)
def test_a_record_asks_for_no_more_than_its_file_holds(tmp_path: Path, name: str) -> None:
    folder = bundle_at(tmp_path / "b", GREEDY[name])
    began, before = time.process_time(), peak()
    with pytest.raises(SeodangError):
        Bundle.read(folder)
    assert time.process_time() - began < 2
    assert peak() - before < 256 << 20


def test_weights_of_another_kind_of_number_are_refused(tmp_path: Path) -> None:
    model = architectures.make(Choice.of({"name": "mlp", "hidden_sizes": (3,)}), Facts.of(record_of()["facts"]).known())
    weights = {name: value.to(torch.complex64) for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"holds torch.complex64, the model needs torch.float32"):
        Bundle.read(bundle_at(tmp_path / "b", record_of(), save_tensors(weights)))


def safetensors_with(header: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + content


HEADERS = {
    "larger than the file": (safetensors_with(b"{}", length=2**62), "header alone should have 4,611,686,018,427,387,904"),
    "9 MB": (safetensors_with(b"{" + b" " * 9_000_000 + b"}"), "are not read"),
    "100,001 tensors": (safetensors_with(json.dumps({str(n): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(100_001)},
                                                    separators=(",", ":")).encode()), "more than 100,000 tensors"),
    "bytes that are not there": (safetensors_with(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'), "is not a safetensors"),
    "a type PyTorch does not read": (safetensors_with(b'{"a":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}'), "numbers of the type F4"),
    "nothing": (b"", "is not a whole safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(name: str) -> None:
    data, message = HEADERS[name]
    began = time.process_time()
    with pytest.raises(WeightsError, match=message):
        read_tensors(data, Path("model.safetensors"))
    assert time.process_time() - began < 2


# -------------------------------------------------------------------------------- pictures, tables, archives


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def png(width: int, height: int) -> bytes:
    """Return a PNG of one grey, as small as it can be."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    rows = zlib.compress(bytes((width // 8 + 2) * height), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("content", "message"), [
    (png(13_000, 13_000), "more than 50,000,000"), (png(7_072, 7_072), "more than 50,000,000"), (png(60_000, 60_000)[:2000], "more than"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture in a known format"), (b"%PDF-1.4", "is no picture"),
    (b"8BPS\0\1" + bytes(40), "is no picture"), (b"SIMPLE  =                    T" + bytes(2000), "is no picture"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
])  # fmt: skip
def test_bombs_and_formats_nobody_asked_for(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    before = peak()
    with pytest.raises(DataError, match=message):
        load_one(tmp_path / "x.png", ImageInputs(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,)))
    assert peak() - before < 64 << 20


def test_a_picture_at_the_limit_is_read_and_a_cut_one_is_not(tmp_path: Path) -> None:
    inputs = ImageInputs(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    (tmp_path / "x.png").write_bytes(png(7_000, 7_000))
    before = peak()
    assert load_one(tmp_path / "x.png", inputs).shape == (8, 8, 3)
    assert peak() - before < 512 << 20
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        sink = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(sink, kind)
        whole = sink.getvalue()
        (tmp_path / "y").write_bytes(whole)
        assert load_one(tmp_path / "y", inputs).shape == (8, 8, 3)
        for share in (0.3, 0.6, 0.9):
            (tmp_path / "y").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(DataError):
                load_one(tmp_path / "y", inputs)


def test_a_colour_space_that_takes_seconds_is_refused(tmp_path: Path) -> None:
    Image.new("LAB", (9, 9)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="save it as RGB"):
        load_one(tmp_path / "x.tif", ImageInputs(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3))


def tar_of(members: list[tuple[str, bytes, bytes, str]], mode: str = "gz") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=f"w:{mode}", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, kind, content, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname, info.mode = kind, len(content), link, 0o6777
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def zip_of(members: list[tuple[str, bytes, int]]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return sink.getvalue()


NAMES = ("../x", "../../../../tmp/evil", "/tmp/evil", "/etc/cron.d/evil", "a/../../x", "./../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b", "x/.",
         "x" * 300, "CON", "x ", ".ssh/authorized_keys", "x.npy/../../y", "~/x", "$HOME/x", "%2e%2e/x", "\u202egnp.exe")  # fmt: skip
BATCH = cifar.TEST[0]


def evil_archives() -> dict[str, tuple[str, bytes]]:
    """Return name → what reads it and the bytes: names that lead out, links, devices, bombs, lies."""
    found: dict[str, tuple[str, bytes]] = {}
    array = (
        b"\x93NUMPY\1\0"
        + struct.pack("<H", 60)
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }".ljust(59)
        + b"\n"
        + b"1234"
    )
    for name in NAMES:
        safe = name.replace("\0", "_")
        found[f"tar {name[:30]!r}"] = (
            "tar",
            tar_of([(safe, tarfile.REGTYPE, b"evil", ""), (BATCH, tarfile.REGTYPE, b"short", "")]),
        )
        found[f"zip {name[:30]!r}"] = ("npz", zip_of([(name, array, 0o100644), ("x.npy", array, 0o100644)]))
    links = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE,
             "disk": tarfile.BLKTYPE, "folder": tarfile.DIRTYPE, "sparse": tarfile.GNUTYPE_SPARSE, "unknown": b"Z"}  # fmt: skip
    for name, kind in links.items():
        found[f"tar {name}"] = ("tar", tar_of([(BATCH, kind, b"", "/etc/passwd")]))
        found[f"tar {name}, then through it"] = (
            "tar",
            tar_of([("cifar-10-batches-bin", kind, b"", "/tmp"), (BATCH, tarfile.REGTYPE, b"evil", "")]),
        )
    found["zip symbolic link"] = ("npz", zip_of([("x.npy", b"/etc/passwd", stat.S_IFLNK | 0o777)]))
    found["zip twice one name"] = ("npz", stored_zip([(b"x.npy", array), (b"y.npy", array), (b"x.npy", array)]))
    found["zip 2,000 parts"] = ("npz", zip_of([(f"x{n}.npy", array, 0) for n in range(2_000)]))
    found["zip bomb"] = ("npz", zip_of([("x.npy", bytes(300 << 20), 0)]))
    found["zip in zip"] = ("npz", zip_of([("x.npy", zip_of([("x.npy", array, 0)]), 0)]))
    found["gzip bomb in tar"] = ("tar", gzip.compress(bytes(100 << 20), 9))
    found["tar a batch of 8 exabytes"] = ("tar", huge_tar())
    found["gzip bomb as a table"] = ("table", gzip.compress(bytes(200 << 20), 9))
    found["gzip bomb as a data file"] = ("official", gzip.compress(bytes(200 << 20), 9))
    found["tar cut off"] = ("tar", tar_of([(BATCH, tarfile.REGTYPE, b"x" * 5000, "")])[:-30])
    found["zip cut off"] = ("npz", zip_of([("x.npy", array, 0)])[:-9])
    found["zip whose directory lies"] = (
        "npz",
        zip_of([("x.npy", array, 0)]).replace(struct.pack("<I", len(array)), b"\xff\xff\xff\x7f"),
    )
    return found


def huge_tar() -> bytes:
    info = tarfile.TarInfo(BATCH)
    info.size = 2**62
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def read_official(path: Path) -> None:
    download.read_verified(path, download.Official(path.name, "", 10, "0" * 64, 1000, "1" * 64))


READING: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tar": ("a.tar.gz", lambda path: cifar.read_members(path.name, path.read_bytes(), cifar.TEST)),
    "npz": ("a.npz", lambda path: (read_arrays(path), read_npz(path.name, path.read_bytes(), ("x",)))),
    "table": ("a.csv.gz", lambda path: read_table(path, TableFormat())),
    "official": ("a.gz", read_official),
}


def test_no_archive_writes_a_byte_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = evil_archives()
    assert len(archives) >= 60
    home = tmp_path / "a" / "b" / "c"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    for name, (kind, data) in archives.items():
        path = home / READING[kind][0]
        path.write_bytes(data)
        before, began = tree(tmp_path), time.process_time()
        held = peak()
        with pytest.raises(DataError):
            READING[kind][1](path)
        assert time.process_time() - began < 2, name
        assert peak() - held < 300 << 20, name
        assert tree(tmp_path) == before, name
        path.unlink()
    assert not Path("/tmp/evil").exists()
    assert not Path("/etc/cron.d/evil").exists()


def tree(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    )


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
