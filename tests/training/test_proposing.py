"""A model's name and data make a recipe: what is picked, why, and how it is overridden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seodang.core.errors import ConfigError, DataError, UnknownName, WeightsError
from seodang.core.recipe import Recipe
from seodang.training.proposing import Picked
from seodang.training.resolve import read_recipe
from tests.data.pictures import photos


def picked(model: str, data: Path | str, *changes: str) -> tuple[Recipe, dict[str, Picked]]:
    recipe, notes = read_recipe(model, str(data), changes)
    return recipe, {note.setting: note for note in notes if isinstance(note, Picked)}


def test_small_pictures_in_colour(tmp_path: Path) -> None:
    recipe, picks = picked("resnet18", photos(tmp_path / "my photos", {"cat": 30, "dog": 6}, size=(40, 32)))
    assert recipe.name == "resnet18-my-photos"
    assert recipe.data.settings["image_size"] == (32, 40)
    assert recipe.data.settings["augment"] == ("flip", "shift")
    assert recipe.model.settings == {"stem": "small"}
    assert recipe.task.name == "classification"
    assert recipe.train.batch_size == 8
    assert recipe.train.epochs == 60
    assert recipe.train.balance == 0.5
    assert "30 examples, the smallest 6" in picks["train.balance"]
    assert all(pick.why and f"{setting}=" in pick for setting, pick in picks.items())
    json.dumps([[pick.setting, pick.value, pick.why] for pick in picks.values()])


def test_grey_pictures_are_not_mirrored_and_large_ones_are_cropped(tmp_path: Path) -> None:
    grey, _ = picked("resnet18", photos(tmp_path / "grey", {"a": 6, "b": 6}, size=(32, 32), mode="L"))
    assert grey.data.settings["channels"] == 1
    assert grey.data.settings["augment"] == ("shift",)
    large, _ = picked("resnet18", photos(tmp_path / "large", {"a": 6, "b": 6}, size=(300, 260), suffix="jpg"))
    assert large.data.settings["image_size"] == (224, 224)
    assert "stem" not in large.model.settings
    assert large.data.settings["augment"][1]["name"] == "resized-crop"
    assert large.train.balance == 0


def test_pictures_too_small_for_the_model_are_enlarged(tmp_path: Path) -> None:
    recipe, picks = picked("alexnet", photos(tmp_path / "tiny", {"a": 6, "b": 6}, size=(16, 16)))
    assert min(recipe.data.settings["image_size"]) > 16
    assert "the smallest this model takes" in picks["data.image_size"]


def test_each_pick_can_be_overridden_and_is_then_not_told(tmp_path: Path) -> None:
    changes = {"data.image_size": "24", "data.augment": '["flip"]', "train.steps": "7", "train.batch_size": "5", "train.balance": "0.0",
               "optimizer.lr": "0.1", "task.smoothing": "0.0", "optimizer": "sgd"}  # fmt: skip
    recipe, picks = picked(
        "resnet18",
        photos(tmp_path / "p", {"a": 20, "b": 6, "c": 6}),
        *(f"{key}={value}" for key, value in changes.items()),
    )
    assert (recipe.train.steps, recipe.train.epochs, recipe.train.batch_size) == (7, None, 5)
    assert recipe.optimizer.name == "sgd"
    assert recipe.optimizer.settings["lr"] == 0.1
    assert recipe.data.settings["image_size"] == 24
    assert not set(changes) & set(picks)
    assert "train.epochs" not in picks


def test_named_data_and_tables_work_too(tmp_path: Path) -> None:
    recipe, _ = picked("lenet-5", "digits")
    assert "augment" not in recipe.data.settings  # 8 × 8: nothing to move
    rows = "".join(f"{number},{number * number % 7},{'even' if number % 2 == 0 else 'odd'}\n" for number in range(40))
    (tmp_path / "table.csv").write_text(f"a,b,kind\n{rows}")
    recipe, _ = picked("mlp", tmp_path / "table.csv", "data.target=kind")
    assert recipe.task.name == "classification"


def test_what_no_recipe_can_be_made_of_is_refused(tmp_path: Path) -> None:
    flat = photos(tmp_path / "flat", {".": 4})
    with pytest.raises(ConfigError, match=r"has no folders of classes.*data\.labels=labels\.csv"):
        read_recipe("resnet18", str(flat))
    with pytest.raises(UnknownName, match=r"neither a recipe nor a model called 'resnet19'.*resnet1"):
        read_recipe("resnet19", str(flat))
    broken = tmp_path / "broken" / "a"
    broken.mkdir(parents=True)
    (broken / "x.png").write_bytes(b"no picture")
    (tmp_path / "broken" / "b").mkdir()
    (tmp_path / "broken" / "b" / "y.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of its 2 pictures can be read"):
        read_recipe("resnet18", str(tmp_path / "broken"))


def test_published_weights_that_are_not_here_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"train\.start=resnet18\.imagenet: these weights are not here yet"):
        read_recipe("resnet18.imagenet", str(photos(tmp_path / "p", {"a": 6, "b": 6})))
