"""The doctor while a run goes on: a listener that answers with what it finds in the history so far.

It is a pure function of the recorded events, so a resumed run finds the same again. It looks at twelve moments of a run only;
benchmarks/doctor.py measures what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from seodang.core.events import Evaluated, Event, Found, Rewound, Started, Stepped
from seodang.core.run import RunFolder
from seodang.diagnosis import course, rates
from seodang.diagnosis.finding import Finding
from seodang.diagnosis.story import Story

LOOKS = 12
"""Times a run is looked at."""
EARLIEST = 0.2
"""Share of a run before which only what cannot be undone is said."""

Rule = Callable[[Story], Finding | None]

AT_ONCE: tuple[Rule, ...] = (rates.rate_too_high, rates.diverged)
LATER: tuple[Rule, ...] = (
    rates.clip_too_small, rates.momentum_too_high, course.over_fitting, course.posterior_collapse,
)  # fmt: skip
AT_HALF: tuple[Rule, ...] = (
    rates.loss_not_moving, rates.rate_too_low, course.discriminator_wins, course.mode_collapse,
)  # fmt: skip


class Watch:
    """Watches one run; called with every event, it answers with a `Found` or with nothing."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._story = Story(self._run.recipe, str(self._run.path))
        self._known: set[str] = set()
        for event in self._run.events:
            self._story.take(event)
            if event["event"] == "found":
                self._known.add(event["illness"])

    def __call__(self, event: Event) -> Found | None:
        if isinstance(event, (Started, Rewound)):
            self._begin()
            return None
        if isinstance(event, Found):
            self._known.add(event.illness)
        if isinstance(event, Evaluated):
            self._story.take(event.record())
        if not isinstance(event, Stepped):
            return None
        before = self._story.points[-1].progress if self._story.points else 0.0
        self._story.take(event.record())
        if math.floor(LOOKS * event.progress) == math.floor(LOOKS * before):
            return None
        return self._look(event.step, event.progress)

    def _look(self, step: int, progress: float) -> Found | None:
        rules = AT_ONCE + (LATER if progress >= EARLIEST else ()) + (AT_HALF if progress >= 0.5 else ())
        for rule in rules:
            finding = rule(self._story)
            if finding and finding.illness not in self._known:
                return finding.event(step)
        return None
