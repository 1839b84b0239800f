"""Everything that is wrong or odd in a NumPy archive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from torch import Tensor

from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.data.array_reading import Arrays, check_arrays, read_arrays
from seodang.data.arrays import ArrayData, ArraysConfig
from seodang.data.check_classes import check_classes
from seodang.data.check_table import FEW_TORN, SAID
from seodang.data.far_off import far_off
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
        if "train" in arrays.inputs:
            findings += _lacking(arrays, data, source)
        findings += _contradictions(arrays, labels, source)
    findings += [*_constant(arrays, source), *_far_off(arrays, source)]
    return findings + [Finding("note", source, note) for note in data.facts.notes]


def _shared_rows(arrays: Arrays, source: str) -> list[Finding]:
    """Report examples of train that are also held out."""
    seen = {split: {np.ascontiguousarray(row).tobytes() for row in values} for split, values in arrays.inputs.items()}
    findings = []
    for split in ("valid", "test"):
        both = seen.get("train", set()) & seen.get(split, set())
        if both:
            findings.append(Finding("warning", source, say("{count} examples of {split} are also in train, byte for byte. Take them out of one.",
                                                           count=len(both), split=split)))  # fmt: skip
    return findings


def _lacking(arrays: Arrays, data: ArrayData, source: str) -> list[Finding]:
    """Report classes that a split of the user's own lacks; what train lacks cannot be learned."""
    classes, findings = data.facts.classes or (), []
    assert data.labels is not None
    ends = np.cumsum([0, *(len(values) for values in arrays.inputs.values())]).tolist()
    found = {split: {classes[label] for label in data.labels[ends[place] : ends[place + 1]].tolist()}
             for place, split in enumerate(arrays.inputs)}  # fmt: skip
    for split in found:
        findings += [Finding("error", source, say("class '{name}' is in {split} but not in train. Put examples of it there.", name=name, split=split))
                     for name in classes if name in found[split] and name not in found["train"]]  # fmt: skip
        findings += [Finding("warning", source, say("{split} has no examples of class '{name}'. Put some there, or no score tells about it.", split=split, name=name))
                     for name in classes if name in found["train"] and name not in found[split]]  # fmt: skip
    return findings


def _contradictions(arrays: Arrays, labels: Tensor, source: str) -> list[Finding]:
    """Report examples that are equal and have different classes."""
    groups: dict[bytes, list[int]] = {}
    rows = (row for values in arrays.inputs.values() for row in values)
    for number, row in enumerate(rows):
        groups.setdefault(np.ascontiguousarray(row).tobytes(), []).append(number)
    known = labels.tolist()
    torn = [group for group in groups.values() if len({known[row] for row in group}) > 1]
    if not torn:
        return []
    few = sum(map(len, torn)) <= max(FEW_TORN * len(known), 2)
    return [Finding("warning" if few else "note", source, say(
        "{count} groups of examples are equal and have different classes, for example rows {rows} (counted from 0 over all "
        "arrays); no model can be right on all. Look at them.", count=len(torn), rows=listed(torn[0])))]  # fmt: skip


def _far_off(arrays: Arrays, source: str) -> list[Finding]:
    """Report single numbers that are so far from all others that they must be slips."""
    findings = []
    for split, values in arrays.inputs.items():
        for column in range(values.shape[1]) if values.ndim == 2 else ():
            rows = far_off(values[:, column])
            if rows:
                findings.append(Finding("warning", source, say(
                    "column {column} of '{name}' is far from all others in rows {rows} (counted from 0; here {value:g}). Mend them, "
                    "if they are slips.", column=column, name=arrays.names[split][0], rows=listed(rows),
                    value=float(values[rows[0], column]))))  # fmt: skip
    return findings if len(findings) <= SAID else [*findings[:SAID], Finding("warning", source, say(
        "{count} more columns have such numbers.", count=len(findings) - SAID))]  # fmt: skip


def _constant(arrays: Arrays, source: str) -> list[Finding]:
    values = next(iter(arrays.inputs.values()))
    if values.ndim != 2:
        return []
    columns = (values == values[:1]).all(0).nonzero()[0].tolist()
    if not columns:
        return []
    return [
        Finding(
            "warning",
            source,
            say("columns that never vary (counted from 0): {columns}. Leave them out.", columns=listed(columns)),
        )
    ]
