"""Weights from elsewhere: all names or none, and a pickle is never opened here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seodang.core.errors import ConfigError, DataError, DiskError, UnknownName, WeightsError
from seodang.core.inputs import ImageInputs, TokenInputs, VectorInputs
from seodang.core.recipe import Choice
from seodang.deploy.importing import class_names, facts_from, import_weights
from seodang.models.base import architectures
from seodang.models.bundle import Bundle

MLP = {"hidden_sizes": [5], "in_features": 4, "classes": "cat,dog"}


def mlp() -> torch.nn.Module:
    torch.manual_seed(3)
    return architectures.make(Choice.of({"name": "mlp", "hidden_sizes": (5,), "in_features": 4, "out_features": 2}))


def gpt() -> torch.nn.Module:
    torch.manual_seed(3)
    return architectures.make(Choice.of({"name": "gpt", "vocab_size": 9, "num_layers": 1, "num_heads": 2, "embed_dim": 8,
                                         "max_len": 7, "tied": True}))  # fmt: skip


GPT = {"vocab_size": 9, "num_layers": 1, "num_heads": 2, "embed_dim": 8, "max_len": 7, "tied": True}


def same_weights(folder: Path, model: torch.nn.Module) -> Bundle:
    found = Bundle.read(folder)
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    return found


def test_safetensors_become_a_bundle(tmp_path: Path) -> None:
    save_file(mlp().state_dict(), tmp_path / "w.safetensors")
    assert import_weights(tmp_path / "w.safetensors", "mlp", tmp_path / "new" / "bundle", MLP) == ()
    found = same_weights(tmp_path / "new" / "bundle", mlp())
    assert found.record.facts.classes == ("cat", "dog")
    assert found.record.facts.inputs == VectorInputs(size=4)
    assert found.record.task.name == "classification"


def test_a_pytorch_file_is_opened_by_a_child_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {f"module.{name}": value for name, value in mlp().state_dict().items()}
    torch.save({"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("the main process opened a pickle")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr("pickle.load", never)
    notes = import_weights(tmp_path / "w.pth", "mlp", tmp_path / "bundle", {"model": MLP})
    same_weights(tmp_path / "bundle", mlp())
    assert len(notes) == 2
    assert "only 'state_dict' was read; left out: epoch, optimizer" in notes[0]
    assert "'module.' was taken off every name" in notes[1]


def test_tied_weights_are_stored_twice_elsewhere(tmp_path: Path) -> None:
    weights = {name: value.clone() for name, value in gpt().state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors")
    import_weights(tmp_path / "w.safetensors", "gpt", tmp_path / "bundle", GPT)
    found = same_weights(tmp_path / "bundle", gpt())
    assert found.record.facts.inputs == TokenInputs(vocab_size=9, length=7)
    assert found.record.task.name == "language-modeling"
    weights["head.weight"] += 1
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="are one tensor in this model, and differ"):
        import_weights(tmp_path / "other.safetensors", "gpt", tmp_path / "second", GPT)
    assert not (tmp_path / "second").exists()


def test_every_name_that_does_not_fit_is_said(tmp_path: Path) -> None:
    weights = {name: value.clone() for name, value in mlp().state_dict().items()}
    del weights["layers.1.bias"], weights["layers.3.bias"]
    weights["layers.3.weight"] = torch.zeros(2, 6)
    weights["fc.weight"] = torch.zeros(1)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        import_weights(tmp_path / "w.safetensors", "mlp", tmp_path / "bundle", MLP)
    text = str(caught.value)
    for part in ("missing: layers.1.bias", "missing: layers.3.bias", "unexpected: fc.weight",
                 "layers.3.weight: has shape (2, 6), the model needs (2, 5)"):  # fmt: skip
        assert part in text
    assert not (tmp_path / "bundle").exists()


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_a_file_that_wants_to_run_something_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": Evil(f"touch {tmp_path}/ran")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"asks to run 'posix\.system'"):
        import_weights(tmp_path / "w.pth", "mlp", tmp_path / "bundle", MLP)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [([torch.ones(1)], "holds a list"), ({"epoch": 1, "note": "x"}, "no table of named tensors; its parts: epoch, note"),
     ({"state_dict": {"a": torch.ones(1), "b": 3}}, "these are no tensors: b")],
)  # fmt: skip
def test_other_contents_are_named(content: object, reason: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=reason):
        import_weights(tmp_path / "w.pt", "mlp", tmp_path / "bundle", MLP)


def test_bad_files(tmp_path: Path) -> None:
    for name, data in (("w.pth", b"hello"), ("w.safetensors", b"\x00" * 20), ("w.txt", b"")):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match="cannot be read as PyTorch weights"):
        import_weights(tmp_path / "w.pth", "mlp", tmp_path / "bundle", MLP)
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        import_weights(tmp_path / "w.safetensors", "mlp", tmp_path / "bundle", MLP)
    with pytest.raises(DataError, match=r"not from '\.txt'"):
        import_weights(tmp_path / "w.txt", "mlp", tmp_path / "bundle", MLP)
    with pytest.raises(DataError, match="no such file"):
        import_weights(tmp_path / "gone.pth", "mlp", tmp_path / "bundle", MLP)


def test_mistakes_are_said_before_the_file_is_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone.safetensors"
    with pytest.raises(UnknownName, match="mpl"):
        import_weights(gone, "mpl", tmp_path / "bundle", MLP)
    with pytest.raises(ConfigError, match="hiden_sizes"):
        import_weights(gone, "mlp", tmp_path / "bundle", {"hiden_sizes": [5]})
    with pytest.raises(ConfigError, match="out_features=7, but the data has 2"):
        import_weights(gone, "mlp", tmp_path / "bundle", {**MLP, "out_features": 7})
    with pytest.raises(UnknownName):
        import_weights(gone, "mlp", tmp_path / "bundle", {**MLP, "task": "classificaton"})
    (tmp_path / "there").mkdir()
    with pytest.raises(DiskError, match="is there already"):
        import_weights(gone, "mlp", tmp_path / "there", MLP)


def test_one_number_is_the_size_of_square_pictures(tmp_path: Path) -> None:
    settings = {"image_size": (8, 8), "in_channels": 1, "num_classes": 3, "stages": ((4,), (6,))}
    model = architectures.make(Choice.of({"name": "cnn", **settings}))
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    given = {"image_size": 8, "in_channels": 1, "classes": 3, "stages": [[4], [6]], "mean": 0.3}
    import_weights(tmp_path / "w.safetensors", "cnn", tmp_path / "bundle", given)
    found = same_weights(tmp_path / "bundle", model)
    assert found.record.facts.inputs == ImageInputs(channels=1, height=8, width=8, mean=(0.3,), std=(1.0,))


def test_facts_of_pictures() -> None:
    entry = architectures["cnn"]
    facts = facts_from(entry, {"image_size": 28, "in_channels": 3, "classes": 4, "mean": [0.1, 0.2, 0.3], "std": 0.5})
    assert facts.inputs == ImageInputs(channels=3, height=28, width=28, mean=(0.1, 0.2, 0.3), std=(0.5,) * 3)
    assert facts.classes == ("0", "1", "2", "3")
    with pytest.raises(ConfigError, match="mean has 2 numbers, but the pictures have 3 channels"):
        facts_from(entry, {"image_size": 28, "in_channels": 3, "mean": [0.1, 0.2]})
    with pytest.raises(ConfigError, match="image_size"):
        facts_from(entry, {"image_size": [28, 28, 3]})
    with pytest.raises(ConfigError, match="classes"):
        class_names("")
