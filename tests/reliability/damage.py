"""Damage real checkpoints and bundles in every way a disk or a person can, and read them again.

    python -m tests.reliability.damage --files 200000

Every damaged folder is read by the real reader. It must refuse with an error that names the file (and for changed
bytes a range that holds one of them), or give what was saved to the bit. Where a run has an older checkpoint, the
real start of a resume must set the damaged one aside and give that one, to the bit.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch

from seodang.api import newest_good
from seodang.core.errors import RunError, WeightsError
from seodang.core.run import RunFolder
from seodang.training.checkpoint import Checkpoint
from tests.reliability.damages import DAMAGES, Draw
from tests.reliability.patients import SHARED_MEMORY, Damage, Patient, contents, make_patients, same

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
