"""Damage real checkpoints and bundles in every way a disk or a person can, and read them again.

    python -m tests.reliability.damage --files 200000

Every damaged folder is read by the real reader. It must refuse with an error that names the file (and for changed
bytes a range that holds one of them), or give what was saved to the bit. Where a run has an older checkpoint, the
real start of a resume must set the damaged one aside and give that one, to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import torch

import seodang as sd
from seodang.api import newest_good
from seodang.core import files
from seodang.core.errors import RunError, WeightsError
from seodang.core.run import RunFolder
from seodang.models.bundle import Bundle
from seodang.training.checkpoint import Checkpoint
from tests.reliability.families import families

FAMILIES = ("supervised", "language", "vae", "gan", "agent")
SHORT = {"train.steps": 8, "train.save_every": 4, "train.evaluate_every": 4}
PAGE = 4096
SHARED_MEMORY = Path("/dev/shm")


class Damage(NamedTuple):
    """What was done: the files whose content is new, and what a message has to name."""

    kind: str
    names: tuple[str, ...]
    place: tuple[int, int] | None = None
    """First and last changed byte, where only bytes of one file changed."""


class Patient:
    """A folder of a run or a bundle, what it holds when whole, and how it is read."""

    def __init__(self, path: Path, older: Path | None = None) -> None:
        self.path, self.older = path, older
        self.whole = {item.name: item.read_bytes() for item in sorted(path.iterdir())}
        self.names = list(self.whole)
        self.is_checkpoint = "state.json" in self.whole
        self.tensors = self.read()

    def read(self) -> dict[str, Any]:
        return contents(Checkpoint.read(self.path)) if self.is_checkpoint else of_bundle(Bundle.read(self.path))

    def lay(self) -> None:
        """Make the folder whole again."""
        for item in self.path.iterdir():
            data = self.whole.get(item.name)
            if item.is_symlink() or data is None or not item.is_file():
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        for name, data in self.whole.items():
            path = self.path / name
            if not path.exists() or path.stat().st_size != len(data) or path.read_bytes() != data:
                path.write_bytes(data)


def contents(checkpoint: Any) -> dict[str, Any]:
    return {
        "weights": checkpoint.weights, "optimizer": checkpoint.optimizer, "random": checkpoint.random,
        "state": checkpoint.state, "step": checkpoint.manifest["step"],
    }  # fmt: skip


def of_bundle(bundle: Bundle) -> dict[str, Any]:
    return {"weights": dict(bundle.model.state_dict()), "record": bundle.record.values()}


def same(one: Any, two: Any) -> bool:
    """Return whether two trees are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return (isinstance(two, torch.Tensor) and one.dtype == two.dtype and one.shape == two.shape
                and one.contiguous().view(-1).view(torch.uint8).equal(two.contiguous().view(-1).view(torch.uint8)))  # fmt: skip
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


# --------------------------------------------------------------------------------------------- patients


def make_patients(folder: Path, names: tuple[str, ...] = FAMILIES) -> list[Patient]:
    """Train one small run of each family, and return its newest checkpoint, with an older one, and its bundle."""
    patients = []
    for name in names:
        recipe = families(folder)[name]
        changes = SHORT if name != "agent" else {"train.steps": 32, "train.save_every": 16}
        run = sd.train(recipe, run=folder / name, overrides=[f"{key}={value}" for key, value in changes.items()])
        sd.export(run, path=folder / f"{name}-bundle")
        patients += [Patient(run.checkpoints[-1], run.checkpoints[-2]), Patient(folder / f"{name}-bundle")]
    return patients


# --------------------------------------------------------------------------------------------- damages

Draw = random.Random


def changed(patient: Patient, kind: str, name: str, data: bytes) -> Damage | None:
    """Put `data` in the place of a file; None if nothing is changed by it."""
    before = patient.whole[name]
    if data == before:
        return None
    (patient.path / name).write_bytes(data)
    if len(data) != len(before):
        return Damage(kind, (name,))
    places = [at for at in range(0, len(data), 64) if data[at : at + 64] != before[at : at + 64]]
    return Damage(kind, (name,), (places[0], min(places[-1] + 63, len(data) - 1)))


def flip(patient: Patient, draw: Draw) -> Damage | None:
    name = draw.choice(patient.names)
    data = bytearray(patient.whole[name])
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return changed(patient, "bits flipped", name, bytes(data))


def truncate(patient: Patient, draw: Draw) -> Damage | None:
    name = draw.choice(patient.names)
    return changed(patient, "cut off", name, patient.whole[name][: draw.randrange(1, len(patient.whole[name]))])


def lengthen(patient: Patient, draw: Draw) -> Damage | None:
    name = draw.choice(patient.names)
    tail = draw.choice((b"\n", b" ", b"\0", draw.randbytes(draw.randrange(1, 65))))
    return changed(patient, "bytes appended", name, patient.whole[name] + tail)


def zero_page(patient: Patient, draw: Draw) -> Damage | None:
    name = draw.choice(patient.names)
    data = patient.whole[name]
    start = draw.randrange(0, len(data), PAGE)
    return changed(
        patient, "page of zeros", name, data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]
    )


def scribble(patient: Patient, draw: Draw) -> Damage | None:
    name = draw.choice(patient.names)
    data = patient.whole[name]
    start = draw.randrange(len(data))
    length = min(draw.randrange(1, 513), len(data) - start)
    return changed(patient, "bytes overwritten", name, data[:start] + draw.randbytes(length) + data[start + length :])


def shift(patient: Patient, draw: Draw) -> Damage | None:
    """Take some bytes out and put as many in elsewhere: the length stays."""
    name = draw.choice(patient.names)
    data = patient.whole[name]
    start, length = draw.randrange(len(data)), draw.randrange(1, 65)
    kept = data[:start] + data[start + length :]
    return changed(patient, "bytes shifted", name, kept + bytes(len(data) - len(kept)))


def swap(patient: Patient, draw: Draw) -> Damage | None:
    one, two = draw.sample(patient.names, 2)
    if patient.whole[one] == patient.whole[two]:
        return None
    (patient.path / one).write_bytes(patient.whole[two])
    (patient.path / two).write_bytes(patient.whole[one])
    return Damage("two files swapped", (one, two))


def from_older(patient: Patient, draw: Draw) -> Damage | None:
    """One file of the step before: old weights under this manifest, or the old manifest over these weights."""
    if patient.older is None:
        return None
    name = draw.choice(patient.names)
    damage = changed(patient, "old manifest" if name == files.MANIFEST else "old file", name,
                     (patient.older / name).read_bytes())  # fmt: skip
    if damage and name == files.MANIFEST:  # whole in itself: what differs is the step, or the first file it is about
        return Damage(damage.kind, (patient.path.name, *patient.names))
    return damage


def missing(patient: Patient, draw: Draw) -> Damage:
    name = draw.choice(patient.names)
    (patient.path / name).unlink()
    return Damage("file missing", (name,))


def empty(patient: Patient, draw: Draw) -> Damage | None:
    return changed(patient, "file empty", draw.choice(patient.names), b"")


def extra(patient: Patient, draw: Draw) -> Damage:
    name = draw.choice(("model (copy).safetensors", "pytorch_model.bin", "state.json~", ".hidden", "model.pt"))
    (patient.path / name).write_bytes(draw.randbytes(draw.randrange(100)))
    return Damage("file too many", ())


def as_folder(patient: Patient, draw: Draw) -> Damage:
    name = draw.choice(patient.names)
    (patient.path / name).unlink()
    (patient.path / name).mkdir()
    return Damage("folder for a file", (name,))


def as_link(patient: Patient, draw: Draw) -> Damage:
    name = draw.choice(patient.names)
    targets = ["nowhere", name, "/dev/zero", "/dev/urandom", "..", *(other for other in patient.names if other != name)]
    if patient.older is not None and (patient.older / name).read_bytes() != patient.whole[name]:
        targets.append(str(patient.older / name))
    (patient.path / name).unlink()
    (patient.path / name).symlink_to(draw.choice(targets))
    return Damage("link for a file", (patient.path.name, *patient.names) if name == files.MANIFEST else (name,))


def as_pipe(patient: Patient, draw: Draw) -> Damage:
    name = draw.choice(patient.names)
    (patient.path / name).unlink()
    os.mkfifo(patient.path / name)
    return Damage("pipe for a file", (name,))


def edited(patient: Patient, draw: Draw) -> Damage | None:
    """Change one number, digest or name in the manifest, and half the time seal it again as if it had been written so."""
    text = patient.whole[files.MANIFEST]
    manifest = json.loads(text)
    name = draw.choice(list(manifest["files"]))
    entry = manifest["files"][name]
    match draw.randrange(5):
        case 0:
            entry["bytes"] += draw.choice((-1, 1, 4096))
        case 1:
            entry["sha256"][0] = hashlib.sha256(draw.randbytes(4)).hexdigest()
        case 2:
            entry["sha256"] += entry["sha256"]
        case 3:
            entry["sha256"] = []
        case 4:
            manifest["files"]["../" + name] = manifest["files"].pop(name)
    seal = manifest.pop("sha256")
    head = json.dumps(manifest, indent=1).removesuffix("\n}").encode()
    new = files._sealed(head) if draw.random() < 0.5 else head + files._SEAL % seal.encode()
    (patient.path / files.MANIFEST).write_bytes(new)
    return Damage("manifest edited", (files.MANIFEST, name))


def reshaped(patient: Patient, draw: Draw) -> Damage | None:
    """Turn a shape round in the header of a safetensors file: valid JSON, valid offsets, other weights."""
    name = draw.choice([name for name in patient.names if name.endswith(".safetensors")])
    data = patient.whole[name]
    places = [match for match in re.finditer(rb'"shape":\[(\d+),(\d+)\]', data) if match[1] != match[2]]
    if not places:
        return None
    match = draw.choice(places)
    turned = b'"shape":[' + match[2] + b"," + match[1] + b"]"
    return changed(patient, "shape turned round", name, data[: match.start()] + turned + data[match.end() :])


def renamed(patient: Patient, draw: Draw) -> Damage | None:
    """A checkpoint under the name of another step is made in `judge`: the folder itself is whole."""
    return Damage("folder renamed", ("step-",)) if patient.is_checkpoint and draw.random() < 0.3 else None


DAMAGES: tuple[Callable[[Patient, Draw], Damage | None], ...] = (
    flip, flip, flip, flip, flip, flip, truncate, truncate, truncate, lengthen, zero_page, zero_page, scribble, shift, swap,
    from_older, missing, empty, extra, as_folder, as_link, as_pipe, edited, reshaped, renamed,
)  # fmt: skip


# --------------------------------------------------------------------------------------------- judging


class Judge:
    """Reads what was damaged and counts; a wrong verdict raises AssertionError."""

    def __init__(self, patients: list[Patient]) -> None:
        self.patients = patients
        self.counts: Counter[str] = Counter()
        self.fallen_back = self.harmless = 0

    def one(self, seed: int) -> None:
        """Damage one folder, read it, make it whole again."""
        draw = random.Random(seed)
        patient = draw.choice(self.patients)
        damage = None
        while damage is None:
            damage = draw.choice(DAMAGES)(patient, draw)
        try:
            if damage.kind == "folder renamed":
                self.under_another_name(patient, draw)
            elif patient.older is not None and draw.random() < 0.35:
                self.resumes(patient, damage)
            else:
                self.reads(patient, damage)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {damage} of {patient.path}: {error!r}") from error
        finally:
            patient.lay()
        self.counts[damage.kind] += 1

    def reads(self, patient: Patient, damage: Damage) -> None:
        try:
            found = patient.read()
        except (WeightsError, RunError) as error:
            assert damage.names, f"nothing is wrong, but: {error}"
            self.names(error, damage)
            return
        assert same(found, patient.tensors), "was read as if it were whole, and is not what was saved"
        assert not damage.names, "was not noticed"
        self.harmless += 1

    def names(self, error: Exception, damage: Damage) -> None:
        text = str(error)
        assert any(name in text for name in damage.names), f"the message names none of {damage.names}: {text}"
        if damage.place and (match := re.search(r"Bytes (\d+) to (\d+)", text)):
            first, last = int(match[1]), int(match[2])
            assert first <= damage.place[1], text
            assert damage.place[0] <= last, text

    def resumes(self, patient: Patient, damage: Damage) -> None:
        """Let the start of a resume choose: the damaged checkpoint is set aside, the older one is given to the bit."""
        run, said = RunFolder(patient.path.parents[1]), io.StringIO()
        with redirect_stderr(said):
            found = newest_good(run)
        if not damage.names:
            assert found.path == patient.path
            assert same(contents(found), patient.tensors)
            self.harmless += 1
            return
        aside = patient.path.with_name(f"damaged-{patient.path.name}")
        try:
            assert found.path == patient.older, "the older checkpoint was not taken"
            assert same(contents(found), self.older(patient)), "the older checkpoint is not what was saved"
            assert aside.is_dir()
            assert not patient.path.exists()
            assert aside.name in said.getvalue(), said.getvalue()
            self.names(WeightsError(said.getvalue().replace("{", "{{").replace("}", "}}")), damage)
            self.fallen_back += 1
        finally:
            if aside.exists():
                aside.rename(patient.path)

    _older: dict[Path, Any] = {}

    def older(self, patient: Patient) -> Any:
        assert patient.older is not None
        if patient.older not in self._older:
            self._older[patient.older] = contents(Checkpoint.read(patient.older))
        return self._older[patient.older]

    def under_another_name(self, patient: Patient, draw: Draw) -> None:
        other = patient.path.with_name(f"step-{draw.randrange(10**6, 10**9):09d}")
        patient.path.rename(other)
        try:
            Checkpoint.read(other)
        except WeightsError as error:
            assert other.name in str(error)
        else:
            raise AssertionError("a checkpoint of another step was read under this name")
        finally:
            other.rename(patient.path)


# --------------------------------------------------------------------------------------------- command line


def temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="seodang-damage-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))


def work(part: tuple[int, int]) -> tuple[Counter[str], int, int]:
    """Judge the seeds first … last - 1 on runs of one's own."""
    torch.set_num_threads(1)
    folder = temporary_folder()
    try:
        judge = Judge(make_patients(folder))
        began = time.monotonic()
        for done, seed in enumerate(range(*part), 1):
            judge.one(seed)
            if done % 5000 == 0:
                print(
                    f"{done:,} of {part[1] - part[0]:,}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
                )
        return judge.counts, judge.fallen_back, judge.harmless
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000, help="damaged folders")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, share = time.monotonic(), -(-options.files // options.processes)
    parts = [
        (options.seed + first, options.seed + min(first + share, options.files))
        for first in range(0, options.files, share)
    ]
    with multiprocessing.get_context("spawn").Pool(len(parts)) as pool:
        found = pool.map(work, parts)
    counts = sum((counts for counts, _, _ in found), Counter[str]())
    fallen_back, harmless = sum(item[1] for item in found), sum(item[2] for item in found)
    for kind, count in counts.most_common():
        print(f"{count:>9,}  {kind}")
    print(f"{counts.total():,} damaged, {counts.total() - harmless:,} refused, {harmless:,} harmless and bit-equal, "
          f"{fallen_back:,} times the checkpoint before was taken, 0 read wrong; {time.monotonic() - began:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
