"""The check that runs by itself before the first step on one's own data, and what is said about the data then.

Its findings are kept beside the downloads, so that a second run on the same data does not look through it again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seodang import __version__
from seodang.core.errors import DiskError
from seodang.core.files import digest, file_digest, make_folders, write
from seodang.core.language import language, say
from seodang.core.places import expanded
from seodang.data.dataset import Dataset, MemoryExamples
from seodang.data.download import cache_folder
from seodang.data.finding import Finding, refuse, shown
from seodang.data.inspect import findings_of, reads

LARGE = 20_000_000
"""Bytes from which looking through data takes so long that it is said."""
SPELLED = 3
"""Warnings, and things left out, that are spelled out when training begins."""
LEVELS = ("error", "warning", "note")


def look_over(data: Dataset, tell: Callable[[str], object]) -> list[Finding]:
    """Return everything that is wrong or odd in the user's own data; nothing for data that is not their own.

    `data` has been prepared. `tell` is called with a sentence where it will take a while.
    Raises: DataError for faults that would make training learn something wrong.
    """
    if data.findings is not None or not reads(data.settings):
        return data.findings or []
    path = expanded(data.settings.path).absolute()  # type: ignore[attr-defined]
    kept = cache_folder() / "checks" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.json"
    size, mark = fingerprint_of(path, data)
    findings = _kept(kept, mark)
    if findings is None:
        if size >= LARGE:
            tell(
                say(
                    "Looking through {path} ({size:,} MB) once before training …",
                    path=shown(path),
                    size=size // 1_000_000,
                )
            )
        findings = findings_of(data.settings)
        values = {"fingerprint": mark, "findings": [list(finding) for finding in findings]}
        try:
            make_folders(kept.parent)
            write(kept, json.dumps(values, ensure_ascii=False))
        except DiskError as error:  # the next run looks through the data again, that is all
            tell(say("What was found in the data could not be kept: {error}", error=error))
    refuse(findings, path)
    data.findings = findings
    return findings


def remarks(data: Dataset, findings: list[Finding]) -> list[str]:
    """Return what a person should read when training begins: the split, what is left out, classes, and warnings in short."""
    if not reads(data.settings):
        return []
    left_out = list(data.remarks[1:])
    if len(left_out) > SPELLED:
        left_out[SPELLED:] = [
            say("… and {count} more; the run's environment.json has all.", count=len(left_out) - SPELLED)
        ]
    told = [" ".join(part for part in (*data.remarks[:1], _answers(data)) if part), " ".join(left_out)]
    warnings = [finding for finding in findings if finding.level == "warning"]
    told += [say("Warning: {where}: {message}", where=item.where, message=item.message) for item in warnings[:SPELLED]]
    if warnings:
        path = shown(data.settings.path)  # type: ignore[attr-defined]
        told.append(say("{count} warnings about the data. All of them: seodang check --data {path}",
                        count=len(warnings), path=path))  # fmt: skip
    return [text for text in told if text]


def _answers(data: Dataset) -> str:
    """Return how many training examples each class has, or the mean and spread of a quantity."""
    facts = data.facts
    if len(facts.targets) == 1:
        target = facts.targets[0]
        return say(
            "'{name}' is {mean:.4g} ± {std:.4g} in training.", name=target.name, mean=target.mean, std=target.std
        )
    if not facts.classes or "train" not in facts.sizes:
        return ""
    examples = data.split("train")
    labels = examples.fields[-1] if isinstance(examples, MemoryExamples) else getattr(examples, "labels", None)
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        return ""
    counts = torch.bincount(labels, minlength=len(facts.classes)).tolist()
    if len(counts) > 8:
        return say("{count} classes with {least:,} to {most:,} training examples each.", count=len(counts),
                   least=min(counts), most=max(counts))  # fmt: skip
    names = ", ".join(f"{name} {count:,}" for name, count in zip(facts.classes, counts, strict=True))
    return say("Training examples: {counts}.", counts=names)


# ------------------------------------------------------------------------------------------- keeping


def fingerprint_of(path: Path, data: Dataset) -> tuple[int, str]:
    """Return the bytes of the data, and a digest of everything the findings depend on.

    The contents of pictures are in the digest of the dataset; beside it count every name, size and time of a folder.
    """
    settings = json.dumps(data.settings.values(), sort_keys=True, default=str)
    total = hashlib.sha256(f"{__version__} {_code()} {language()} {type(data).__name__} {settings}".encode())
    total.update(data.facts.digest.encode())
    if path.is_file():
        total.update(file_digest(path).encode())
        return path.stat().st_size, total.hexdigest()
    size = 0
    for folder, folders, files in os.walk(os.fsencode(path), followlinks=False):
        folders.sort()
        for name in sorted(files):
            found = os.lstat(os.path.join(folder, name))
            about = f"\0{found.st_size} {found.st_mtime_ns} {found.st_mode}\0"
            total.update(os.path.join(folder, name) + about.encode())
            size += found.st_size
    return size, total.hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Return a digest of the code that looks through data."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return digest(b"".join(file.read_bytes() for file in files))


def _kept(path: Path, mark: str) -> list[Finding] | None:
    """Return the findings kept from an earlier look at the same data; None if there are none, or not all of this kind."""
    try:
        values: Any = json.loads(path.read_bytes())
        if values["fingerprint"] != mark:
            return None
        found = [Finding(*item) for item in values["findings"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = all(
        item.level in LEVELS and isinstance(item.where, str) and isinstance(item.message, str) for item in found
    )
    return found if whole else None
