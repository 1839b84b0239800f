"""Several runs judged together, against plain numpy and scikit-learn; and what does not fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

import seodang as sd
from seodang.api import evaluation, robustness
from seodang.core.errors import ConfigError, RunError, SeodangError
from seodang.data.dataset import datasets
from seodang.models.bundle import Bundle

SMALL: dict[str, Any] = {"threads": 1, "steps": 40, "batch_size": 32, "evaluate_every": 0, "log_every": 20}
PLAIN: dict[str, Any] = {"name": "sgd", "lr": 0.1, "schedule": "constant", "weight_decay": 0.0, "warmup": 0.0}


def digits(path: Path, number: int | None = None, seed: int = 0, **changes: Any) -> Any:
    train = {**SMALL, **changes, **({} if number is None else {"bootstrap": number})}
    return sd.train("digits-mlp", run=path, data={"augment": []}, seed=seed, train=train, optimizer=PLAIN)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("members")
    return [digits(folder / f"sample-{number}", number) for number in (1, 2, 3)]


def answers(run: Any, path: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities and the targets of a run on its test examples, by plain numpy."""
    bundle = Bundle.read(path or run.best)
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    examples = data.split("test")
    inputs, targets = examples.batch(torch.arange(len(examples)), None)
    with torch.no_grad():
        logits = bundle.model(inputs).double().numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True), targets.numpy()


def test_several_runs_are_averaged_as_numpy_does(runs: list[Any]) -> None:
    found = evaluation(runs)
    told = [answers(run) for run in runs]
    targets = told[0][1]
    means = np.mean([chances for chances, _ in told], axis=0)
    assert found["scores"]["accuracy"] == pytest.approx((means.argmax(1) == targets).mean())
    assert found["scores"]["loss"] == pytest.approx(-np.log(means[np.arange(len(targets)), targets]).mean(), rel=1e-5)
    for run, (chances, _) in zip(runs, told, strict=True):
        assert found["members"][run.path.name]["accuracy"] == pytest.approx((chances.argmax(1) == targets).mean())
        assert found["members"][run.path.name] == pytest.approx(sd.evaluate(run))
    votes = np.stack(
        [np.bincount(row, minlength=10) for row in np.stack([chances.argmax(1) for chances, _ in told], 1)]
    )
    voted = (votes + means / 2).argmax(1)
    assert found["members"]["majority vote"] == {"accuracy": pytest.approx((voted == targets).mean())}
    gains = {(one["one"], one["other"]): one for one in found["gains"]}
    assert len(gains) == 6
    right = told[0][0].argmax(1) == targets
    one = gains["mean probabilities", runs[0].path.name]
    assert one["difference"] == pytest.approx((means.argmax(1) == targets).mean() - right.mean())
    assert one["only_one"] == ((means.argmax(1) == targets) & ~right).sum()
    assert one["low"] <= one["difference"] <= one["high"]


def test_one_is_given_what_many_are(runs: list[Any], tmp_path: Path) -> None:
    assert sd.evaluate([runs[0]]) == sd.evaluate(runs[0])
    bundle = runs[0].bundle()
    data = datasets.make(runs[0].recipe.data, None, 0)
    data.prepare()
    from PIL import Image

    inputs, _ = data.split("test").batch(torch.tensor([0]), None)
    facts = bundle.record.facts.inputs
    pixels = (inputs[0, 0] * facts.std[0] + facts.mean[0]).clamp(0, 1) * 255
    Image.fromarray(pixels.round().byte().numpy()).save(tmp_path / "digit.png")
    alone = [run.predict(str(tmp_path / "digit.png"))[0].values["probabilities"] for run in runs]
    (together,) = sd.predict(runs, str(tmp_path / "digit.png"))
    for name, chance in together.values["probabilities"].items():
        assert chance == pytest.approx(np.mean([one[name] for one in alone]), abs=1e-6)


def test_a_classifier_in_depth_as_scikit_learn_has_it(runs: list[Any]) -> None:
    found = evaluation(runs[0])["classes"]
    chances, targets = answers(runs[0])
    said = chances.argmax(1)
    assert found["top1"] == pytest.approx((said == targets).mean())
    assert found["top5"] == pytest.approx(top_k_accuracy_score(targets, chances, k=5, labels=range(10)))
    assert found["confusion"] == confusion_matrix(targets, said).tolist()
    wanted = precision_recall_fscore_support(targets, said, zero_division=np.nan)
    for place, row in enumerate(found["classes"].values()):
        for key, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
            assert (row[key] if row[key] is not None else np.nan) == pytest.approx(values[place], nan_ok=True)
    assert found["brier"] == pytest.approx(
        sum(brier_score_loss(targets == k, chances[:, k]) for k in range(10)), rel=1e-4
    )
    sure, error = chances.max(1), 0.0
    for low in np.arange(10) / 10:
        inside = (sure > low + 1e-12) & (sure <= low + 0.1 + 1e-12)
        if inside.any():
            error += abs((said == targets)[inside].mean() - sure[inside].mean()) * inside.mean()
    assert found["calibration_error"] == pytest.approx(error, rel=1e-4)
    worst = found["mistakes"][0]
    truth = chances[np.arange(len(targets)), targets]
    assert worst["row"] == np.where(said != targets, truth, 2).argmin()
    assert worst["probability_of_truth"] == pytest.approx(truth[worst["row"]], rel=1e-3)


def test_quantities_are_averaged_in_their_own_unit(tmp_path: Path) -> None:
    runs = [
        sd.train("diabetes-mlp", run=tmp_path / f"{number}", train={**SMALL, "bootstrap": number}) for number in (1, 2)
    ]
    found = evaluation(runs)
    data = datasets.make(runs[0].recipe.data, None, 0)
    data.prepare()
    examples = data.split("test")
    inputs, targets = examples.batch(torch.arange(len(examples)), None)
    with torch.no_grad():
        mean = sum(run.model()(inputs) for run in runs) / 2
    rmse = (mean - targets).square().mean().sqrt().item() * data.facts.targets[0].std
    assert found["scores"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert set(found["members"]) == {"1", "2", "mean answer"}
    assert {gain["metric"] for gain in found["gains"]} == {"loss"}


def test_language_models_are_mixed_by_their_probabilities(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("the cat sat on the mat and the dog sat on the cat. " * 30)
    model = {"num_layers": 1, "num_heads": 2, "embed_dim": 16}
    runs = [sd.train("shakespeare-gpt", data={"name": "text", "path": str(tmp_path / "story.txt"), "context": 16}, model=model,
                     run=tmp_path / f"{seed}", seed=seed, train={**SMALL, "precision": "float32"},
                     optimizer={"warmup": 0}) for seed in (0, 1)]  # fmt: skip
    found = evaluation(runs)
    data = datasets.make(runs[0].recipe.data, None, 0)
    data.prepare()
    examples = data.split(found["split"])
    tokens, targets = examples.batch(torch.arange(len(examples)), None)
    with torch.no_grad():
        chances = sum(run.model()(tokens).double().softmax(-1) for run in runs) / 2
    counted = targets >= 0
    nats = -chances.gather(-1, targets.clamp(min=0)[..., None])[..., 0].log()[counted].mean()
    assert found["scores"]["loss"] == pytest.approx(nats.item(), rel=1e-5)
    assert found["scores"]["perplexity"] == pytest.approx(np.exp(nats.item()), rel=1e-5)
    for run in runs:
        assert found["members"][run.path.name] == pytest.approx(sd.evaluate(run), rel=1e-4)
    assert found["scores"]["loss"] <= np.mean([found["members"][run.path.name]["loss"] for run in runs])
    with pytest.raises(ConfigError, match="--noise"):
        robustness(runs[0], [0, 1])
    (answer,) = sd.predict(runs, "the ", max_tokens=3, temperature=0)
    assert len(answer.text) == 7


def test_pictures_in_several_versions(runs: list[Any]) -> None:
    found = evaluation(runs[0], tta=["shift"], draws=3)
    plain, several = found["members"].values()
    assert plain == pytest.approx(sd.evaluate(runs[0]))
    assert found["scores"] == several != plain
    assert found["gains"][0]["other"] == "as they are"
    assert evaluation(runs[0], tta="shift", draws=3)["members"] == found["members"]


# ------------------------------------------------------------------------------------------- refusals


def test_runs_that_hold_out_other_examples_are_refused(runs: list[Any], tmp_path: Path) -> None:
    other = digits(tmp_path / "other-seed", seed=1)
    with pytest.raises(
        RunError, match=r"other-seed: its test examples are others than those of sample-1.*train.bootstrap"
    ):
        evaluation([runs[0], other])
    same = digits(tmp_path / "same", steps=2, on_save_error="continue")
    assert len(evaluation([runs[0], same])["members"]) == 4


def test_runs_that_answer_other_questions_are_refused(runs: list[Any], tmp_path: Path) -> None:
    rows = sd.train("iris-mlp", run=tmp_path / "flowers", train={**SMALL, "steps": 2})
    with pytest.raises(RunError, match=r"flowers: does not fit sample-1: its list of classes is setosa"):
        evaluation([runs[0], rows])
    numbers = sd.train("diabetes-mlp", run=tmp_path / "numbers", train={**SMALL, "steps": 2})
    for together in (evaluation, sd.predict):
        with pytest.raises(
            RunError, match=r"numbers: does not fit sample-1: its task is regression, not classification"
        ):
            together([runs[0], numbers])
    with pytest.raises(ConfigError, match=r"takes table"):
        evaluation(rows, tta=["flip"])


def test_what_cannot_be_asked_is_named(runs: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"drawz: is not an option of evaluate. Did you mean 'draws'"):
        evaluation(runs[0], drawz=3)
    with pytest.raises(ConfigError, match="No run was given"):
        evaluation([])
    with pytest.raises(SeodangError, match=r"no such folder"):
        evaluation([runs[0], tmp_path / "nothing"])
    with pytest.raises(RunError, match="snapshots of one run"):
        evaluation(runs, snapshots=True)
    with pytest.raises(RunError, match=r"its learning rate is constant. Train with optimizer.schedule=cyclic"):
        evaluation(runs[0], snapshots=True)
    runs[0].bundle().write(tmp_path / "bundle")
    with pytest.raises(RunError, match="bundle: is a bundle and brings no data"):
        evaluation([runs[0], tmp_path / "bundle"])
