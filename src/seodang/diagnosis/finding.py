"""What the doctor says: one finding for each illness, with evidence, meaning, and one command to try."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seodang.core.events import Found
from seodang.core.language import say


@dataclass(frozen=True)
class Finding:
    """An illness and why it is believed to be there."""

    illness: str
    """Its name for programs; the same in every language."""
    evidence: str
    """The numbers, in a sentence."""
    meaning: str
    command: str
    """One thing to try."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The numbers themselves."""
    step: int | None = None
    """The update at which it began, where that can be said."""
    examples: Sequence[str] = ()
    """Files or rows it is about, the most suspicious first."""

    @property
    def title(self) -> str:
        """The illness in the reader's language."""
        return titles()[self.illness]

    def record(self) -> dict[str, Any]:
        return {"title": self.title, **asdict(self)}

    def event(self, step: int) -> Found:
        """Return the event that tells of it during training."""
        return Found(step, self.illness, self.evidence, self.meaning, self.command, dict(self.numbers))


@dataclass(frozen=True)
class Diagnosis:
    """All findings about a run, and what could not be looked at."""

    run: str
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()
    """What was not examined, and why."""
    page: str | None = None
    """Where the page is, if one was written."""

    @property
    def illnesses(self) -> set[str]:
        return {finding.illness for finding in self.findings}

    def record(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "findings": [finding.record() for finding in self.findings],
            "unseen": list(self.unseen),
            "page": self.page,
        }


def titles() -> dict[str, str]:
    """Return every illness and what it is called."""
    return {
        "divergence": say("The loss diverges"),
        "rate-too-high": say("The learning rate is too high"),
        "rate-too-low": say("The learning rate is too low"),
        "loss-not-moving": say("The loss does not move"),
        "momentum-too-high": say("Too much momentum"),
        "clip-too-small": say("The limit on gradients is too small"),
        "batch-too-small": say("The batch is too small"),
        "plateau": say("A plateau: the rate fell too early"),
        "over-fitting": say("Over-fitting"),
        "under-fitting": say("Under-fitting"),
        "vanishing-gradients": say("Vanishing gradients"),
        "exploding-gradients": say("Exploding gradients"),
        "dead-units": say("Dead units"),
        "saturation": say("Saturated units"),
        "units-alike": say("Units that are all alike"),
        "inputs-constant": say("The inputs are constant"),
        "inputs-not-normalised": say("The inputs are not normalised"),
        "test-in-training": say("Held-out examples were trained on"),
        "class-imbalance": say("Rare classes"),
        "label-noise": say("Labels that are probably wrong"),
        "labels-unrelated": say("Answers without relation to the inputs"),
        "posterior-collapse": say("Posterior collapse"),
        "discriminator-wins": say("The discriminator wins"),
        "mode-collapse": say("Mode collapse"),
        "return-not-rising": say("The return does not rise"),
    }


def retrain(run: str, *changes: str) -> str:
    """Return the command that trains the recipe of a run once more with some settings changed."""
    return " ".join(["seodang train", shlex.quote(f"{run}/recipe.toml"), *map(shlex.quote, changes)])


def show(run: str, *words: str) -> str:
    """Return the command that draws what is inside a run."""
    return " ".join(["seodang look", shlex.quote(run), *words])


def short(value: float) -> float:
    """Return a number with three digits: what a command line should hold."""
    return float(f"{value:.3g}")
