"""Adversarial training: a generator learns to draw what a discriminator cannot tell from the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from seodang.core.config import Config
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.data.dataset import Batch, Dataset, generator
from seodang.data.images import normalize, pixels
from seodang.data.reading import read_input
from seodang.task.base import Prediction, Tally, Task, evaluating, tasks
from seodang.task.film import Film
from seodang.task.losses import binary_cross_entropy
from seodang.task.pictures import Picture, as_bytes, grid
from seodang.task.samples import answer, sample_count


class AdversarialConfig(Config):
    """How real pictures are labelled, what judges the drawn ones, and how often they are filmed."""

    smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Real pictures are labelled 1 - smoothing for the discriminator; drawn ones always 0."""
    judge: str | None = "mnist"
    """Shipped classifier that judges what is drawn, if the data have its classes and picture size."""
    samples: int = Field(1000, gt=1)
    """Pictures drawn for an evaluation, always from the same noise."""
    film_every: int = Field(25, gt=0)
    """Updates between frames of the fixed-noise film; doubled each time the film has grown to 60 frames."""


@tasks.register({"gan": AdversarialConfig()})
class AdversarialTraining(Task):
    r"""Train a generator and a discriminator against each other, each with its own optimizer.

    The discriminator minimises $-\log D(x) - \log(1 - D(G(z)))$; then the generator minimises $-\log D(G(z))$ for the
    same drawn pictures and the new discriminator (the non-saturating loss). Real and drawn pictures pass the
    discriminator in separate batches. The model offers `generator`, `discriminator` and `latent_dim`; pictures are
    in -1…1 between them.

    Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, algorithm 1 with one discriminator
    update each, and the generator loss of sec. 3; one-sided label smoothing and `classifier_score` (their Inception
    score, with the judge in place of Inception): Salimans et al. 2016, arXiv:1606.03498, sec. 3.4 and 4.
    Units: `classifier_score` from 1 to the number of classes; shares and accuracies 0…1; `diversity` is the variance
    of the drawn pixels as a share of that of the real ones: near 0 they are all alike.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    options: ClassVar[tuple[str, ...]] = ("seed", "to")
    monitor: ClassVar[tuple[str, str]] = ("classifier_score", "max")
    settings: AdversarialConfig

    def __init__(self, settings: AdversarialConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        assert isinstance(facts.inputs, ImageInputs)
        self.inputs = facts.inputs
        self.helper = settings.judge
        self.judge: nn.Module | None = None
        self.judge_inputs: ImageInputs | None = None
        self.film = Film(settings.film_every)
        if settings.judge is None:
            self.notes = (say("No classifier judges what is drawn; the newest checkpoint counts as the best."),)

    def equip(self, helper: nn.Module, facts: Facts) -> None:
        assert isinstance(facts.inputs, ImageInputs)
        if facts.inputs.shape == self.inputs.shape and facts.classes == self.facts.classes:
            self.judge, self.judge_inputs = helper.eval(), facts.inputs
            return
        self.notes = (
            say("The judge '{name}' knows other classes or another picture size than these data: what is drawn is not "
                "judged; the newest checkpoint counts as the best.", name=self.helper),
        )  # fmt: skip

    def prepare(self, model: nn.Module, seed: int) -> None:
        self.noise = torch.randn(64, model.latent_dim, generator=generator("fixed noise", seed))

    def networks(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"discriminator": model.discriminator, "generator": model.generator}  # type: ignore[dict-item]

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        real = pixels(batch[0], self.inputs) * 2 - 1
        fake = model.generator(torch.randn(len(real), model.latent_dim, device=real.device))
        yield (
            "discriminator",
            (
                labelled(model.discriminator(real), 1 - self.settings.smoothing)
                + labelled(model.discriminator(fake.detach()), 0.0)
            ),
        )
        with frozen(model.discriminator):
            verdict = model.discriminator(fake)
        yield "generator", labelled(verdict, 1.0)

    def after_step(self, model: nn.Module, step: int) -> None:
        if self.film.wants(step):
            self.film.add(step, grid(as_bytes((self._draw(model, self.noise) + 1) / 2), 8))

    def _draw(self, model: nn.Module, noise: Tensor) -> Float[Tensor, "N C H W"]:
        """Return pictures in -1…1 as a finished model draws them, by the running statistics; these stay as they are."""
        device = next(model.parameters()).device
        with evaluating(model):
            return torch.cat([model.generator(part.to(device)).float().cpu() for part in noise.split(250)])

    # -------------------------------------------------------------------------------------------- scores

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        noise = torch.randn(self.settings.samples, model.latent_dim, generator=generator("evaluation noise"))
        drawn = self._draw(model, noise)
        device = next(model.parameters()).device
        found = sum((model.discriminator(part.to(device)) < 0).sum().item() for part in drawn.split(250))
        real = Moments()
        believed = 0
        for batch in batches:
            images = pixels(batch[0], self.inputs)
            real.add(images.cpu())
            believed += int((model.discriminator(images * 2 - 1) > 0).sum())
        fake = Moments()
        fake.add((drawn + 1) / 2)
        return {
            **self._judged((drawn + 1) / 2, device),
            "diversity": Tally(fake.variance() * real.count, real.variance() * real.count),
            "real_accuracy": Tally(believed, real.count),
            "fake_accuracy": Tally(found, len(drawn)),
        }

    def _judged(self, drawn: Float[Tensor, "N C H W"], device: torch.device) -> dict[str, Tally]:
        if self.judge is None or self.judge_inputs is None:
            return {}
        judge, inputs = self.judge.to(device), self.judge_inputs
        with torch.autocast(device.type, enabled=False):
            logits = torch.cat([judge(normalize(part.to(device), inputs)) for part in drawn.split(250)])
        return {name: Tally(value, 1) for name, value in judgement(logits.float().softmax(-1)).items()}

    # ------------------------------------------------------------------------------------------- answers

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Draw pictures (``sample 16``), or say whether the discriminator takes the picture at a path for real.

        options    ``seed`` (default 0) of the noise; ``to``: a PNG file to write the pictures to

        Raises: DataError
        """
        if count := sample_count(inputs):
            noise = torch.randn(count, model.latent_dim, generator=generator("sample", int(options.get("seed", 0))))
            text = say("{count} pictures of {height}×{width} were drawn.", count=count, height=self.inputs.height,
                       width=self.inputs.width)  # fmt: skip
            return answer(text, (self._draw(model, noise) + 1) / 2, options.get("to"), {})
        device = next(model.parameters()).device
        image = pixels(read_input(self.inputs, inputs).unsqueeze(0).to(device), self.inputs) * 2 - 1
        with torch.no_grad():
            probability = model.discriminator(image).sigmoid().item()
        text = say("The discriminator takes it for real with {probability:.1%}.", probability=probability)
        return Prediction(text, {"real": probability})

    def blank_inputs(self, model: nn.Module) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        noise, image = (
            torch.zeros(1, model.latent_dim, device=device),
            torch.zeros(1, *self.inputs.shape, device=device),
        )
        return {"": noise, "discriminator": image}  # the whole model is its generator

    def pictures(self, model: nn.Module, data: Dataset | None) -> list[Picture]:
        drawn = (self._draw(model, self.noise) + 1) / 2
        shown = [Picture(say("Samples"), drawn, 8, say("Drawn by the generator from the fixed noise."))]
        if self.film.steps:
            shown.append(Picture(
                say("Training, from fixed noise"), torch.stack(self.film.frames), 1,
                say("The same 64 noise vectors after update {first} … {last}.", first=self.film.steps[0],
                    last=self.film.steps[-1]), kind="film", milliseconds=120))  # fmt: skip
        return shown

    def state(self) -> dict[str, Any]:
        return {"noise": self.noise, "film": self.film.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.noise = state["noise"]
        self.film.restore(state["film"])


class Moments:
    """The variance of pictures, pixel by pixel, added up over batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, images: Float[Tensor, "N C H W"]) -> None:
        self.count += len(images)
        self.sums = self.sums + images.double().sum(0)
        self.squares = self.squares + images.double().square().sum(0)

    def variance(self) -> Tensor:
        """Return the mean over pixels of their variance over the pictures."""
        count = max(self.count, 1)
        return torch.as_tensor(self.squares / count - (self.sums / count) ** 2).mean()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Leave out the gradients of the network's weights, which nobody uses.

    Over several devices they are computed all the same: the wrappers wait for every one of them.
    """
    if isinstance(network, (DistributedDataParallel, FSDPModule)):
        yield
        return
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def labelled(logits: Float[Tensor, " B"], label: float) -> Float[Tensor, ""]:
    """Return the summed cross-entropy of logits that should all say `label`."""
    return binary_cross_entropy(logits, torch.full_like(logits, label, dtype=torch.float32))


def judgement(probabilities: Float[Tensor, "N K"]) -> dict[str, float]:
    r"""Return what a classifier's probabilities say about drawn pictures.

    `classifier_score` is $\exp \mathbb{E}_x \mathrm{KL}(p(y|x) \| p(y))$: high when each picture is clearly of
    one class and all classes come up equally often.
    """
    confidence, found = probabilities.max(-1)
    shares = found.bincount(minlength=probabilities.shape[1]).double() / len(found)
    chances = probabilities.double().clamp_min(1e-12)
    divergence = (chances * (chances.log() - chances.mean(0).log())).sum(-1).mean()
    return {
        "classifier_score": divergence.exp().item(),
        "classes_seen": float((shares > 0).sum()),
        "largest_share": shares.max().item(),
        "smallest_share": shares.min().item(),
        "judge_confidence": confidence.double().mean().item(),
    }
