"""Autoencoding: pictures through a narrow description and back, by the evidence lower bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from seodang.core.config import Config
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.data.dataset import Batch, Dataset, generator
from seodang.data.images import pixels
from seodang.data.reading import read_input
from seodang.task.base import Prediction, Tally, Task, tasks
from seodang.task.losses import binary_cross_entropy
from seodang.task.pictures import Picture
from seodang.task.samples import answer, sample_count

PASSES_AT_ONCE = 5_000
"""Decoder passes held in memory together while the importance-weighted bound is computed."""
MOST_LATENTS = 10
"""Latents of one picture that are drawn at several values."""


class VariationalConfig(Config):
    """How the two parts of the bound are weighed, and how closely it is measured."""

    beta: float = Field(1.0, ge=0)
    """Weight of the KL term in the loss; scores are always of the true bound (beta 1)."""
    samples: int = Field(100, gt=0)
    """Latents drawn per picture for the importance-weighted bound, which is measured when a run has ended."""


@tasks.register({"vae": VariationalConfig()})
class VariationalAutoencoding(Task):
    r"""Learn latents of pictures by the evidence lower bound, and draw new ones.

    The loss is $-\mathbb{E}_{q(z|x)} \log p(x|z) + β\,\mathrm{KL}(q(z|x) \| N(0, I))$ with one drawn latent; the KL
    is exact. Pixels are grey levels 0…1 taken as probabilities (Bernoulli), whatever normalisation the encoder
    sees. The model offers ``model(images) → (logits, mean, log_variance)``, ``encode`` and ``decode``.

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", arXiv:1312.6114, eq. 10 and appendix B;
    β: Higgins et al. 2017, "beta-VAE"; importance-weighted bound: Burda, Grosse & Salakhutdinov 2016,
    "Importance weighted autoencoders", arXiv:1509.00519, eq. 8.
    Units: all scores are nats per picture. `elbo`, `reconstruction` and `kl` draw one latent per picture; at the
    end of a run, and in ``seodang evaluate``, `importance_weighted` draws `samples` for each.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    options: ClassVar[tuple[str, ...]] = ("seed", "to")
    monitor: ClassVar[tuple[str, str]] = ("elbo", "max")
    settings: VariationalConfig

    def __init__(self, settings: VariationalConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        assert isinstance(facts.inputs, ImageInputs)
        self.inputs = facts.inputs

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        reconstruction, divergence = self._terms(model, batch)
        yield "model", reconstruction + self.settings.beta * divergence

    def _terms(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, mean, log_variance = model(batch[0])
        return (
            binary_cross_entropy(logits, pixels(batch[0], self.inputs)),
            gaussian_divergence(mean, log_variance).sum(),
        )

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        reconstruction, divergence = self._terms(model, batch)
        count = len(batch[0])
        return {
            "loss": Tally(reconstruction + self.settings.beta * divergence, count),
            "elbo": Tally(-reconstruction - divergence, count),
            "reconstruction": Tally(reconstruction, count),
            "kl": Tally(divergence, count),
        }

    def evaluate_at_end(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        total, count = torch.zeros((), dtype=torch.float64), 0

        def with_bound() -> Iterator[Batch]:
            nonlocal total, count
            for batch in batches:
                images = batch[0]
                with torch.random.fork_rng([images.device] if images.is_cuda else []):  # `evaluate` draws as ever
                    bounds = importance_weighted_bound(
                        model, images, pixels(images, self.inputs), self.settings.samples
                    )
                total, count = total + bounds.double().sum().cpu(), count + len(bounds)
                yield batch

        scores = self.evaluate(model, with_bound())
        return {**scores, "importance_weighted": Tally(total, count)}

    # ------------------------------------------------------------------------------------------- answers

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Reconstruct the picture at a path, or draw new ones: ``sample 16``.

        options    ``seed`` (default 0) of what is drawn; ``to``: a PNG file to write the pictures to

        Raises: DataError
        """
        if count := sample_count(inputs):
            images = self.sample(model, count, int(options.get("seed", 0)))
            text = say("{count} pictures of {height}×{width} were drawn.", count=count, height=self.inputs.height,
                       width=self.inputs.width)  # fmt: skip
            return answer(text, images, options.get("to"), {})
        image = self._read(model, inputs)
        with torch.no_grad():
            mean, log_variance = model.encode(image)
            logits = model.decode(mean)
            wanted = pixels(image, self.inputs)
            reconstruction = binary_cross_entropy(logits, wanted).item()
            divergence = gaussian_divergence(mean, log_variance).sum().item()
        text = say("Reconstructed from {size} numbers; reconstruction costs {reconstruction:.1f} nats, its description "
                   "{kl:.1f}.", size=mean.shape[1], reconstruction=reconstruction, kl=divergence)  # fmt: skip
        values = {"latents": mean[0].tolist(), "reconstruction": reconstruction, "kl": divergence}
        return answer(text, torch.cat([wanted, logits.sigmoid()]), options.get("to"), values)

    def _read(self, model: nn.Module, inputs: str) -> Float[Tensor, "1 C H W"]:
        return read_input(self.inputs, inputs).unsqueeze(0).to(next(model.parameters()).device)

    def sample(self, model: nn.Module, count: int, seed: int = 0) -> Float[Tensor, "N C H W"]:
        """Draw latents from the prior and return the mean of each pixel, 0…1."""
        device = next(model.parameters()).device
        latents = torch.randn(count, self._latent_dim(model), generator=generator("sample", seed)).to(device)
        with torch.no_grad():
            return model.decode(latents).float().sigmoid().cpu()

    def _latent_dim(self, model: nn.Module) -> int:
        device = next(model.parameters()).device
        with torch.no_grad():
            return model.encode(torch.zeros(1, *self.inputs.shape, device=device))[0].shape[1]

    def pictures(self, model: nn.Module, data: Dataset | None) -> list[Picture]:
        shown = [Picture(say("Samples"), self.sample(model, 64), 8, say("Latents drawn from N(0, I), decoded."))]
        split = next((name for name in ("test", "valid", "train") if data and name in data.facts.sizes), None)
        if data is None or split is None:
            return shown
        examples = data.split(split)
        rows = torch.arange(min(20, len(examples)))
        images = examples.batch(rows, None)[0].to(next(model.parameters()).device)
        with torch.no_grad():
            mean, _ = model.encode(images)
            pairs = torch.stack([pixels(images, self.inputs), model.decode(mean).float().sigmoid()], 1).flatten(0, 1)
            shares = torch.linspace(0, 1, 9, device=mean.device).view(1, -1, 1)
            ends = len(mean) // 2
            path = torch.lerp(mean[:ends, None], mean[ends : 2 * ends, None], shares)
            between = model.decode(path[:8].flatten(0, 1)).float().sigmoid()
        return [
            *shown,
            Picture(say("Reconstructions"), pairs.cpu(), 8,
                    say("Pairs from the {split} split: the picture, and what its latents decode to.", split=split)),
            Picture(say("Interpolations"), between.cpu(), 9,
                    say("Each row: the straight line between the latents of two pictures, decoded.")),
        ]  # fmt: skip

    def pictures_of(self, model: nn.Module, inputs: str) -> list[Picture]:
        image = self._read(model, inputs)
        with torch.no_grad():
            mean, log_variance = model.encode(image)
            pair = torch.cat([pixels(image, self.inputs), model.decode(mean).float().sigmoid()])
            # nats that the description spends on each latent: those it spends most on say most about the picture
            spent = gaussian_divergence(mean.T, log_variance.T)
            used = spent.topk(min(MOST_LATENTS, len(spent))).indices
            values = torch.linspace(-3, 3, 9, device=mean.device)
            changed = mean.repeat(len(used), len(values), 1)
            changed[torch.arange(len(used)), :, used] = values
            walks = model.decode(changed.flatten(0, 1)).float().sigmoid()
        return [
            Picture(say("Reconstruction"), pair.cpu(), 2, say("The picture, and what its {size} latents decode to.", size=mean.shape[1])),
            Picture(say("Latents of this picture"), walks.cpu(), len(values),
                    say("Each row: one latent set to -3…3, the others as they are; the most telling latent first.")),
        ]  # fmt: skip


def gaussian_divergence(mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
    r"""Return $\mathrm{KL}(N(μ, σ^2) \| N(0, I)) = \tfrac12 \sum (μ^2 + σ^2 - 1 - \log σ^2)$ in nats.

    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def importance_weighted_bound(
    model: nn.Module, images: Float[Tensor, "B C H W"], wanted: Float[Tensor, "B C H W"], samples: int
) -> Float[Tensor, " B"]:
    r"""Return $\log \frac1K \sum_k p(x|z_k) p(z_k) / q(z_k|x)$ with $z_k \sim q(z|x)$, in nats per picture.

    `images` are what the encoder takes, `wanted` the same pixels in 0…1. A lower bound of $\log p(x)$ that
    rises with `samples`; one sample gives the ELBO.

    Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, eq. 8.
    """
    bounds = []
    chunk = max(1, PASSES_AT_ONCE // samples)
    for part, target in zip(images.split(chunk), wanted.split(chunk), strict=True):
        mean, log_variance = model.encode(part)  # type: ignore[operator]
        noise = torch.randn(samples, *mean.shape, device=mean.device)
        latents = mean + noise * (0.5 * log_variance).exp()
        logits = model.decode(latents.flatten(0, 1)).float().unflatten(0, (samples, -1))  # type: ignore[operator]
        likelihood = -F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        # the terms log 2π of prior and posterior cancel
        prior, posterior = -0.5 * latents.square().sum(-1), -0.5 * (noise.square() + log_variance).sum(-1)
        weights = likelihood.flatten(2).sum(-1) + prior - posterior
        bounds.append(weights.logsumexp(0) - math.log(samples))
    return torch.cat(bounds) if bounds else images.new_zeros(0)
