"""Illnesses of the course of a run: over-fitting, standing still too early, and those of networks that play or act."""

from __future__ import annotations

from statistics import fmean

from seodang.core.language import say
from seodang.diagnosis.finding import Finding, retrain, short, show
from seodang.diagnosis.rates import LEAST_POINTS, rate_too_high
from seodang.diagnosis.story import Scored, Story, mean

RISE = 0.15
"""Share by which the held-out loss must have risen above its least to count: half of that is seen in sound runs."""
RISE_OF_FIRST = 0.04
"""The same as a share of the loss before training, so that a rise from 0.05 to 0.06 is none."""
FELL = 0.9
"""Share of the loss before training to which the training loss must have fallen: without that nothing was fitted."""
APART = 0.6
"""Share of the held-out loss below which the training loss is when a network knows its examples by heart."""
BY_HEART = 0.05
"""Share of the held-out loss below which the training loss says the examples are known by heart."""
STILL_FAR = 0.3
"""Share of the loss before training above which the held-out loss says that little else was learned."""
FLAT = 0.03
"""Share of the whole fall of the loss that counts as no change."""
FLAT_FOR = 0.45
"""Share of the run a plateau lasts: a cosine schedule is flat for about the last fifth."""
FALL_OF_RATE = 5.0
"""Times by which the rate fell where the plateau begins."""
UNLEARNED = 0.15
"""Share of the first loss above which there was still something to learn."""
ALIKE = 0.15
"""Variance of drawn pictures over that of real ones below which a generator draws one thing: sound ones end between 0.7 and 1.1."""
RISING = 2.0
"""Times by which that grew over three evaluations from which the generator is still finding out how to draw."""
SWAYS = 3
"""Evaluations in a row that must show that one of two networks has lost."""
CALM = 0.6
"""First beta of Adam that suits two networks. Source: Radford, Metz & Chintala 2016, arXiv:1511.06434, sec. 4: 0.5."""
COLLAPSED = 1.0
"""Nats of divergence from the prior, over all latents, below which a picture is hardly told by them. Source: Bowman et al. 2016,
"Generating sentences from a continuous space", arXiv:1511.06349, sec. 3.1; Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, sec. 5.3."""
CERTAIN = 0.98
"""Share of pictures a discriminator is right about from which it teaches nothing. Source: Arjovsky & Bottou 2017, arXiv:1701.04862, sec. 2."""
ONE_CLASS = 0.6
"""Share of drawn pictures in one class from which a generator has collapsed."""
LEAST_EVALUATIONS = 4


def over_fitting(story: Story) -> Finding | None:
    """Find where the held-out loss turned while the training loss went on falling.

    Source: Prechelt 1998, "Early stopping — but when?", sec. 2 (generalisation loss).
    """
    curve = story.curve("loss")
    if len(curve) < LEAST_EVALUATIONS or not story.by_loss or not story.points or not story.first:
        return None
    place = min(range(len(curve)), key=lambda index: curve[index][1])
    onset, least = curve[place]
    late = curve[place + 1 :]
    if story.last is None or story.last > FELL * story.first or rate_too_high(story):
        return None
    end = fmean(value for _, value in (late[-max(2, len(late) // 3) :] if len(late) > 1 else curve[-2:]))
    rose = len(late) > 1 and end - least >= max(RISE * least, RISE_OF_FIRST * story.first) and story.last <= APART * end
    known_by_heart = story.last <= BY_HEART * end and end >= STILL_FAR * story.first
    if not rose and not known_by_heart:
        return None
    if not rose:
        onset = next((step for step, value in curve if _training_loss(story, step) < APART * value), onset)
    return Finding(
        "over-fitting",
        say("The held-out loss was least at update {onset:,} ({least:.4g}) and has risen to {end:.4g}, while the training loss fell to "
            "{last:.4g}.", onset=onset, least=least, end=end, last=story.last) if rose
        else say("From update {onset:,} on the training loss is far below the held-out loss; at the end it is {last:.4g}, and the held-out "
                 "loss {end:.4g} (before training {first:.4g}).", onset=onset, last=story.last, end=end, first=story.first),
        say("From that update on the network learned its examples by heart, and no longer what they have in common."),
        retrain(story.run, *(_less_fitting(story) if rose else ["optimizer.name=adamw", "optimizer.weight_decay=1.0"])),
        {"onset": onset, "least": least, "held_out": end, "training": story.last}, onset)  # fmt: skip


def _training_loss(story: Story, step: int) -> float:
    """Return the training loss around an update."""
    return next((point.loss for point in story.points if point.step >= step), story.points[-1].loss)


def _less_fitting(story: Story) -> list[str]:
    """Return the change to try: stop in time where there is a validation split; else shrink the weights."""
    if story.split == "valid" and not story.recipe.train.patience:
        return ["train.patience=3"]
    decay = float(story.optimizer.get("weight_decay", 0.0))
    return [f"optimizer.weight_decay={max(0.1, 10 * decay):g}", "optimizer.name=adamw"]


def plateau(story: Story) -> Finding | None:
    """Find a loss that froze when the rate dropped, while there was much left to learn."""
    points, first = story.points, story.first
    if len(points) < 4 * LEAST_POINTS or not story.by_loss or not first or story.last is None:
        return None
    fall = first - story.last
    if fall <= 0 or story.last < UNLEARNED * first:
        return None
    begin = next((place for place in range(len(points) - 1, 0, -1)
                  if points[place].rate > FALL_OF_RATE * points[-1].rate), None)  # fmt: skip
    if begin is None or begin < LEAST_POINTS or points[-1].progress - points[begin].progress < FLAT_FOR:
        return None
    length = max(3, min(begin, len(points) - begin) // 2)
    before = fmean(point.loss for point in points[max(0, begin - length) : begin + 1])
    early = fmean(point.loss for point in points[max(0, begin - 2 * length) : max(1, begin - length)])
    late = fmean(point.loss for point in points[-length:])
    middle = fmean(point.loss for point in points[begin + 1 : begin + 1 + length])
    if early - before < FLAT * fall or middle - late > 0.1 * fall:
        return None
    return Finding(
        "plateau",
        say("Until update {step:,} the loss was falling ({early:.4g} to {before:.4g}); then the rate dropped from {high:.3g} to {low:.3g}, and "
            "for the remaining {share:.0%} of the run it went from {middle:.4g} to {late:.4g}.", step=points[begin].step, early=early,
            before=before, high=points[begin].rate, low=points[-1].rate, share=points[-1].progress - points[begin].progress,
            middle=middle, late=late),
        say("The rate fell while there was still much to gain: the rest of the run was spent on the spot."),
        retrain(story.run, "optimizer.schedule=cosine", *_without_drops(story)),
        {"begin": points[begin].step, "before": before, "late": late}, points[begin].step)  # fmt: skip


def _without_drops(story: Story) -> list[str]:
    """Return what takes back settings that go with a step schedule only."""
    settings = story.recipe.optimizer.settings
    return [
        f"optimizer.{name}={value}"
        for name, value in (("drop_at", "[]"), ("drop", "0.1"), ("wait", "5"))
        if name in settings
    ]


def posterior_collapse(story: Story) -> Finding | None:
    """Find an autoencoder whose latents say nothing."""
    curve = story.curve("kl")
    if len(curve) < 2 or curve[-1][0] < 50 or curve[-1][1] >= COLLAPSED:
        return None
    return Finding(
        "posterior-collapse",
        say("The latents say {value:.3g} nats about a picture, at update {step:,}.", value=curve[-1][1], step=curve[-1][0]),
        say("Every picture is encoded alike: the decoder has learned to draw without looking at the latents."),
        retrain(story.run, f"task.beta={_less(story):g}"), {"kl": curve[-1][1]})  # fmt: skip


def _less(story: Story) -> float:
    """Return a weight of the divergence that lets the latents say more."""
    beta = float(story.recipe.task.settings.get("beta", 1.0))
    return 1.0 if beta > 1 else beta / 4


def discriminator_wins(story: Story) -> Finding | None:
    """Find a discriminator that is right about everything, so that its gradient teaches the generator nothing."""
    known = _newest(story, "real_accuracy", "fake_accuracy")
    if not known or any(min(item.scores["real_accuracy"], item.scores["fake_accuracy"]) < CERTAIN for item in known):
        return None
    scores = known[-1].scores
    calmer = ["optimizer.betas=[0.5, 0.999]"] if story.optimizer.get("betas", (0.5,))[0] > CALM else []
    return Finding(
        "discriminator-wins",
        say("At update {step:,} the discriminator is right about {real:.1%} of real and {fake:.1%} of drawn pictures.",
            step=known[-1].step, real=scores["real_accuracy"], fake=scores["fake_accuracy"]),
        say("A discriminator that is always right gives the generator no direction."),
        retrain(story.run, f"optimizer.lr={short(story.recipe_rate / 4)}", *calmer),
        {"real": scores["real_accuracy"], "fake": scores["fake_accuracy"]}, known[0].step)  # fmt: skip


def mode_collapse(story: Story) -> Finding | None:
    """Find a generator that draws one thing: by the classes a judge sees in it, or by how little its pictures differ.

    Source: Goodfellow 2016, "NIPS 2016 tutorial: generative adversarial networks", arXiv:1701.00160, sec. 5.1.1.
    """
    judged, drawn = _newest(story, "largest_share"), _newest(story, "diversity")
    share = min((item.scores["largest_share"] for item in judged), default=0.0)
    alike = mean(item.scores["diversity"] for item in drawn)
    if share > ONE_CLASS:
        step, evidence = judged[-1].step, say("{share:.0%} of the drawn pictures are of one class.", share=share)
    elif alike is not None and alike < ALIKE and drawn[-1].scores["diversity"] <= RISING * drawn[0].scores["diversity"]:
        step = drawn[-1].step
        evidence = say("The drawn pictures differ from each other by {share:.1%} of what real ones do (variance of the pixels).",
                       share=alike)  # fmt: skip
    else:
        return None
    calmer = f"optimizer.lr={short(story.recipe_rate / 10)}"
    return Finding(
        "mode-collapse", evidence, say("The generator has found one thing that passes, and draws nothing else."),
        retrain(story.run, calmer), {"largest_share": share, "diversity": alike}, step)  # fmt: skip


def _newest(story: Story, *names: str) -> list[Scored]:
    """Return the last three evaluations with these scores: what two networks do to each other sways from one to the next."""
    return [item for item in story.scored if item.step > 0 and set(names) <= set(item.scores)][-SWAYS:]


def not_learning_to_act(story: Story) -> Finding | None:
    """Find an agent that returns no more than it did before training."""
    curve = story.curve("return")
    if len(curve) < LEAST_EVALUATIONS:
        return None
    first, best = curve[0][1], max(value for _, value in curve[1:])
    if best > first + 0.5 * abs(first):
        return None
    return Finding(
        "return-not-rising",
        say("The mean return was {first:.4g} before training; the best of {count} evaluations since is {best:.4g}.", first=first,
            count=len(curve) - 1, best=best),
        say("The agent acts no better than it did by chance: it explores too little, or its values do not settle."),
        retrain(story.run, f"optimizer.lr={short(story.recipe_rate / 4)}") if _large(story) else show(story.run),
        {"first": first, "best": best})  # fmt: skip


def _large(story: Story) -> bool:
    return any((point.update or 0) > 0.01 for point in story.points)
