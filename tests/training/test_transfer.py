"""Beginning with weights that were trained before: what is taken, what is new, what is held, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import seodang as sd
from seodang.core.errors import ConfigError, WeightsError
from seodang.core.files import file_digest
from seodang.models.bundle import Bundle
from seodang.training.groups import trained_weights
from seodang.training.transfer import Freezing, frozen_layers
from tests.data.pictures import photos
from tests.harness import assert_resume_is_exact

MODEL = "resnet20-cifar"
SMALL = {"model.blocks_per_stage": 1, "model.width": 4, "train.threads": 1, "train.batch_size": 8, "train.epochs": 2,
         "train.precision": "float32", "data.augment": [], "train.log_every": 1}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("source")
    data = photos(root / "photos", {"ash": 9, "oak": 9}, size=(16, 16))
    return sd.train(MODEL, data=data, run=root / "run", **SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("target") / "photos", {"cat": 9, "dog": 9, "eel": 9}, start=50, size=(16, 16))


def train(data: Path, run: Path, source: Any, **changes: Any) -> Any:
    settings = {
        key: value
        for key, value in SMALL.items()
        if not key.startswith("model.") and not (key == "train.epochs" and "train.steps" in changes)
    }
    return sd.train(MODEL, data=data, run=run, **{**settings, "train.start": str(source.path), **changes})


def weights(path: Path) -> dict[str, Tensor]:
    return Bundle.read(path).model.state_dict()


def test_everything_but_the_head_is_taken_and_the_source_is_recorded(source: Any, data: Path, tmp_path: Path) -> None:
    before = weights(source.best)
    run = train(data, tmp_path / "run", source, **{"train.steps": 1, "optimizer.lr": 1e-12})
    after = weights(run.checkpoints[-1])
    for name in before:
        if "running" in name or "num_batches" in name:
            continue
        if name.startswith("classifier."):
            assert after[name].shape[0] == 3
        else:
            assert torch.allclose(before[name], after[name], atol=1e-6), name
    assert run.recipe.train.start_digest == file_digest(source.best / "model.safetensors")
    assert run.recipe.model.settings["width"] == 4  # the source's, though nobody said so
    assert run.recipe.data.settings["mean"] == source.bundle().record.facts.inputs.mean
    notes = run.read_json("environment.json")["notes"]
    assert any("new: classifier.weight, classifier.bias" in note for note in notes)


def test_with_the_same_classes_the_head_is_taken_too(source: Any, tmp_path: Path) -> None:
    data = photos(tmp_path / "more", {"ash": 9, "oak": 9}, start=200, size=(16, 16))
    run = train(data, tmp_path / "run", source, **{"train.steps": 1, "optimizer.lr": 1e-12})
    assert torch.allclose(
        weights(source.best)["classifier.weight"], weights(run.checkpoints[-1])["classifier.weight"], atol=1e-6
    )


def test_what_does_not_fit_is_listed(source: Any, data: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"stem.*has shape \(4, .*the model needs \(8, "):
        train(data, tmp_path / "run", source, **{"model.width": 8})
    with pytest.raises(WeightsError, match=r"unexpected|missing"):
        train(data, tmp_path / "run", source, **{"model.blocks_per_stage": 2})
    assert not (tmp_path / "run").exists()


def test_another_model_another_place_and_changed_weights_are_refused(source: Any, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds a resnet20-cifar, but model\.name=resnet32-cifar"):
        sd.train("resnet32-cifar", data=data, **{"train.start": str(source.path)})
    with pytest.raises(WeightsError, match="no run with a checkpoint, no bundle"):
        train(data, tmp_path / "run", source, **{"train.start": str(tmp_path / "nothing")})
    with pytest.raises(WeightsError, match=r"seodang import resnet18\.imagenet --to"):
        sd.train("resnet18", data=data, **{"train.start": "resnet18.imagenet"})
    with pytest.raises(ConfigError, match="is a model, not a recipe"):
        sd.train("resnet18")
    copy = tmp_path / "copy"
    shutil.copytree(source.best, copy)
    recipe = train(data, tmp_path / "run", source, **{"train.start": str(copy), "train.steps": 1}).recipe
    shutil.rmtree(copy)
    shutil.copytree(source.checkpoints[0], copy)
    if file_digest(copy / "model.safetensors") == recipe.train.start_digest:
        pytest.fail("the two checkpoints are the same")
    with pytest.raises(ConfigError, match="its weights have changed"):
        sd.train(recipe, run=tmp_path / "again")


@pytest.mark.parametrize("freeze", [-1, "stem", ("stem", "stages.0")], ids=str)
def test_frozen_layers_keep_their_weights_and_statistics(source: Any, data: Path, tmp_path: Path, freeze: Any) -> None:
    before = weights(source.best)
    run = train(data, tmp_path / "run", source, **{"train.freeze": freeze})
    after = weights(run.checkpoints[-1])
    frozen = frozen_layers(Bundle.read(source.best).model, freeze)
    holding = {path.rpartition(".")[0] for path in frozen}
    assert frozen
    for name, value in before.items():
        if name.startswith("classifier."):
            continue
        same = torch.equal(value, after[name])
        assert same == (name.rpartition(".")[0] in holding), name


def test_layers_come_free_from_the_last_down() -> None:
    model = sd.model(MODEL, blocks_per_stage=1, width=4)
    from seodang.core.recipe import Train

    freezing = Freezing(model, Train(freeze=-1, thaw=2.0), per_epoch=3)
    layer = {item.path: item.layer for item in trained_weights(model)}
    last = max(layer.values())
    for step, free in ((1, 0), (6, 0), (7, 1), (12, 1), (13, 2), (1000, last)):
        model.train()
        freezing.at(step)
        trained = {layer[path] for path, weight in model.named_parameters() if weight.requires_grad}
        assert trained == set(range(last - free, last + 1)), step
        norms = {path: module.training for path, module in model.named_modules() if hasattr(module, "running_mean")}
        assert all(training == (layer[f"{path}.weight"] in trained) for path, training in norms.items())


def test_a_run_that_thaws_resumes_exactly_without_its_source(source: Any, data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(source.best, kept)
    resume = sd.resume

    def without_source(run: Any, **options: Any) -> Any:
        shutil.rmtree(kept)
        return resume(run, **options)

    sd.resume = without_source
    try:
        settings = {
            key: value for key, value in SMALL.items() if not key.startswith("model.") and key != "train.epochs"
        }
        assert_resume_is_exact(MODEL, tmp_path, 5, data=data, **{
            **settings, "train.start": str(kept), "train.freeze": -1, "train.thaw": 1, "train.save_every": 4, "train.steps": 8,
            "train.balance": 1.0})  # fmt: skip
    finally:
        sd.resume = resume


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.freeze": 99}, "the model has"),
        ({"train.freeze": "stemm"}, r"no layer of the model is called so.*stem"),
        ({"train.freeze": ("stem", "stages", "classifier")}, "nothing would be left to train"),
        ({"train.thaw": 1}, "freeze says of none"),
        ({"train.start_digest": "ab", "train.start": None}, "start_digest belongs to start"),
        ({"train.freeze": 1, "train.thaw": 1, "train.devices": 2}, "on one device only"),
    ],
    ids=["layers", "name", "all", "thaw", "digest", "devices"],
)
def test_what_cannot_be_frozen_is_refused(
    data: Path, tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seodang.training.devices.available_cores", lambda: 2)
    with pytest.raises(ConfigError, match=message):
        sd.train(MODEL, data=data, run=tmp_path / "run", **{**SMALL, **changes})
    assert not (tmp_path / "run").exists()
