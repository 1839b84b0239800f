"""Everything that is wrong or odd in a NumPy archive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.data.array_reading import Arrays, check_arrays, read_arrays
from seodang.data.arrays import ArrayData, ArraysConfig
from seodang.data.check_classes import check_classes
from seodang.data.finding import Finding, listed, shown


def check_array_file(path: Path, settings: ArraysConfig) -> list[Finding]:
    """Return findings about shapes, values, classes, and rows that are in two splits.

    Raises: DataError where the file cannot be read at all.
    """
    source = shown(path)
    arrays = read_arrays(path)
    findings = check_arrays(arrays, source)
    if any(finding.level == "error" for finding in findings):
        return findings
    data = ArrayData(settings)
    try:
        data.prepare()
    except SeodangError as error:
        return [*findings, Finding("error", source, str(error).removeprefix(f"{source}: "))]
    findings += _shared_rows(arrays, source)
    classes = data.facts.classes
    labels = data.labels
    if classes is not None and labels is not None:
        counts = Counter(labels.tolist())
        findings += check_classes({name: counts[label] for label, name in enumerate(classes) if counts[label]}, source)
    findings += _constant(arrays, source)
    return findings + [Finding("note", source, note) for note in data.facts.notes]


def _shared_rows(arrays: Arrays, source: str) -> list[Finding]:
    """Report examples of train that are also held out."""
    seen = {split: {np.ascontiguousarray(row).tobytes() for row in values} for split, values in arrays.inputs.items()}
    findings = []
    for split in ("valid", "test"):
        both = seen.get("train", set()) & seen.get(split, set())
        if both:
            findings.append(Finding("warning", source, say("{count} examples of {split} are also in train, byte for byte.",
                                                           count=len(both), split=split)))  # fmt: skip
    return findings


def _constant(arrays: Arrays, source: str) -> list[Finding]:
    values = next(iter(arrays.inputs.values()))
    if values.ndim != 2:
        return []
    columns = (values == values[:1]).all(0).nonzero()[0].tolist()
    if not columns:
        return []
    return [
        Finding("warning", source, say("columns that never vary (counted from 0): {columns}.", columns=listed(columns)))
    ]
