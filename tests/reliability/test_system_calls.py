"""What a real training asks of the operating system when it saves, as strace saw it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys, seodang
seodang.train({"name": "and", "model": {"name": "perceptron"}, "data": {"name": "gates"}, "task": "classification",
               "optimizer": {"name": "sgd", "lr": 0.1}, "train": {"steps": 8, "evaluate_every": 2, "threads": 1}}, run=sys.argv[1])
"""
CALL = re.compile(r"(?:\[pid +\d+\] )?(\w+)\((.*)\) += 0?(\d*)")
PATH = re.compile(r"<([^>]*)>|\"([^\"]*)\"")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_order_of_a_save(tmp_path: Path) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    traced = "trace=write,fsync,rename,unlink,rmdir,mkdir"
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-y", "-e", traced, "-o", log, sys.executable, "-c", TRAIN, run],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    calls = []
    for line in log.read_text().splitlines():
        if (match := CALL.search(line)) and str(run) in line:
            paths = [
                str(Path(a or b).relative_to(run)) for a, b in PATH.findall(match[2]) if (a or b).startswith(str(run))
            ]
            calls.append((match[1], [re.sub(r"\.(\S+)\.\d+-[0-9a-f]{8}\.tmp", r".\1.tmp", path) for path in paths]))
    begin = calls.index(("mkdir", ["checkpoints/.step-000000006.tmp"]))
    folder = "checkpoints/.step-000000006.tmp"
    names = (
        "model.safetensors",
        "model.json",
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
        "manifest.json",
    )
    expected = [
        ("mkdir", [folder]),
        *(("write", [f"{folder}/{name}"]) for name in names),
        *(("fsync", [f"{folder}/{name}"]) for name in names),
        ("fsync", [folder]),
        ("rename", [folder, "checkpoints/step-000000006"]),
        ("fsync", ["checkpoints"]),
        ("write", ["events.jsonl"]),
        ("rename", ["checkpoints/step-000000002", "checkpoints/.step-000000002.tmp"]),
        ("fsync", ["checkpoints"]),
        *(("unlink", [f"checkpoints/.step-000000002.tmp/{name}"]) for name in sorted(names)),
        ("rmdir", ["checkpoints/.step-000000002.tmp"]),
    ]
    found = calls[begin : begin + len(expected)]
    assert found == expected
    assert calls[begin - 2 : begin] == [("fsync", ["events.jsonl"]), ("fsync", ["."])], "the history comes first"
    targets = {paths[1] for call, paths in calls if call == "rename"}
    assert {"recipe.toml", "environment.json", "result.json", "report.html"} <= targets
    for place, (call, paths) in enumerate(calls):
        if call == "rename" and ".tmp" in paths[0]:
            assert calls[place - 1] == ("fsync", [paths[0]]), f"{paths[1]} was renamed before it was durable"
            assert calls[place + 1] == ("fsync", [str(Path(paths[1]).parent)]), (
                f"the name {paths[1]} was not made durable"
            )
