"""Calibration: whether a classifier is as often right as it is sure, for one model or for several beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seodang.core.language import say
from seodang.visualize.answers import Answers
from seodang.visualize.figure import Axis, Histogram, Lines, Series
from seodang.visualize.scale import percent

BINS = 10
FEWEST = 5
"""Answers a bar of the calibration needs: fewer say nothing about a share."""

Numbers = NDArray[np.float64]


class Calibration(NamedTuple):
    """Answers in bins of equal width by how sure they are: how many, how many of them right, and their summed probability."""

    edges: Numbers
    counts: Numbers
    hits: Numbers
    sums: Numbers

    @property
    def error(self) -> float:
        r"""The expected calibration error $\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|$."""
        return float(np.abs(self.hits - self.sums).sum() / max(self.counts.sum(), 1))

    def rates(self, fewest: int = 1) -> tuple[Numbers, Numbers]:
        """Return the share that is right and the mean probability of each bin; NaN where there are fewer answers."""
        enough = self.counts >= fewest
        nothing = np.full(len(self.counts), np.nan)
        return (np.divide(self.hits, self.counts, out=nothing.copy(), where=enough),
                np.divide(self.sums, self.counts, out=nothing.copy(), where=enough))  # fmt: skip


def calibration_of(answers: Answers, bins: int = BINS) -> Calibration:
    """Return how sure the answers are and how often right.

    Source: reliability diagram and expected calibration error, Guo et al. 2017, arXiv:1706.04599, sec. 2; bins hold
    their upper edge.
    """
    chances, predicted = answers.probabilities.max(-1)
    right = (predicted == answers.targets).double().numpy()
    sure = chances.double().numpy()
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(sure, edges[1:-1], right=True), 0, bins - 1)
    return Calibration(edges, np.bincount(place, minlength=bins).astype(np.float64), np.bincount(place, right, bins),
                       np.bincount(place, sure, bins))  # fmt: skip


def calibration(answers: Answers) -> Histogram | None:
    """Return how often the model is right when it is so sure, beside how often it should be.

    None where its answers are nearly all of one probability: there is nothing to compare.
    """
    found = calibration_of(answers)
    if (found.counts >= FEWEST).sum() < 3:
        return None
    rates, sure = found.rates(FEWEST)
    alt = say("Expected calibration error: {error}.", error=percent(found.error))
    return Histogram(
        say("Is it as sure as it is right?"), alt, tuple(found.edges), tuple(rates),
        Axis(say("probability it gives"), percent=True),
        Axis(say("how often it is right"), percent=True, limits=(0.0, 1.0)), tuple(sure),
        about=say("Bars: share that is right among answers so sure (where there are {count} or more). Lines: what that share "
                  "should be. {error}", count=FEWEST, error=alt), name="calibration")  # fmt: skip


def calibrations(answers: Mapping[str, Answers]) -> Lines:
    """Return the reliability diagram of several models: on the diagonal a model is right as often as it is sure."""
    series, said = [], []
    for name, one in answers.items():
        found = calibration_of(one)
        rates, sure = found.rates(FEWEST)
        kept = ~np.isnan(rates)
        series.append(Series(name, tuple(sure[kept].tolist()), tuple(rates[kept].tolist())))
        said.append(say("{name}: {error}", name=name, error=percent(found.error)))
    alt = say("Expected calibration error: {error}.", error=", ".join(said))
    ideal = Series(say("as sure as right"), (0.0, 1.0), (0.0, 1.0), colour=7, dashed=True)
    return Lines(
        say("Is it as sure as it is right?"), alt, (*series, ideal), Axis(say("probability it gives"), percent=True, limits=(0.0, 1.0)),
        Axis(say("how often it is right"), percent=True, limits=(0.0, 1.0)), about=alt, name="calibrations")  # fmt: skip
