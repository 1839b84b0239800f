"""T5: 20,000 damaged checkpoints and bundles are all noticed, and the checkpoint before is taken; 200,000: `damage.py`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.core import files
from seodang.core.errors import WeightsError
from seodang.core.run import RunFolder
from tests.harness import assert_same_end, killed_after
from tests.reliability.damage import Judge, temporary_folder
from tests.reliability.damages import DAMAGES
from tests.reliability.families import families
from tests.reliability.patients import Patient, make_patients

FILES = 20_000


@pytest.fixture(scope="module")
def patients() -> Iterator[list[Patient]]:
    folder = temporary_folder()
    yield make_patients(folder)
    shutil.rmtree(folder)


def judge_all(judge: Judge, count: int) -> None:
    for seed in range(count):
        judge.one(seed)


def test_no_damage_goes_unnoticed(patients: list[Patient]) -> None:
    judge = Judge(patients)
    judge_all(judge, FILES)
    assert judge.counts.total() == FILES
    assert len(judge.counts) == len(set(DAMAGES)) + 1, "not every kind of damage was done"
    assert judge.harmless == judge.counts["file too many"]
    assert judge.fallen_back > FILES // 10


@pytest.mark.parametrize("broken", ["digest", "seal", "step"])
def test_a_reader_that_checks_less_is_caught(
    patients: list[Patient], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    class Anything(list):  # type: ignore[type-arg]
        def __ne__(self, other: object) -> bool:
            return False

    if broken == "digest":
        monkeypatch.setattr(files, "_digests", lambda data: Anything())
    elif broken == "seal":
        sealed = files._sealed
        monkeypatch.setattr(files, "_sealed", lambda head: _Alike(sealed(head)))
    else:
        monkeypatch.setattr("seodang.core.run.STEP", files.TEMPORARY)
    with pytest.raises(AssertionError, match="seed"):
        judge_all(Judge(patients), 3_000)
    for patient in patients:
        patient.lay()


class _Alike(bytes):
    """Bytes that pass for any other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def test_a_run_whose_newest_checkpoint_is_damaged_ends_as_if_nothing_had_been(tmp_path: Path, capsys: Any) -> None:
    recipe = families(tmp_path)["language"]
    whole = sd.train(recipe, run=tmp_path / "whole")
    with killed_after(19):
        sd.train(recipe, run=tmp_path / "hurt")
    newest = RunFolder(tmp_path / "hurt").checkpoints[-1]
    data = bytearray((newest / "optimizer.safetensors").read_bytes())
    data[-5] ^= 4
    (newest / "optimizer.safetensors").write_bytes(data)
    assert_same_end(whole, sd.resume(tmp_path / "hurt"))
    assert "optimizer.safetensors: is damaged" in capsys.readouterr().err
    assert newest.with_name(f"damaged-{newest.name}").is_dir()


@pytest.mark.parametrize("name", ["model.safetensors", files.MANIFEST])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_what_never_ends_is_not_read(patients: list[Patient], name: str, target: str) -> None:
    patient = patients[1]
    (patient.path / name).unlink()
    if target == "pipe":
        os.mkfifo(patient.path / name)
    else:
        (patient.path / name).symlink_to(target)
    with pytest.raises(WeightsError, match=name):
        patient.read()
    patient.lay()
