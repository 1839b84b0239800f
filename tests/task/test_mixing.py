"""Mixup and CutMix: inputs and targets mixed exactly, in training only, repeatably; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs, TokenInputs, VectorInputs
from seodang.data.dataset import ImageBatch
from seodang.task.classification import Classification, ClassificationConfig
from seodang.task.language_modeling import LanguageModelingConfig
from seodang.task.mixing import beta, cutmix, mixup
from seodang.task.regression import RegressionConfig
from seodang.training.assemble import assemble
from seodang.training.resolve import read_recipe

INPUTS = ImageInputs(channels=1, height=12, width=16, mean=(0.0,), std=(1.0,))
NAMES = ("a", "b", "c", "d", "e", "f")
MIXING: list[dict[str, Any]] = [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0, "mixed": 0.5}]


def task(inputs: Any = INPUTS, **settings: Any) -> Classification:
    return Classification(
        ClassificationConfig.of(settings, where="task"), Facts(inputs=inputs, classes=NAMES, sizes={"train": 6})
    )


def numbered(count: int = 6) -> ImageBatch:
    """Return pictures that are 1 in one channel of their own and 0 in the others: what is mixed in can be read off."""
    images = torch.eye(count).view(count, count, 1, 1).expand(count, count, 12, 16).contiguous()
    return ImageBatch(images, torch.arange(count))


def contents(images: Tensor) -> Tensor:
    """Return of each picture (row) which share of it comes from each (column)."""
    return images.mean((2, 3))


@pytest.mark.parametrize("settings", MIXING, ids=str)
def test_the_label_is_mixed_as_the_picture_is(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        batch = numbered()
        mixed = task(**settings).seen(batch)
        targets = torch.zeros(6, 6)
        targets[torch.arange(6), mixed.labels] += mixed.share
        targets[torch.arange(6), mixed.others] += 1 - mixed.share
        torch.testing.assert_close(contents(mixed.inputs), targets, rtol=0, atol=1e-6)
        seen.add(round(mixed.share, 6))
        assert torch.equal(batch.images, numbered().images)  # what the data holds is not touched
    assert len(seen) > 15


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("settings", MIXING[:2], ids=str)
def test_the_loss_is_the_sum_of_cross_entropies_with_the_mixed_target(
    settings: dict[str, Any], smoothing: float
) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 12 * 16, 6)).double()
    made = task(smoothing=smoothing, **settings)
    batch = ImageBatch(numbered().images.double(), torch.tensor([0, 1, 2, 0, 1, 5]))
    torch.manual_seed(3)
    ((name, loss),) = made.losses(model, batch)
    torch.manual_seed(3)
    mixed = made.seen(batch)
    targets = torch.zeros(6, 6, dtype=torch.float64)
    targets[torch.arange(6), mixed.labels] += mixed.share
    targets[torch.arange(6), mixed.others] += 1 - mixed.share
    targets = targets * (1 - smoothing) + smoothing / 6
    wanted = -(targets * model(mixed.inputs).log_softmax(1)).sum()
    assert name == "model"
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-5)


def test_the_share_is_drawn_from_beta() -> None:
    torch.manual_seed(0)
    for alpha in (0.2, 1.0, 4.0):
        drawn = torch.tensor([beta(alpha) for _ in range(3000)])
        assert drawn.mean() == pytest.approx(0.5, abs=0.03)
        assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_cutmix_pastes_one_rectangle_that_may_be_cut_off_at_the_border() -> None:
    torch.manual_seed(1)
    cut_off = 0
    for _ in range(60):
        mixed = cutmix(*numbered(), alpha=1.0)
        own = mixed.inputs[torch.arange(6), mixed.labels] == 1
        moved = mixed.labels != mixed.others
        for region in ~own[moved]:
            rows, columns = region.any(1).sum(), region.any(0).sum()
            assert region.sum() == rows * columns
            cut_off += int(
                rows > 0 and (region[0].any() or region[-1].any() or region[:, 0].any() or region[:, -1].any())
            )
    assert cut_off > 20


def test_mixing_repeats_with_the_generator_and_only_happens_in_training() -> None:
    made, batch = task(mixup=0.4), numbered()
    model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 12 * 16, 6))
    losses = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        losses.append(next(made.losses(model, batch))[1].item())
    assert losses[0] == losses[1] != losses[2]
    model.eval()
    state = torch.get_rng_state()
    plain = next(task().losses(model, batch))[1]
    assert next(made.losses(model, batch))[1].item() == plain.item()
    assert made.score(model, batch)["loss"].total.item() == plain.item()  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), state)


def test_without_the_settings_no_random_number_is_drawn() -> None:
    state = torch.get_rng_state()
    mixed = task().seen(numbered())
    assert mixed.share == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_of_numbers_are_averaged_too() -> None:
    torch.manual_seed(0)
    mixed = mixup(torch.eye(6), torch.arange(6), 1.0)
    torch.testing.assert_close(mixed.inputs.sum(1), torch.ones(6))
    assert mixed.inputs[torch.arange(6), mixed.labels].min() >= min(mixed.share, 1) - 1e-6


# ----------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixup": 0.2, "loss": "perceptron"}, "mixup=0.2 goes with loss=cross-entropy only"),
        ({"cutmix": 1.0, "loss": "perceptron"}, "cutmix=1.0 goes with loss=cross-entropy only"),
        ({"mixed": 0.5}, "mixed=0.5 is the share of batches that mixup or cutmix mixes, and both are off"),
        ({"mixup": -1.0}, "task.mixup: should be 0.0 or more"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        task(**settings)
    assert message in str(caught.value)


def test_what_cannot_be_mixed_is_refused_by_name() -> None:
    tokens = TokenInputs(vocab_size=9, length=4)
    with pytest.raises(ConfigError, match=r"task.mixup=0.2 averages numbers, but this data gives tokens"):
        task(tokens, mixup=0.2)
    with pytest.raises(
        ConfigError, match=r"task.cutmix=1.0 pastes a part of one picture into another, but this data gives vector"
    ):
        task(VectorInputs(size=4), cutmix=1.0)


@pytest.mark.parametrize("config", [RegressionConfig, LanguageModelingConfig], ids=lambda config: config.__name__)
@pytest.mark.parametrize("name", ["smoothing", "mixup", "cutmix"])
def test_other_tasks_say_whose_setting_it_is(config: Any, name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"{name}=0.1 spreads a target over classes, and goes with task.name=classification only"
    ):
        config.of({name: 0.1}, where="task")


def test_a_batch_of_one_has_nothing_to_mix_with() -> None:
    recipe, _ = read_recipe("digits-mlp", None, ["task.mixup=0.2", "train.batch_size=1", "model.normalization=none"])
    with pytest.raises(ConfigError, match=r"task.mixup=0.2 mixes the examples of a batch with each other"):
        assemble(recipe)


# ------------------------------------------------------------------------------------------------- a run


def test_a_run_with_mixing_resumes_exactly_and_learns(tmp_path: Path) -> None:
    recipe = {
        "name": "mixed", "model": {"name": "mlp", "hidden_sizes": [32]}, "data": {"name": "digits", "augment": ["cutout"]},
        "task": {"name": "classification", "mixup": 0.4, "cutmix": 1.0, "smoothing": 0.1},
        "optimizer": {"name": "adam", "lr": 0.01}, "train": {"steps": 120, "threads": 1, "evaluate_every": 0, "save_every": 60},
    }  # fmt: skip
    whole = sd.train(recipe, run=tmp_path / "whole")
    assert whole.scores["accuracy"] > 0.75

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 60:
            (tmp_path / "parts" / "stop").touch()

    parts = sd.train(recipe, run=tmp_path / "parts", listeners=[stop])
    assert parts.result is None
    parts = sd.resume(parts)
    assert parts.scores == whole.scores
