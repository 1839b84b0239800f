"""Claim: Seodang's loop takes at most 0.9 times what a hand-written PyTorch loop with a `DataLoader` takes.

The same model, data, batch size, optimizer, schedule and evaluation after every epoch, in turns in one process;
the ratio is of medians. Lightning, the Hugging Face Trainer and Keras on torch take part where they are installed
(extra `peers`). Training time excludes evaluation on both sides, and saving on ours (the others save nothing).
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import seodang as sd
from seodang.training.assemble import Assembly, assemble
from seodang.training.resolve import read_recipe

os.environ.setdefault("KERAS_BACKEND", "torch")

EPOCHS = {"digits-cnn": 20, "mnist-mlp": 3}
ROUNDS = {"digits-cnn": 7, "mnist-mlp": 5}


class Outcome(NamedTuple):
    seconds: float
    accuracy: float


def setting(name: str, seed: int) -> dict[str, Any]:
    """Return the recipe without augmentation and averaging, so that every side does the same work."""
    recipe, _ = read_recipe(name, None, (), {
        "train.epochs": EPOCHS[name], "train.save_every": 0, "train.precision": "float32", "seed": seed,
        "data.augment": (), "task.smoothing": 0.0,
        "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.0},
    })  # fmt: skip
    values = recipe.written()
    for key in ("average", "clip", "patience"):
        values["train"].pop(key, None)
    values["optimizer"] = {key: value for key, value in values["optimizer"].items()
                           if key in ("name", "lr", "weight_decay", "schedule")}  # fmt: skip
    return values


def tensors(parts: Assembly, split: str) -> tuple[Tensor, Tensor]:
    examples = parts.data.split(split)
    images, labels = examples.batch(torch.arange(len(examples)), None)
    return images, labels


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(part).argmax(1) == target).sum()) for part, target in
                    zip(images.split(256), labels.split(256), strict=True))  # fmt: skip
    model.train()
    return right / len(labels)


def seodang(values: dict[str, Any]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        run = sd.train(values, run=Path(folder) / "run")
        assert run.result is not None
        last = [event for event in run.events if event["event"] == "evaluated"][-2]
        return Outcome(run.result["train_seconds"], last["scores"]["accuracy"])


def hand_written(values: dict[str, Any]) -> Outcome:
    """The loop of every tutorial."""
    parts = assemble(sd.Recipe.of(values))
    train, held = tensors(parts, "train"), tensors(parts, _watched(parts))
    size, epochs = values["train"]["batch_size"], int(values["train"]["epochs"])
    loader = DataLoader(TensorDataset(*train), batch_size=size, shuffle=True)
    model, chosen = parts.model, values["optimizer"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen["lr"], weight_decay=chosen["weight_decay"])
    total = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2)
    seconds, score = 0.0, 0.0
    for _ in range(epochs):
        began = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - began
        score = accuracy(model, *held)
    return Outcome(seconds, score)


def lightning(values: dict[str, Any]) -> Outcome:
    import logging
    import warnings

    import lightning as pl

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    parts = assemble(sd.Recipe.of(values))
    train, held = tensors(parts, "train"), tensors(parts, _watched(parts))
    chosen, epochs = values["optimizer"], int(values["train"]["epochs"])
    loader = DataLoader(TensorDataset(*train), batch_size=values["train"]["batch_size"], shuffle=True)
    total = epochs * len(loader)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = parts.model

        def training_step(self, batch: Any, index: int) -> Tensor:
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=chosen["lr"], weight_decay=chosen["weight_decay"])
            rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2)
            return [optimizer], [{"scheduler": rate, "interval": "step"}]

    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    module = Module()
    began = time.perf_counter()
    trainer.fit(module, loader)
    return Outcome(time.perf_counter() - began, accuracy(parts.model, *held))


def huggingface(values: dict[str, Any]) -> Outcome:
    from transformers import Trainer, TrainingArguments
    from transformers.utils import logging

    logging.set_verbosity_error()
    parts = assemble(sd.Recipe.of(values))
    train, held = tensors(parts, "train"), tensors(parts, _watched(parts))
    chosen = values["optimizer"]

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = parts.model

        def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(self.model(images), labels)}

    class Rows(TensorDataset):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            images, labels = super().__getitem__(index)
            return {"images": images, "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=int(values["train"]["epochs"]), per_device_train_batch_size=values["train"]["batch_size"],
            learning_rate=chosen["lr"], weight_decay=chosen["weight_decay"], lr_scheduler_type="cosine", use_cpu=True,
            save_strategy="no", report_to=[], disable_tqdm=True, logging_steps=10**9,
        )  # fmt: skip
        trainer = Trainer(Wrapped(), arguments, train_dataset=Rows(*train))
        began = time.perf_counter()
        trainer.train()
        return Outcome(time.perf_counter() - began, accuracy(parts.model, *held))


def keras(values: dict[str, Any]) -> Outcome:
    import keras as k

    parts = assemble(sd.Recipe.of(values))
    train, held = tensors(parts, "train"), tensors(parts, _watched(parts))
    chosen, epochs, size = values["optimizer"], int(values["train"]["epochs"]), values["train"]["batch_size"]
    with k.device("cpu"):
        inputs = k.Input(shape=tuple(train[0].shape[1:]))
        model = k.Model(inputs, k.layers.TorchModuleWrapper(parts.model, output_shape=(10,))(inputs))
    rate = k.optimizers.schedules.CosineDecay(chosen["lr"], epochs * math.ceil(len(train[0]) / size))
    model.compile(k.optimizers.AdamW(rate, weight_decay=chosen["weight_decay"]),
                  k.losses.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
    images, labels = train[0].numpy(), train[1].numpy()
    began = time.perf_counter()
    model.fit(images, labels, batch_size=size, epochs=epochs, verbose=0)
    return Outcome(time.perf_counter() - began, accuracy(parts.model, *held))


def _watched(parts: Assembly) -> str:
    return "valid" if "valid" in parts.data.facts.sizes else "test"


def sides() -> dict[str, Callable[[dict[str, Any]], Outcome]]:
    found: dict[str, Callable[[dict[str, Any]], Outcome]] = {"Seodang": seodang, "hand-written": hand_written}
    peers = (
        ("Lightning", "lightning", lightning),
        ("HF Trainer", "transformers", huggingface),
        ("Keras", "keras", keras),
    )
    for name, package, side in peers:
        try:
            __import__(package)
        except ImportError:
            print(f"{name}: not installed (pip install 'seodang[peers]'); left out")
        else:
            found[name] = side
    return found


def main() -> None:
    taking_part = sides()
    for recipe, rounds in ROUNDS.items():
        outcomes: dict[str, list[Outcome]] = {name: [] for name in taking_part}
        for round_ in range(rounds + 1):  # the first warms up and is not counted
            for name, side in taking_part.items():
                outcome = side(setting(recipe, round_))
                if round_:
                    outcomes[name].append(outcome)
        print(f"{recipe}, {EPOCHS[recipe]} epochs, float32, median of {rounds} rounds in turns")
        ours = statistics.median(outcome.seconds for outcome in outcomes["Seodang"])
        for name, found in outcomes.items():
            seconds = [outcome.seconds for outcome in found]
            score = statistics.mean(outcome.accuracy for outcome in found)
            median = statistics.median(seconds)
            print(f"  {name:13} {median:7.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})  accuracy {score:.2%}"
                  f"  Seodang takes {ours / median:.2f} x")  # fmt: skip


if __name__ == "__main__":
    main()
