"""Trainings with a planted illness, and sound ones: tiny recipes on real digits (8×8, as rows of numbers), seconds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

import seodang as sd
from seodang.core.errors import SeodangError
from seodang.core.inputs import Facts, Target, VectorInputs
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset, MemoryExamples, TableBatch, datasets, generator
from seodang.diagnosis.finding import Diagnosis
from seodang.models.base import architectures
from seodang.models.mlp import MLP, MLPConfig


class ClinicConfig(sd.Config):
    """What is done to the data."""

    kind: Literal["digits", "spirals", "quantity"] = "digits"
    """Which data."""
    train: int = Field(800, gt=0)
    """Training examples."""
    flipped: float = 0.0
    """Share of labels replaced by another class."""
    shuffled: bool = False
    """Answers in an order of their own."""
    times: float = 1.0
    """What every input is multiplied by."""
    plus: float = 0.0
    """What is added to every input."""
    dominant: float = 1.0
    """What input 30 is multiplied by."""
    rare: float = 0.0
    """Of two classes (digits below five, and the others) the share of the second; 0 = ten classes."""
    copied: float = 0.0
    """Share of held-out examples taken from training."""
    noise_columns: int = 0
    """Inputs that say nothing."""


@datasets.register({"clinic": ClinicConfig()})
class Clinic(Dataset):
    """Digits, spirals or a quantity, ill on demand.

    Source: digits of scikit-learn; two spirals Lang & Witbrock 1988.
    """

    kinds = ("classification", "regression")
    settings: ClinicConfig

    def prepare(self) -> None:
        wanted, drawn = self.settings, generator("clinic", self.seed)
        inputs, answers = self._made(drawn)
        order = torch.randperm(len(inputs), generator=drawn)
        inputs, answers = inputs[order], answers[order]
        if wanted.rare:
            answers = (answers >= 5).long()
            keep = torch.cat([(answers == 0).nonzero()[:, 0], (answers == 1).nonzero()[:, 0]])
            few = round(wanted.rare * int((answers == 0).sum()))
            keep = keep[: int((answers == 0).sum()) + few]
            keep = keep[torch.randperm(len(keep), generator=drawn)]
            inputs, answers = inputs[keep], answers[keep]
        if wanted.noise_columns:
            inputs = torch.cat([inputs, torch.randn(len(inputs), wanted.noise_columns, generator=drawn)], 1)
        count = min(wanted.train, len(inputs) - 200)
        self._parts = {"train": torch.arange(count), "valid": torch.arange(count, min(count + 300, len(inputs)))}
        if wanted.flipped:
            classes = int(answers.max()) + 1
            chosen = torch.rand(len(answers), generator=drawn) < wanted.flipped
            other = (answers + torch.randint(1, classes, (len(answers),), generator=drawn)) % classes
            answers = torch.where(chosen, other, answers)
        if wanted.shuffled:
            answers = answers[torch.randperm(len(answers), generator=drawn)]
        if wanted.copied:
            held_out = self._parts["valid"]
            held_out[: round(wanted.copied * len(held_out))] = torch.arange(round(wanted.copied * len(held_out)))
        inputs = inputs * wanted.times + wanted.plus
        if wanted.dominant != 1:
            inputs[:, 30] *= wanted.dominant
        self._inputs, self._answers = inputs, answers
        quantity = answers.is_floating_point()
        self.facts = Facts(
            inputs=VectorInputs(size=inputs.shape[1]),
            classes=None if quantity else tuple(map(str, range(int(answers.max()) + 1))),
            targets=(Target(name="y"),) if quantity else (),
            sizes={name: len(rows) for name, rows in self._parts.items()}, digest=f"{wanted} {self.seed}",
        )  # fmt: skip

    def _made(self, drawn: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        if self.settings.kind == "digits":
            import sklearn.datasets

            loaded = sklearn.datasets.load_digits()
            inputs = torch.tensor(loaded.data, dtype=torch.float32)
            spread = inputs.std(0)
            return (inputs - inputs.mean(0)) / torch.where(spread > 0.3, spread, 1.0), torch.tensor(
                loaded.target
            ).long()
        if self.settings.kind == "quantity":
            inputs = torch.randn(1300, 4, generator=drawn)
            answers = (2 * inputs[:, :1]).sin() + inputs[:, 1:2] * inputs[:, 2:3]
            answers = answers + 0.1 * torch.randn(len(answers), 1, generator=drawn)
            return inputs, (answers - answers.mean()) / answers.std()
        turn = torch.rand(1300, generator=drawn).sqrt() * 3 * torch.pi
        side = torch.randint(0, 2, (1300,), generator=drawn)
        angle = turn + side * torch.pi
        place = torch.stack([turn * angle.cos(), turn * angle.sin()], 1) / 5
        return place + 0.02 * torch.randn(1300, 2, generator=drawn), side

    def split(self, name: str) -> MemoryExamples:
        rows = self._parts[name]
        return MemoryExamples(TableBatch, self._inputs[rows], self._answers[rows])


class SickConfig(MLPConfig):
    """An MLP with first weights that are ill."""

    first_bias: float = 0.0
    """Bias of the hidden layers."""
    enlarged: float = 1.0
    """What the weights of the hidden layers are multiplied by."""


@architectures.register({"sick-mlp": SickConfig()})
class SickMLP(MLP):
    """An MLP with first weights that are ill.

    Source: as MLP.
    """

    def __init__(self, config: SickConfig) -> None:
        super().__init__(config)
        with torch.no_grad():
            for module in list(self.layers)[:-1]:
                if isinstance(module, nn.Linear):
                    module.bias.fill_(config.first_bias)
                    module.weight.mul_(config.enlarged)


class Case(NamedTuple):
    """A training, and the illness that was planted (None: sound)."""

    name: str
    illness: str | None
    recipe: Any
    settings: dict[str, Any]


def made(name: str, illness: str | None, model: dict[str, Any] | None = None, data: dict[str, Any] | None = None,
         optimizer: dict[str, Any] | None = None, task: Any = "classification", **train: Any) -> Case:  # fmt: skip
    length = {} if {"epochs", "steps"} & set(train) else {"epochs": 12}
    return Case(name, illness, {
        "name": name, "model": {"name": "mlp", "hidden_sizes": [64], **(model or {})}, "data": {"name": "clinic", **(data or {})},
        "task": task, "optimizer": {"name": "adam", "lr": 0.003, **(optimizer or {})},
        "train": {"batch_size": 32, "log_every": 5, "threads": 1, **length, **train},
    }, {})  # fmt: skip


def shipped(name: str, illness: str | None, recipe: str, **settings: Any) -> Case:
    return Case(name, illness, recipe, {"train.threads": 1, "train.log_every": 10, **settings})


DEEP = [32] * 12
GPT = {"name": "gpt", "num_layers": 2, "num_heads": 2, "embed_dim": 32, "tied": False, "init_std": 0.05}
TEXT = "to be or not to be that is the question whether tis nobler in the mind to suffer the slings and arrows "
"""What a small language model reads, with changes drawn from a seed: see `text_file`."""


def gpt(name: str, illness: str | None, lr: float, **train: Any) -> Case:
    return Case(name, illness, {
        "name": name, "model": GPT, "data": {"name": "text", "path": "TEXT", "context": 32}, "task": "language-modeling",
        "optimizer": {"name": "adamw", "lr": lr, "betas": [0.9, 0.99], "schedule": "cosine", "warmup": 0.1},
        "train": {"steps": 150, "batch_size": 16, "log_every": 5, "evaluate_every": 50, "threads": 1, "clip": 1.0, **train},
    }, {})  # fmt: skip


def gan(
    name: str,
    illness: str | None,
    lr: float,
    beta: float,
    generator: list[int],
    discriminator: list[int],
    epochs: int = 8,
) -> Case:
    return Case(name, illness, {
        "name": name, "data": "digits", "task": {"name": "gan", "judge": None, "samples": 200},
        "model": {"name": "dcgan", "latent_dim": 8, "generator_channels": generator, "discriminator_channels": discriminator},
        "optimizer": {"name": "adam", "lr": lr, "betas": [beta, 0.999]},
        "train": {"epochs": epochs, "batch_size": 64, "threads": 1, "log_every": 10, "evaluate_every": 20}}, {})  # fmt: skip


PLANTED = [
    made("deep-sigmoid", "vanishing-gradients", {"hidden_sizes": DEEP, "activation": "sigmoid", "init": "xavier"},
         optimizer={"name": "sgd", "lr": 0.1}),
    made("deep-small-weights", "vanishing-gradients", {"hidden_sizes": DEEP, "init": "normal"}, optimizer={"name": "sgd", "lr": 0.1}),
    made("deep-linear-growing", "exploding-gradients", {"hidden_sizes": [32] * 30, "activation": "identity", "init": "he"},
         optimizer={"name": "sgd", "lr": 1e-9}, epochs=3),
    made("rate-times-1000", "rate-too-high", optimizer={"lr": 3.0}),
    made("sgd-rate-times-1000", "divergence", {"hidden_sizes": [64, 64]}, optimizer={"name": "sgd", "lr": 50.0}),
    made("rate-over-1000", "rate-too-low", optimizer={"lr": 3e-6}),
    made("sgd-rate-over-1000", "rate-too-low", optimizer={"name": "sgd", "lr": 5e-5}),
    made("zero-weights", "units-alike", {"hidden_sizes": [32, 32], "init": "zero"}),
    made("labels-flipped", "label-noise", data={"flipped": 0.3}),
    made("labels-shuffled", "labels-unrelated", data={"shuffled": True}),
    made("quantities-shuffled", "labels-unrelated", data={"kind": "quantity", "shuffled": True}, task="regression"),
    made("inputs-constant", "inputs-constant", data={"times": 0.0, "plus": 1.0}),
    made("inputs-unscaled", "inputs-not-normalised", data={"times": 80.0, "plus": 120.0}),
    made("inputs-faint", "inputs-not-normalised", data={"times": 1e-3}),
    made("one-input-dominates", "inputs-not-normalised", data={"dominant": 500.0}),
    made("one-in-a-hundred", "class-imbalance", data={"rare": 0.01}),
    made("few-examples-many-weights", "over-fitting", {"hidden_sizes": [256, 256]}, {"train": 120, "noise_columns": 200}, epochs=40, evaluate_every=20),
    made("noisy-labels-by-heart", "over-fitting", {"hidden_sizes": [512]}, {"train": 400, "flipped": 0.3}, epochs=40),
    made("spirals-by-a-line", "under-fitting", {"name": "linear", "hidden_sizes": []}, {"kind": "spirals"}),
    made("one-hidden-unit", "under-fitting", {"hidden_sizes": [1]}, optimizer={"lr": 0.01}, epochs=30),
    made("quantity-by-a-plane", "under-fitting", {"name": "linear", "hidden_sizes": []}, {"kind": "quantity"}, task="regression"),
    made("large-negative-bias", "dead-units", {"name": "sick-mlp", "first_bias": -30.0}),
    made("dead-by-a-huge-rate", "dead-units", {"hidden_sizes": [64, 64]}, optimizer={"lr": 1.0}),
    made("large-first-weights", "saturation", {"name": "sick-mlp", "activation": "tanh", "enlarged": 20.0}),
    made("sigmoid-on-raw-inputs", "saturation", {"activation": "sigmoid"}, {"times": 100.0}),
    made("rate-dropped-too-early", "plateau", optimizer={"name": "sgd", "lr": 0.02, "schedule": "step", "drop_at": [0.1], "drop": 0.01}),
    made("momentum-0.999", "momentum-too-high", optimizer={"name": "momentum", "lr": 0.05, "momentum": 0.999}),
    made("clip-of-nothing", "clip-too-small", optimizer={"name": "sgd", "lr": 0.1}, clip=1e-3),
    made("test-from-training", "test-in-training", data={"copied": 0.3}),
    made("one-example-at-a-time", "batch-too-small", {"hidden_sizes": [32]}, {"flipped": 0.3}, {"name": "sgd", "lr": 0.1}, batch_size=1,
         epochs=1),
    gpt("gpt-rate-times-100", "rate-too-high", 1.0),
    gpt("gpt-rate-over-1000", "rate-too-low", 1e-6),
    Case("vae-of-huge-beta", "posterior-collapse", {
        "name": "vae", "model": {"name": "vae", "latent_dim": 8, "hidden_sizes": [64]}, "data": "digits", "task": {"name": "vae", "beta": 100.0},
        "optimizer": {"name": "adam", "lr": 0.003}, "train": {"epochs": 6, "batch_size": 64, "log_every": 5, "threads": 1}}, {}),
    gan("gan-generator-of-one-channel", "discriminator-wins", 0.002, 0.9, [1, 1], [64, 128]),
    gan("gan-rate-times-100", "mode-collapse", 0.1, 0.9, [32, 16], [2]),
    made("no-warm-up", "rate-too-high", {"hidden_sizes": [64, 64, 64]}, optimizer={"lr": 0.2, "schedule": "cosine"}),
    made("quantity-diverging-slowly", "divergence", {"name": "linear", "hidden_sizes": []}, {"kind": "quantity"}, {"name": "sgd", "lr": 1.02},
         task="regression", epochs=3),
    shipped("agent-that-does-not-learn", "return-not-rising", "cartpole-dqn", **{
        "optimizer.lr": 1e-9, "train.steps": 400, "train.evaluate_every": 100, "data.valid": 10}),
]  # fmt: skip

HEALTHY = [
    shipped("iris", None, "iris-mlp"),
    shipped("digits-mlp", None, "digits-mlp", **{"train.epochs": 15}),
    shipped("digits-cnn", None, "digits-cnn", **{"train.epochs": 6}),
    shipped("diabetes", None, "diabetes-mlp"),
    shipped("breast-cancer", None, "table-mlp", **{"train.epochs": 15}),
    shipped("wine", None, "table-mlp", **{"data.name": "wine", "train.epochs": 30}),
    shipped("xor", None, "mlp-xor"),
    shipped("and", None, "perceptron-and"),
    made("adam", None),
    made("sgd", None, optimizer={"name": "sgd", "lr": 0.1}),
    made("nesterov", None, optimizer={"name": "nesterov", "lr": 0.02, "schedule": "cosine"}),
    made("rmsprop", None, optimizer={"name": "rmsprop", "lr": 0.001}),
    made("tanh", None, {"activation": "tanh", "hidden_sizes": [64, 64], "init": "xavier"}),
    made("sigmoid", None, {"activation": "sigmoid"}, optimizer={"lr": 0.01}),
    made("six-layers-normalised", None, {"hidden_sizes": [64] * 6, "normalization": "layer"}),
    made("steps", None, optimizer={"name": "momentum", "lr": 0.02, "schedule": "step"}),
    made("smoothing-and-dropout", None, {"dropout": 0.2}, task={"name": "classification", "smoothing": 0.1}),
    made("quantity", None, {"hidden_sizes": [64, 64]}, {"kind": "quantity"}, task="regression", epochs=30),
    made("spirals", None, {"hidden_sizes": [64, 64]}, {"kind": "spirals"}, optimizer={"lr": 0.01}, epochs=30),
    gpt("gpt", None, 0.003),
    gan("gan", None, 0.001, 0.5, [32, 16], [16, 32], epochs=12),
    Case("vae", None, {
        "name": "vae", "model": {"name": "vae", "latent_dim": 8, "hidden_sizes": [64]}, "data": "digits", "task": "vae",
        "optimizer": {"name": "adam", "lr": 0.003}, "train": {"epochs": 6, "batch_size": 64, "log_every": 5, "threads": 1}}, {}),
]  # fmt: skip


def text_file(folder: Path, seed: int) -> Path:
    """Write a text in which words come in an order drawn from the seed."""
    words = TEXT.split()
    order = torch.randint(0, len(words), (6000,), generator=generator("text", seed)).tolist()
    path = folder / "words.txt"
    path.write_text(" ".join(words[place] for place in order))
    return path


def examined(case: Case, folder: Path, seed: int = 0) -> tuple[Diagnosis, RunFolder]:
    """Train a case and ask the doctor; a training that fails is a training all the same."""
    recipe = case.recipe
    if (
        isinstance(recipe, dict)
        and recipe["data"]
        and isinstance(recipe["data"], dict)
        and recipe["data"].get("path") == "TEXT"
    ):
        recipe = {**recipe, "data": {**recipe["data"], "path": str(text_file(folder, seed))}}
    try:
        sd.train(recipe, run=folder / "run", seed=seed, **case.settings)
    except SeodangError:
        if not (folder / "run" / "events.jsonl").is_file():
            raise
    return sd.doctor(folder / "run"), RunFolder(folder / "run")
