"""Every kind of damage to a file of a checkpoint or bundle."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Callable

from seodang.core import files
from tests.reliability.patients import PAGE, Damage, Patient

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
