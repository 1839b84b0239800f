"""What a user types becomes variants; what makes no sense is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from seodang.comparison.variants import from_lists, from_wholes, slug, variants_of
from seodang.core.errors import ConfigError


def names(words: list[str], paired: bool = False, wholes: tuple[str, ...] = ()) -> list[str]:
    return [variant.name for variant in variants_of(words, paired, wholes)[0]]


def test_one_list() -> None:
    variants, shared = variants_of(["optimizer.name=sgd,adam", "train.epochs=3"], False, [])
    assert [tuple(variant)[:2] for variant in variants] == [
        ("sgd", {"optimizer.name": "sgd"}), ("adam", {"optimizer.name": "adam"})]  # fmt: skip
    assert shared == {"train.epochs": 3}
    assert names(["optimizer=sgd,adam"]) == ["sgd", "adam"]


def test_several_lists_are_a_grid_or_go_side_by_side() -> None:
    words = ["optimizer.name=sgd,adam", "optimizer.lr=0.1,1e-3"]
    assert names(words) == ["sgd lr=0.1", "sgd lr=0.001", "adam lr=0.1", "adam lr=0.001"]
    assert names(words, paired=True) == ["sgd lr=0.1", "adam lr=0.001"]


def test_values_may_hold_commas() -> None:
    variants, shared = variants_of(
        ["model.hidden_sizes=[64],[128, 128]", "data.augment=[]", 'data.path="a,b"'], False, []
    )
    assert [variant.settings["model.hidden_sizes"] for variant in variants] == [[64], [128, 128]]
    assert shared == {"data.augment": [], "data.path": "a,b"}


def test_whole_combinations() -> None:
    variants, _ = variants_of(
        [], False, ["plain:", "with both: model.dropout=0.5 train.average=0.99", "train.clip=1.0"]
    )
    assert [tuple(variant)[:2] for variant in variants] == [
        ("plain", {}), ("with both", {"model.dropout": 0.5, "train.average": 0.99}), ("clip=1", {"train.clip": 1.0})]  # fmt: skip
    assert [variant.name for variant in from_wholes([{"optimizer.lr": 0.1}, {}])] == ["lr=0.1", "recipe"]
    assert [variant.name for variant in from_wholes({"a": {"optimizer.lr": 0.1}, "b": {}})] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, "There is nothing to compare"),
        (["train.epochs=3"], {}, "There is nothing to compare"),
        (["optimizer.name="], {}, "optimizer.name: is an empty list"),
        (["optimizer.name=sgd,,adam"], {}, "a comma with nothing beside it"),
        (["optimizer.name=sgd,"], {}, "a comma with nothing beside it"),
        (["optimizer.name=sgd,adam,sgd"], {}, "optimizer.name: has sgd twice"),
        (["optimizer.lr=0.1,1e-1"], {}, "optimizer.lr: has 0.1 twice"),
        (["optimizer.lr=0.1,0.2", "optimizer.lr=0.3"], {}, "optimizer.lr: is given twice"),
        (["seed=1,2"], {}, "--seeds"),
        (["optimizer.lr=0.1,0.2", "train.clip=1,2,3"], {"paired": True}, "equally long: optimizer.lr 2, train.clip 3"),
        (["optimizer.lr=0.1,0.2"], {"wholes": ["plain:"]}, "with it no setting has a list (optimizer.lr)"),
        ([], {"wholes": ["plain:", "plain: train.clip=1"]}, "Two variants are called 'plain'"),
        ([], {"wholes": ["a: train.clip=1", "b: train.clip=1"]}, "'a' and 'b' are the same"),
        ([], {"wholes": ["a: train.clip='1"]}, "--variant"),
        (["train.steps=" + ",".join(map(str, range(1, 300)))], {}, "299 variants are too many"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        names(words, **options)
    assert message in str(error.value)


def test_python_lists() -> None:
    with pytest.raises(ConfigError, match="should be a list"):
        from_lists({"optimizer.name": "sgd"})
    with pytest.raises(ConfigError, match="is an empty list"):
        from_lists({"optimizer.name": []})


def test_folders_are_named_for_people_and_disks() -> None:
    assert slug("sgd lr=0.1") == "sgd-lr-0.1"
    assert slug("../../etc") == "etc"
    assert slug("값 하나") == "값-하나"
    assert slug("[]") == "variant"
