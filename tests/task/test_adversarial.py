"""Adversarial training: who learns from what, what the scores mean, the film, the judge, exact resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import ConfigError, UnknownName
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import ImageBatch, datasets, in_order
from seodang.data.images import normalize
from seodang.models.bundle import SHIPPED, Bundle, equip
from seodang.models.gan import DCGAN, DCGANConfig
from seodang.task.adversarial import AdversarialConfig, AdversarialTraining, judgement
from seodang.task.film import LONGEST, Film
from tests.conftest import needs_data
from tests.harness import assert_resume_is_exact

INPUTS = ImageInputs(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,))
FACTS = Facts(inputs=INPUTS, classes=("a", "b"), sizes={"train": 8})
RECIPE: dict[str, Any] = {
    "name": "small-gan",
    "model": {"name": "dcgan", "latent_dim": 8, "generator_channels": [8, 4], "discriminator_channels": [4, 8],
              "hidden_size": 16},
    "data": "digits",
    "task": {"name": "gan", "samples": 64, "film_every": 3},
    "optimizer": {"name": "adam", "lr": 0.0005, "betas": [0.5, 0.999]},
    "train": {"steps": 45, "batch_size": 64, "log_every": 4, "evaluate_every": 9, "threads": 1},
}  # fmt: skip


def small() -> DCGAN:
    return DCGAN(DCGANConfig(image_size=(8, 8), latent_dim=6, generator_channels=(8, 4), discriminator_channels=(4, 8)))


def task(**settings: Any) -> AdversarialTraining:
    return AdversarialTraining(AdversarialConfig.of({"judge": None, **settings}), FACTS)


def batch(count: int = 6) -> ImageBatch:
    return ImageBatch(normalize(torch.rand(count, 1, 8, 8), INPUTS), None)


def test_two_networks_are_trained() -> None:
    model = small()
    assert list(task().networks(model)) == ["discriminator", "generator"]
    assert {id(weight) for network in task().networks(model).values() for weight in network.parameters()} == {
        id(weight) for weight in model.parameters()
    }


def test_neither_network_learns_from_the_other_ones_loss() -> None:
    model = small()
    losses = task().losses(model, batch())
    name, loss = next(losses)
    loss.backward()
    assert name == "discriminator"
    assert all(weight.grad is not None for weight in model.discriminator.parameters())
    assert all(weight.grad is None for weight in model.generator.parameters())
    kept = [weight.grad.clone() for weight in model.discriminator.parameters()]  # type: ignore[union-attr]
    name, loss = next(losses)
    loss.backward()
    assert name == "generator"
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.generator.parameters()
               if weight.ndim > 1)  # fmt: skip
    for weight, before in zip(model.discriminator.parameters(), kept, strict=True):
        assert torch.equal(weight.grad, before)  # type: ignore[arg-type]
    assert all(weight.requires_grad for weight in model.parameters())
    assert next(losses, None) is None


class Fixed(nn.Module):
    """A generator of one grey, a discriminator whose logit is the mean pixel times a weight."""

    latent_dim = 1

    def __init__(self, grey: float) -> None:
        super().__init__()
        self.generator = nn.Module()
        self.generator.grey = nn.Parameter(torch.tensor(grey))
        self.generator.forward = lambda noise: self.generator.grey.expand(len(noise), 1, 8, 8)  # type: ignore[assignment]
        self.discriminator = nn.Module()
        self.discriminator.weight = nn.Parameter(torch.tensor(1.0))
        self.discriminator.forward = lambda images: self.discriminator.weight * images.mean((1, 2, 3))  # type: ignore[assignment]


def test_losses_by_hand() -> None:
    """The drawn pictures are judged by the discriminator as it is when the generator's turn comes."""
    model, white = Fixed(-0.5), torch.ones(4, 1, 8, 8)
    losses = task(smoothing=0.1).losses(model, ImageBatch(normalize(white, INPUTS), None))
    soft = lambda value: math.log1p(math.exp(value))  # noqa: E731
    _, loss = next(losses)
    wanted = 4 * (0.9 * soft(-1.0) + 0.1 * soft(1.0) + soft(-0.5))  # real pixels are 1, drawn ones -0.5
    assert math.isclose(loss.item(), wanted, rel_tol=1e-5)
    with torch.no_grad():
        model.discriminator.weight.fill_(3.0)  # type: ignore[union-attr, operator]
    _, loss = next(losses)
    assert math.isclose(loss.item(), 4 * soft(1.5), rel_tol=1e-5)


def test_losses_are_sums() -> None:
    model, images = Fixed(0.2), batch()
    twice = ImageBatch(torch.cat([images.images, images.images]), None)
    for (_, once), (_, doubled) in zip(task().losses(model, images), task().losses(model, twice), strict=True):
        torch.testing.assert_close(doubled, 2 * once)


def test_micro_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a task with several networks \\(discriminator, generator\\) takes whole"):
        sd.train(RECIPE, run=tmp_path / "run", **{"train.accumulate": 2})


# ---------------------------------------------------------------------------------------------- scores


def test_judgement_by_hand() -> None:
    even = judgement(torch.eye(4).repeat(5, 1))
    assert math.isclose(even["classifier_score"], 4.0, rel_tol=1e-6)
    assert (even["classes_seen"], even["largest_share"], even["smallest_share"]) == (4.0, 0.25, 0.25)
    assert even["judge_confidence"] == 1.0
    one = judgement(torch.eye(4)[[2] * 8])
    assert math.isclose(one["classifier_score"], 1.0, rel_tol=1e-6)
    assert (one["classes_seen"], one["largest_share"], one["smallest_share"]) == (1.0, 1.0, 0.0)
    torn = judgement(torch.full((8, 4), 0.25))
    assert math.isclose(torn["classifier_score"], 1.0, rel_tol=1e-6)
    assert torn["judge_confidence"] == 0.25
    pair = judgement(torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    p, q = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0.55, 0.45])
    assert math.isclose(pair["classifier_score"], (p * (p / q).log()).sum(1).mean().exp().item(), rel_tol=1e-5)


@torch.no_grad()
def test_scores_without_a_judge() -> None:
    """A generator that always draws the same is seen; the discriminator's rates count both kinds."""
    images = [ImageBatch(normalize(torch.rand(5, 1, 8, 8), INPUTS), None) for _ in range(3)]
    scores = {name: float(tally.total) / float(tally.count) for name, tally in
              task(samples=10).evaluate(Fixed(-0.5), images).items()}  # fmt: skip
    assert set(scores) == {"diversity", "real_accuracy", "fake_accuracy"}
    assert scores["diversity"] == pytest.approx(0.0, abs=1e-9)
    assert scores["fake_accuracy"] == 1.0
    means = torch.cat([part.images for part in images]).mul(0.4).add(0.3).mean((1, 2, 3))
    assert scores["real_accuracy"] == pytest.approx((means > 0.5).double().mean().item())


@torch.no_grad()
def test_pictures_like_the_data_are_as_diverse() -> None:
    class Copying(Fixed):
        def __init__(self) -> None:
            super().__init__(0.0)
            self.generator.forward = lambda noise: torch.rand(len(noise), 1, 8, 8) * 2 - 1  # type: ignore[assignment]

    images = [ImageBatch(normalize(torch.rand(500, 1, 8, 8), INPUTS), None)]
    total, count = task(samples=500).evaluate(Copying(), images)["diversity"]
    assert float(total) / float(count) == pytest.approx(1.0, abs=0.05)


# ----------------------------------------------------------------------------------------------- judge


class Always(nn.Module):
    """A classifier that says the second class."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([[0.0, 50.0]]).expand(len(images), 2)


def test_a_judge_of_the_same_classes_and_size_is_taken() -> None:
    judged = task(judge="some")
    judged.equip(Always(), FACTS)
    scores = judged.evaluate(small().eval(), [batch()])
    assert (scores["classes_seen"].total, scores["largest_share"].total) == (1.0, 1.0)
    assert judged.notes == ()


@pytest.mark.parametrize("change", [{"classes": ("a", "c")}, {"inputs": INPUTS.replace(height=16)}])
def test_another_judge_is_refused_in_words(change: dict[str, Any]) -> None:
    judged = task(judge="some")
    judged.equip(Always(), FACTS.replace(**change))
    assert "classes_seen" not in judged.evaluate(small().eval(), [batch()])
    assert "The judge 'some' knows other classes or another picture size than these data" in judged.notes[0]


def test_a_judge_that_is_not_shipped() -> None:
    with pytest.raises(UnknownName, match=r"There is no shipped model called 'mnits'\. Did you mean 'mnist'"):
        equip(task(judge="mnits"))


def test_the_shipped_judge_is_small() -> None:
    assert sum(path.stat().st_size for path in (SHIPPED / "mnist").iterdir()) <= 150_000


@needs_data("mnist")
def test_the_shipped_judge_knows_the_test_digits() -> None:
    bundle = Bundle.read(SHIPPED / "mnist")
    data = datasets.make(Choice(name="mnist"), None, 0)
    data.prepare()
    with torch.no_grad():
        right = sum(int((bundle.model(images).argmax(1) == labels).sum())
                    for images, labels in in_order(data.split("test"), 1000))  # fmt: skip
    assert right >= 9_900
    judged = AdversarialTraining(AdversarialConfig(), data.facts)
    equip(judged)
    assert judged.judge is not None


# ------------------------------------------------------------------------------------------------ film


@pytest.mark.parametrize("length", [1, 40, 59, 60, 200, 1000])
def test_a_film_of_any_length_has_at_most_sixty_frames(length: int) -> None:
    film = Film(1)
    for step in range(1, length + 1):
        if film.wants(step):
            film.add(step, torch.tensor(step))
    assert [int(frame) for frame in film.frames] == film.steps
    assert film.steps[0] == 1
    assert min(length, LONGEST // 2) <= len(film.steps) <= LONGEST
    assert film.steps[1:] == list(range(film.every, length + 1, film.every))[int(film.every == 1) :]
    copy = Film(1)
    copy.restore(json.loads(json.dumps(film.state() | {"frames": None})) | {"frames": film.state()["frames"]})
    assert (copy.every, copy.steps, len(copy.frames)) == (film.every, film.steps, len(film.frames))


def test_filming_changes_nothing() -> None:
    model, watched = small(), task(film_every=1)
    watched.prepare(model, 0)
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    watched.after_step(model, 1)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert watched.film.frames[0].shape == (1, 8 * 9 - 1, 8 * 9 - 1)


# ------------------------------------------------------------------------------------------------- run


def test_a_run(tmp_path: Path) -> None:
    run = sd.train(RECIPE, run=tmp_path / "run")
    assert set(run.scores) == {"diversity", "real_accuracy", "fake_accuracy"}
    assert any(
        "knows other classes or another picture size" in note for note in run.read_json("environment.json")["notes"]
    )  # type: ignore[index]
    assert run.best == run.checkpoints[-1], "without a judge the newest weights are the best"
    assert len(sd.predict(run, "sample 3")[0].values["pictures"]) == 3
    Image.new("L", (8, 8), 90).save(tmp_path / "one.png")
    [verdict] = sd.predict(run, str(tmp_path / "one.png"))
    assert 0 < verdict.values["real"] < 1
    bundle, opened = open_bundle(run)
    samples, film = opened.pictures(bundle.model, None)
    assert (samples.kind, tuple(samples.images.shape)) == ("grid", (64, 1, 8, 8))
    assert (film.kind, tuple(film.images.shape)) == ("film", (16, 1, 71, 71))
    assert film.images.dtype == torch.uint8
    assert film.about == "The same 64 noise vectors after update 1 … 45."


def test_resume_is_exact(tmp_path: Path) -> None:
    assert_resume_is_exact(RECIPE, tmp_path, 23)


def test_resume_with_averages_is_exact(tmp_path: Path) -> None:
    assert_resume_is_exact(RECIPE, tmp_path, 14, train={"steps": 20, "average": 0.9})
