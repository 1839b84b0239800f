"""Kill and resume: 300 kills and nothing differs; and whatever is broken on purpose is noticed."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.breakage import PARTS
from tests.reliability.torture import read_accounts

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="process groups and orphans are Linux's"),
]


def torture(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.reliability.torture", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_300_kills_change_nothing(tmp_path: Path) -> None:
    """What fails says how to see it again."""
    before = processor_seconds()
    done = torture("--kills", 300, "--jobs", 2, "--folder", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    account = read_accounts(tmp_path)
    assert account["problems"] == []
    assert account["kills"] >= 300
    assert account["most_lost"] <= 4
    assert account["slowest"] < 10
    assert "phases never hit: none" in done.stdout
    assert len(account["families"]) == 10
    assert {name.partition("-")[0] for name in account["signals"]} == {"TERM", "INT", "INT+INT"}
    assert processor_seconds() - before < 180, "more than 90 s on two cores"


def test_whatever_is_broken_is_noticed(tmp_path: Path) -> None:
    done = torture("--kills", 60, "--break", *PARTS, "--folder", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("broken ") == len(PARTS)


def test_what_has_failed_can_be_seen_again(tmp_path: Path) -> None:
    """A replay dies at the same marks."""
    deaths = ["KILL:write@20", "KILL-group:backward@3", "TERM:step@4"]
    done = torture(
        "--replay", ",".join(["supervised+beside", *deaths]), "--families", "supervised", "--folder", tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = read_accounts(tmp_path)
    assert account["kills"] == 2
    assert account["phases"] == {"write": 1, "backward": 1}
    assert account["signals"] == {"TERM": 1}
