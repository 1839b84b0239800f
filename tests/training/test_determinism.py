"""Repeatable or refused: an operation without a deterministic kernel ends the run before its update, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.run import RunFolder
from seodang.task.classification import Classification
from seodang.training.determinism import deterministic
from tests.training.test_resume import RECIPE


@pytest.fixture
def unrepeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = Classification.losses

    def through(self, model, batch):  # type: ignore[no-untyped-def]
        for name, loss in losses(self, model, batch):
            torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([5.0, 6.0]))  # which of the two stays is open
            yield name, loss

    monkeypatch.setattr(Classification, "losses", through)


@pytest.mark.usefixtures("unrepeatable")
def test_an_operation_without_a_repeatable_kernel_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"put_: has no kernel .* train\.deterministic=false"):
        sd.train(RECIPE, run=tmp_path / "run")
    assert not RunFolder(tmp_path / "run").checkpoints
    assert sd.train(RECIPE, run=tmp_path / "other", **{"train.deterministic": False}).result


def test_torch_is_left_as_it_was() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == fills
