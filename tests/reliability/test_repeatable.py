"""T9, T11: same build, device type and thread count give the same bytes, whatever else differs; and the curves of yesterday."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.repeatable import CURVES, GOLDEN, PLAIN, VARIANTS

ROOT = Path(__file__).parents[2]


def start(*words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "tests.reliability.repeatable", *words], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **variables})  # fmt: skip


def answer(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_every_recipe_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Two processes with other hash seeds, other folders, and the recipes in the opposite order."""
    other = tmp_path / "other"
    other.mkdir()
    first = start("bytes", PYTHONHASHSEED="1", TMPDIR=str(tmp_path))
    second = start("bytes", "--backwards", PYTHONHASHSEED="2", TMPDIR=str(other))
    one, two = answer(first), answer(second)
    assert set(one) == set(VARIANTS)
    assert {what: (one[what], two[what]) for what in one if one[what] != two[what]} == {}
    same = {one[what] for what in ("digits-cnn", "digits-cnn, bfloat16")}
    assert len(same) == 2, "the digest does not see the arithmetic"


@pytest.mark.slow
def test_the_curves_are_those_of_yesterday(tmp_path: Path) -> None:
    """A changed file needs a reason in its commit."""
    golden = json.loads((GOLDEN / "curves.json").read_text())
    found = answer(start("curves", TMPDIR=str(tmp_path), **PLAIN))
    if found["build"] != golden["build"]:
        pytest.skip(f"golden curves were made with {golden['build']}; this is {found['build']}")
    assert set(found["curves"]) == set(CURVES)
    for name, losses in found["curves"].items():
        assert len(losses) == 100
        differ = [
            step + 1 for step, (new, old) in enumerate(zip(losses, golden["curves"][name], strict=True)) if new != old
        ]
        assert not differ, f"{name}: the loss differs from update {differ[0]} on"
