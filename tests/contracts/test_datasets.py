"""Every dataset a shipped recipe names: disjoint splits, order that repeats, a licence, a fingerprint."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import pytest
import torch

from seodang.core.errors import DataError
from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, Loader, datasets

NAMED = [name for name in datasets.names() if not {"path", "environment"} & set(type(datasets[name].settings).model_fields)
         and datasets[name].maker.__module__.startswith("seodang.")]  # fmt: skip
SMALL = {"mnist": {"limit": 300}, "cifar10-jpeg": {"limit": 300}}


def read(name: str, seed: int = 0) -> Dataset:
    fields = type(datasets[name].settings).model_fields
    settings = {key: value for key, value in SMALL.get(name, {}).items() if key in fields}
    dataset = datasets.make(Choice.of({"name": name, **settings}), None, seed)
    try:
        dataset.prepare()
    except DataError as error:
        pytest.skip(f"the data is not here: {str(error).splitlines()[0][:120]}")
    return dataset


ready = lru_cache(read)
"""Most tests only look: one reading of each dataset is enough for them."""


@pytest.mark.parametrize("name", NAMED)
def test_facts_are_complete(name: str) -> None:
    facts = ready(name).facts
    assert facts.licence
    assert facts.licence != "the user's own"
    assert facts.source
    assert facts.digest
    assert "train" in facts.sizes


@pytest.mark.parametrize("name", NAMED)
def test_reading_twice_gives_the_same(name: str) -> None:
    one, two = ready(name), read(name)
    assert one.facts == two.facts


@pytest.mark.parametrize("name", NAMED)
def test_splits_have_their_sizes_and_share_nothing(name: str) -> None:
    dataset = ready(name)
    seen: dict[str, str] = {}
    for split, size in dataset.facts.sizes.items():
        examples = dataset.split(split)
        assert len(examples) == size
        if name == "gates" or dataset.facts.inputs.kind == "tokens":
            continue  # the truth table is all there is; windows of text are told apart by place, not by content
        for row in range(min(size, 400)):
            fields = [field for field in examples.batch(torch.tensor([row]), None) if field is not None]
            key = hashlib.sha256(b"".join(field.contiguous().numpy().tobytes() for field in fields)).hexdigest()
            assert seen.setdefault(key, split) == split or name == "iris", (
                f"an example is in {seen[key]} and in {split}"
            )


@pytest.mark.parametrize("name", NAMED)
def test_training_order_repeats_and_resumes(name: str) -> None:
    dataset = ready(name)
    examples = dataset.split("train")
    one, two = Loader(examples, 7, seed=3), Loader(examples, 7, seed=3)
    for _ in range(5):
        next(one)
    two.restore(one.state())
    for _ in range(3):
        for first, second in zip(next(one), next(two), strict=True):
            assert (first is None and second is None) or torch.equal(first, second)
