"""Illnesses of the update: too large, too small, cut to pieces, driven by too much momentum or by single examples."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from statistics import median

from seodang.core.language import say
from seodang.diagnosis.finding import Finding, retrain, short
from seodang.diagnosis.story import Story

LEAST_POINTS = 5
"""Lines of progress below which a curve says nothing."""
BLOWN_UP = 1.5
"""Times the loss before training, from which training has made things worse: beyond the noise of any batch."""
LARGE_UPDATE = 0.1
"""Share of a layer's weights moved by one update from which a rate is too high: the usual is about 0.001, and shipped
recipes stay below 0.05. Source: Bottou 2012, "Stochastic gradient descent tricks"; LeCun et al. 1998, "Efficient backprop"."""
LARGE_AND_FRUITLESS = 0.03
"""The same for a run that has learned little by half of its time: weights that grew make the share smaller."""
OFTEN = 0.25
"""Share of the lines of progress on which a sign must be seen."""
SMALL_JOURNEY = 0.1
"""Share of their size by which weights have moved at most over a whole run, below which the rate was too low."""
NO_GRADIENT = 1e-8
"""Gradient over weights of the layer that gets most, below which there is nothing to follow: the rate is not to blame."""
STILL_HIGH = 0.7
"""Share of the first loss above which little was learned."""
NOT_MOVED = 0.97
"""Share of the first loss above which nothing was learned."""
CUT = 20.0
"""Times the limit that gradients have as a rule, from which clipping decides every update."""
HEAVY_MOMENTUM = 0.98
"""Momentum from which a gradient is felt for fifty updates and more."""
FEW_EXAMPLES = 4
"""Examples in a batch up to which one example decides an update."""
NOISY = 0.35
"""Median change between neighbouring lines of progress, as a share of the loss, from which the loss is mostly noise."""


def diverged(story: Story) -> Finding | None:
    """Find a loss that ended above where it began, or numbers that were no longer finite."""
    if story.failed is not None and ("NaN" in str(story.failed.get("reason")) or _not_finite(story)):
        step, reason = story.failed["step"], str(story.failed.get("reason", ""))
        return Finding(
            "divergence", say("At update {step:,} training ended on numbers that are not finite. {reason}", step=step,
                              reason=reason.partition(". ")[0].removesuffix(".") + "."),
            say("The updates grew from one to the next until the numbers overflowed; the rate is the usual cause."),
            retrain(story.run, f"optimizer.lr={short(story.recipe_rate / 10)}"), {"step": step}, step)  # fmt: skip
    first, last = story.first, story.last
    if not story.by_loss or len(story.points) < LEAST_POINTS or first is None or last is None or first <= 0:
        return None
    if last < BLOWN_UP * first:
        return None
    step = next(point.step for point in story.points if point.loss >= BLOWN_UP * first)
    return Finding(
        "divergence", say("The loss was {first:.4g} before training and is {last:.4g} at the end, {times:.3g} times that.",
                          first=first, last=last, times=last / first),
        say("Training made the network worse: each update overshoots, and the next gradient is larger still."),
        retrain(story.run, f"optimizer.lr={short(story.recipe_rate / 10)}"),
        {"first": first, "last": last}, step)  # fmt: skip


def rate_too_high(story: Story) -> Finding | None:
    """Find updates that move the weights by much of their size, or a loss that leapt up early."""
    points = story.points
    little = story.by_loss and bool(story.first) and (story.last or 0.0) > STILL_HIGH * (story.first or 0.0)
    limit = LARGE_AND_FRUITLESS if little and points[-1:] and points[-1].progress >= 0.5 else LARGE_UPDATE
    large = [point for point in points if point.update is not None and limit < point.update < math.inf]
    known = [point for point in points if point.update is not None]
    if len(points) >= LEAST_POINTS and len(large) >= max(3, OFTEN * len(known)):
        usual = median(point.update for point in large if point.update is not None)
        divisor = max(10.0, 10 ** round(math.log10(usual / 0.003)))
        return Finding(
            "rate-too-high",
            say("On {count} of {all} lines of progress one update moved the weights of the middle layer by more than {limit:.0%} of "
                "their size; the median of these is {usual:.3g}. About 0.001 is usual.", count=len(large), all=len(known),
                limit=limit, usual=usual),
            say("What the network has learned is overwritten by the next updates."),
            retrain(story.run, f"optimizer.lr={short(story.recipe_rate / divisor)}"),
            {"share_moved": usual, "lines": len(large), "of": len(known), "lr": story.recipe_rate}, large[0].step)  # fmt: skip
    first = story.first
    if not story.by_loss or first is None or first <= 0 or len(points) < LEAST_POINTS:
        return None
    high = max(points, key=lambda point: point.loss if math.isfinite(point.loss) else -1)
    if high.loss < 2 * BLOWN_UP * first:
        return None
    early = high.progress < 0.2 and story.optimizer.get("warmup") == 0 and (story.last or 0) < first
    change = ["optimizer.warmup=0.1"] if early else [f"optimizer.lr={short(story.recipe_rate / 10)}"]
    return Finding(
        "rate-too-high",
        say("The loss leapt to {high:.4g} at update {step:,}; before training it was {first:.4g}.", high=high.loss, step=high.step,
            first=first),
        say("The first updates are too large for weights that are still random: a warm-up, or a lower rate, keeps them small.") if early
        else say("Updates overshoot: the loss is climbed, not descended."),
        retrain(story.run, *change), {"highest": high.loss, "first": first, "lr": story.recipe_rate}, high.step)  # fmt: skip


def rate_too_low(story: Story) -> Finding | None:
    """Find a run whose weights hardly moved in all its updates, in no layer, and whose loss is still high.

    Source: Smith 2017, "Cyclical learning rates", arXiv:1506.01186, sec. 3.3: below the range of useful rates the loss hardly falls.
    """
    known = [point for point in story.points if point.most is not None]
    first, last = story.first, story.last
    if len(known) < LEAST_POINTS or not story.by_loss or not first or last is None or not STILL_HIGH * first < last:
        return None
    moved = sum(point.most or 0.0 for point in known) / len(known) * story.points[-1].step
    if not moved < SMALL_JOURNEY or last > BLOWN_UP * first or clip_too_small(story):
        return None
    if median(point.steep or 0.0 for point in known) < NO_GRADIENT:
        return None
    higher = 10 ** min(4, max(1, round(math.log10(1.0 / max(moved, 1e-6)))))
    return Finding(
        "rate-too-low",
        say("All {steps:,} updates together moved no layer by more than {moved:.2%} of its weights, and the loss fell from {first:.4g} "
            "to {last:.4g} only.", steps=story.points[-1].step, moved=moved, first=first, last=last),
        say("There is a gradient to follow, but the steps are so small that the weights stay where they were drawn."),
        retrain(story.run, f"optimizer.lr={short(story.recipe_rate * higher)}"),
        {"moved": moved, "first": first, "last": last, "lr": story.recipe_rate})  # fmt: skip


def loss_not_moving(story: Story) -> Finding | None:
    """Find a run that ended where it began."""
    first, last = story.first, story.last
    if not story.by_loss or len(story.points) < LEAST_POINTS or not first or last is None:
        return None
    if not NOT_MOVED * first < last < BLOWN_UP * first:
        return None
    return Finding(
        "loss-not-moving",
        say("The loss was {first:.4g} before training and is {last:.4g} after {steps:,} updates.", first=first, last=last,
            steps=story.points[-1].step),
        say("The network answers as it did before training: no gradient arrives, the rate is wrong, or the data says nothing about "
            "the answers. The other findings say which."),
        f"seodang find-lr {_recipe(story)}", {"first": first, "last": last})  # fmt: skip


def clip_too_small(story: Story) -> Finding | None:
    """Find a limit on the gradient that cuts nearly every update to a small part."""
    limit = story.recipe.train.clip
    if not limit or len(story.points) < LEAST_POINTS:
        return None
    cut = [point.norm / limit for point in story.points]
    if sum(item > CUT for item in cut) < 0.8 * len(cut):
        return None
    usual = median(point.norm for point in story.points)
    return Finding(
        "clip-too-small",
        say("train.clip is {limit:.3g}, and the gradient is {usual:.3g} as a rule: nearly every update is cut to {share:.2%} of itself.",
            limit=limit, usual=usual, share=limit / usual),
        say("Clipping is meant for rare leaps. Here it decides every update, and the rate says nothing any more."),
        retrain(story.run, f"train.clip={short(3 * usual)}"), {"clip": limit, "gradient": usual})  # fmt: skip


def momentum_too_high(story: Story) -> Finding | None:
    """Find momentum that carries the weights past where the gradient leads, in a run that went badly."""
    settings = story.optimizer
    betas = settings.get("betas")
    momentum = betas[0] if betas else settings.get("momentum", 0.0)
    first, last = story.first, story.last
    if momentum < HEAVY_MOMENTUM or not story.by_loss or not first or last is None or len(story.points) < LEAST_POINTS:
        return None
    highest = max(point.loss for point in story.points)
    swings = sum(later.loss > 1.1 * earlier.loss for earlier, later in pairwise(story.points)) / len(story.points)
    if not (last > STILL_HIGH * first or highest > BLOWN_UP * first or swings > OFTEN or story.failed):
        return None
    change = f"optimizer.betas=[0.9, {betas[1]}]" if betas else "optimizer.momentum=0.9"
    return Finding(
        "momentum-too-high",
        say("Momentum is {momentum:g}: a gradient is felt for about {length:,.0f} updates of {steps:,}. The loss reached {highest:.4g} "
            "(before training {first:.4g}).", momentum=momentum, length=1 / max(1 - momentum, 1e-9), steps=story.points[-1].step,
            highest=highest, first=first),
        say("The weights keep running in directions that were right long ago, and swing about the valley."),
        retrain(story.run, change), {"momentum": momentum, "highest": highest, "first": first})  # fmt: skip


def batch_too_small(story: Story) -> Finding | None:
    """Find a loss that is mostly the noise of single examples."""
    size = story.recipe.train.batch_size
    late = [point.loss for point in story.points[len(story.points) // 2 :]]
    first = story.first
    if size == "all" or size > FEW_EXAMPLES or len(late) < 2 * LEAST_POINTS or not story.by_loss or not first:
        return None
    usual = median(late)
    changes = median(abs(later - earlier) for earlier, later in pairwise(late))
    if usual < 0.1 * first or changes < NOISY * usual:
        return None
    return Finding(
        "batch-too-small",
        say("With {size} examples in a batch the loss changes by {changes:.0%} from one line of progress to the next (median), around {usual:.4g}.",
            size=size, changes=changes / usual, usual=usual),
        say("Every update follows a few examples and undoes what others taught; a larger batch averages that out."),
        retrain(story.run, "train.batch_size=32"), {"batch_size": size, "change": changes / usual})  # fmt: skip


def _not_finite(story: Story) -> bool:
    reason = str(story.failed.get("reason", "")) if story.failed else ""
    return re.search(r"\b(nan|inf|infinite|infinity|finite)\b|유한", reason.lower()) is not None


def _recipe(story: Story) -> str:
    return retrain(story.run).removeprefix("seodang train ")
