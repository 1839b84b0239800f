"""How many examples each class has: too few to learn from, or so many that the others hardly count."""

from __future__ import annotations

from collections.abc import Mapping

from seodang.core.language import say
from seodang.data.finding import Finding

FEW = 5
"""Examples of a class below which a warning is due: some must be held out."""
UNEVEN = 20
"""Ratio of the largest class to the smallest from which accuracy misleads."""


def check_classes(counts: Mapping[str, int], where: str) -> list[Finding]:
    """Return warnings about tiny classes and uneven ones."""
    findings = [
        Finding("warning", where, say("class '{name}' has {count} examples only; some of them will be held out. Add more.",
                                      name=name, count=count))
        for name, count in counts.items()
        if count < FEW
    ]  # fmt: skip
    if len(counts) > 1 and max(counts.values()) > UNEVEN * min(counts.values()):
        largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        share = counts[largest] / sum(counts.values())
        findings.append(Finding("warning", where, say(
            "classes are uneven: '{largest}' has {most:,} examples, '{smallest}' {least:,}. Always answering '{largest}' is right "
            "{share:.0%} of the time: look at more than accuracy.", largest=largest, most=counts[largest], smallest=smallest,
            least=counts[smallest], share=share)))  # fmt: skip
    return findings
