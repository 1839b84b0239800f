"""Variational autoencoding: the bound by independent means, sums, answers, pictures, exact resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import DataError
from seodang.core.inputs import Facts, ImageInputs
from seodang.data.dataset import ImageBatch, datasets
from seodang.data.images import normalize
from seodang.models.vae import VAE, VAEConfig
from seodang.task.autoencoding import (
    VariationalAutoencoding,
    VariationalConfig,
    gaussian_divergence,
    importance_weighted_bound,
)
from tests.harness import assert_resume_is_exact

INPUTS = ImageInputs(channels=1, height=4, width=4, mean=(0.3,), std=(0.4,))
FACTS = Facts(inputs=INPUTS, sizes={"train": 8})
RECIPE: dict[str, Any] = {
    "name": "small-vae",
    "model": {"name": "vae", "latent_dim": 4, "hidden_sizes": [32]},
    "data": "digits",
    "task": {"name": "vae", "samples": 20},
    "optimizer": {"name": "adam", "lr": 0.005},
    "train": {"steps": 45, "batch_size": 64, "log_every": 4, "evaluate_every": 9, "threads": 1},
}


def model() -> VAE:
    return VAE(VAEConfig(image_size=(4, 4), latent_dim=2, hidden_sizes=(16,)))


def batch(count: int = 6) -> tuple[Tensor, ImageBatch]:
    grey = torch.rand(count, 1, 4, 4)
    return grey, ImageBatch(normalize(grey, INPUTS), None)


def test_the_divergence_is_that_of_the_distributions() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), kl_divergence(posterior, prior))
    drawn = posterior.sample((200_000,))
    by_chance = (posterior.log_prob(drawn) - prior.log_prob(drawn)).mean(0)
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), by_chance, rtol=0.02, atol=0.02)


def test_the_loss_is_the_negative_bound_of_grey_levels() -> None:
    """Against pixels as they were, whatever normalisation the encoder sees."""
    network, (grey, images) = model().eval(), batch()
    torch.manual_seed(3)
    [(name, loss)] = VariationalAutoencoding(VariationalConfig(beta=2.0), FACTS).losses(network, images)
    torch.manual_seed(3)
    logits, mean, log_variance = network(images.images)
    probability = logits.double().sigmoid()
    likelihood = (grey * probability.log() + (1 - grey) * (1 - probability).log()).sum()
    assert name == "model"
    torch.testing.assert_close(
        loss.double(), -likelihood + 2 * gaussian_divergence(mean, log_variance).sum().double(), rtol=1e-5, atol=1e-4
    )


def test_losses_are_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    task, network, (_, images) = VariationalAutoencoding(VariationalConfig(), FACTS), model().eval(), batch()
    twice = ImageBatch(torch.cat([images.images, images.images]), None)
    [(_, once)], [(_, doubled)] = task.losses(network, images), task.losses(network, twice)
    torch.testing.assert_close(doubled, 2 * once)
    assert task.size(twice) == 2 * task.size(images)


def test_one_batch_can_be_learned_by_heart() -> None:
    grey = (torch.rand(8, 1, 4, 4) > 0.5).float()
    images = ImageBatch(normalize(grey, INPUTS), None)
    network, task = VAE(VAEConfig(image_size=(4, 4), latent_dim=4, hidden_sizes=(64,))), VariationalAutoencoding(
        VariationalConfig(beta=0.0), FACTS)  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(300):
        [(_, loss)] = task.losses(network, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() / 8 < 0.5  # 16 pixels at random cost 11 nats a picture


class Known(nn.Module):
    """One latent number, whose decoder is known, so that log p(x) can be integrated."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(-2, 2, 16).view(1, 1, 4, 4))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = images.flatten(1).mean(1, keepdim=True)
        return mean, torch.full_like(mean, -0.5)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.view(-1, 1, 1, 1) * self.slope + 0.3


def log_likelihood(network: Known, grey: Tensor) -> Tensor:
    """Integrate p(x|z) p(z) over z on a fine grid."""
    points = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    logits = network.decode(points.float()).double()
    each = -nn.functional.binary_cross_entropy_with_logits(
        logits[:, None].expand(-1, len(grey), -1, -1, -1), grey.double().expand(len(points), -1, -1, -1, -1), reduction="none"
    ).flatten(2).sum(-1)  # fmt: skip
    prior = -0.5 * points.square() - 0.5 * math.log(2 * math.pi)
    return (each + prior[:, None]).logsumexp(0) + math.log(16 / 20_000)


@torch.no_grad()
def test_the_importance_weighted_bound_rises_to_the_likelihood() -> None:
    network, grey = Known(), torch.rand(3, 1, 4, 4)
    images = normalize(grey, INPUTS)
    exact = log_likelihood(network, grey)
    bounds = [
        torch.stack([importance_weighted_bound(network, images, grey, samples) for _ in range(400)]).double().mean(0)
        for samples in (1, 10, 300)
    ]
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()
    assert (bounds[2] < exact + 0.02).all()
    torch.testing.assert_close(bounds[2], exact, atol=0.05, rtol=0)


@torch.no_grad()
def test_one_importance_sample_is_the_bound_itself() -> None:
    network, grey = Known(), torch.rand(2, 1, 4, 4)
    images = normalize(grey, INPUTS)
    torch.manual_seed(5)
    drawn = importance_weighted_bound(network, images.repeat(3000, 1, 1, 1), grey.repeat(3000, 1, 1, 1), 1)
    mean, log_variance = network.encode(images)
    latents = Normal(mean, (0.5 * log_variance).exp()).sample((3000,))
    logits = network.decode(latents.flatten()).view(3000, 2, 1, 4, 4)
    likelihood = -nn.functional.binary_cross_entropy_with_logits(
        logits, grey.expand(3000, -1, -1, -1, -1), reduction="none"
    ).flatten(2).sum(-1).mean(0)  # fmt: skip
    torch.testing.assert_close(
        drawn.view(3000, 2).mean(0), likelihood - gaussian_divergence(mean, log_variance), atol=0.15, rtol=0
    )


def test_a_bound_in_chunks_counts_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    network, grey = Known(), torch.rand(7, 1, 4, 4)
    monkeypatch.setattr("seodang.task.autoencoding.PASSES_AT_ONCE", 6)
    assert importance_weighted_bound(network, normalize(grey, INPUTS), grey, 3).shape == (7,)
    assert importance_weighted_bound(network, grey[:0], grey[:0], 3).shape == (0,)


def test_a_run(tmp_path: Path) -> None:
    """The dear bound only at the end, above the cheap one; answers and pictures from the run."""
    run = sd.train(RECIPE, run=tmp_path / "run")
    first, *middle, last = [event["scores"] for event in run.events if event["event"] == "evaluated"]
    assert all("importance_weighted" not in scores for scores in (first, *middle))
    assert last["importance_weighted"] > last["elbo"] > first["elbo"]
    assert math.isclose(-last["elbo"], last["reconstruction"] + last["kl"], rel_tol=1e-5)
    assert math.isclose(last["loss"], -last["elbo"], rel_tol=1e-6)
    assert sd.evaluate(run) == run.scores

    [drawn] = sd.predict(run, "sample 5", to=str(tmp_path / "drawn.png"))
    assert np.array(drawn.values["pictures"]).shape == (5, 8, 8)
    with Image.open(tmp_path / "drawn.png") as image:
        assert image.size == ((3 * 9 - 1) * 4, (2 * 9 - 1) * 4)
    assert drawn.values == sd.predict(run, "sample 5")[0].values
    assert drawn.values != sd.predict(run, "sample 5", seed=1)[0].values
    Image.fromarray(np.full((8, 8), 40, np.uint8)).save(tmp_path / "digit.png")
    [again] = sd.predict(run, str(tmp_path / "digit.png"))
    assert len(again.values["latents"]) == 4
    assert again.text.startswith("Reconstructed from 4 numbers; reconstruction costs ")
    with pytest.raises(DataError, match="'sample zero': write: sample 16"):
        sd.predict(run, "sample zero")

    bundle, task = open_bundle(run)
    data = datasets.make(run.recipe.data, None, 0)
    data.prepare()
    assert [(shown.title, tuple(shown.images.shape), shown.columns) for shown in task.pictures(bundle.model, data)] == [
        ("Samples", (64, 1, 8, 8), 8), ("Reconstructions", (40, 1, 8, 8), 8), ("Interpolations", (72, 1, 8, 8), 9),
    ]  # fmt: skip
    assert all(shown.images.min() >= 0 and shown.images.max() <= 1 for shown in task.pictures(bundle.model, data))
    assert [shown.title for shown in task.pictures(bundle.model, None)] == ["Samples"]


def test_the_bound_at_the_end_draws_apart(tmp_path: Path) -> None:
    """So that the cheap scores of the same weights are the same with and without it."""
    run = sd.train(RECIPE | {"data": {"name": "digits", "valid": 0.0}}, run=tmp_path / "run", train={"steps": 9})
    *_, before, after = [event["scores"] for event in run.events if event["event"] == "evaluated"]
    assert after | before == after
    assert set(after) - set(before) == {"importance_weighted"}


def test_resume_is_exact(tmp_path: Path) -> None:
    assert_resume_is_exact(RECIPE, tmp_path, 23)


def test_a_picture_of_ones_own_is_reconstructed_and_its_latents_are_walked(tmp_path: Path) -> None:
    task, network = VariationalAutoencoding(VariationalConfig(), FACTS), model().eval()
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16).save(tmp_path / "own.png")
    pair, walks = task.pictures_of(network, str(tmp_path / "own.png"))
    assert pair.images.shape == (2, 1, 4, 4)
    torch.testing.assert_close(pair.images[0].flatten(), torch.arange(16) * 16 / 255)
    assert walks.images.shape == (2 * 9, 1, 4, 4)
    assert not torch.equal(walks.images[0], walks.images[8])
    with pytest.raises(DataError):
        task.pictures_of(network, str(tmp_path / "none.png"))
