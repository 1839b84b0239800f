"""Readers of recipes, settings, what a run leaves behind, weights and bundles, with inputs made for them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors.torch import save as save_tensors

from seodang.core import files
from seodang.core.config import parse_override
from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, TokenInputs
from seodang.core.recipe import Choice
from seodang.core.run import RunFolder
from seodang.core.shipped import recipe_names, recipe_path, recipe_values
from seodang.models.base import architectures
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle, BundleRecord, bundle_files, read_tensors, ties
from seodang.training import checkpoint
from seodang.training.resolve import read_recipe, registry_of
from tests.reliability.fuzz import Reader
from tests.reliability.mutation import (
    NUMBERS,
    TEXT_TOKENS,
    json_of,
    mutate,
    mutate_tree,
    safetensors_of,
)
from tests.reliability.reader_inputs import put, texts, trees_and_texts

# --------------------------------------------------------------------------------- recipes and settings


def toml(tree: Any) -> bytes:
    return tomli_w.dumps(_writable(tree)).encode()


def _writable(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(key): _writable(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [_writable(value) for value in tree if value is not None]
    return tree


def resolved(recipe: Any) -> None:
    """Do with a recipe what every command does before it makes anything."""
    recipe.digest()
    for section in ("model", "data", "task", "optimizer"):
        registry_of(section).settings(getattr(recipe, section))


def recipes(folder: Path) -> Reader:
    trees = [recipe_values(name) for name in recipe_names()]
    small = {"name": "x", "model": "mlp", "data": "digits", "task": "classification", "optimizer": {"name": "sgd", "lr": 0.1},
             "train": {"steps": 3}, "seed": 1}  # fmt: skip
    words = (
        b"inf",
        b"nan",
        b"2020-01-01",
        b"07:32:00",
        b"[[",
        b"]]",
        b'"""',
        b"'''",
        b"[model]",
        b"train.",
        b"a.b.c = 1",
        b"0b1",
    )
    text = texts([recipe_path(name).read_bytes() for name in recipe_names()[:4]] + [toml(small)], words)
    tree = trees_and_texts([small, small, *trees], toml, words)
    path = folder / "recipe.toml"
    return Reader(
        lambda draw: (text if draw.random() < 0.3 else tree)(draw),
        lambda data: resolved(read_recipe(str(path))[0]),
        put(path),
    )


def settings(folder: Path) -> Reader:
    base = recipe_values("iris-mlp")
    seeds = [b"train.steps=200", b"optimizer.lr=0.1", b"model=mlp", b"model.hidden_sizes=[3, 4]", b"data.valid=0.1", b"seed=3",
             b"train={steps = 3}", b"task=classification", b"optimizer.betas=[0.9, 0.99]", b"train.batch_size=\"all\"",
             b"expected.scores.accuracy=1", b"model.name=\"cnn\"", b"data.path=a b.csv"]  # fmt: skip
    make = texts(
        seeds, (b".", b"train", b"name", b"=", b"inf", b"1e999", b"2020-01-01", b"model", b"__class__", b"{a=1}"), 3_000
    )

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")  # as the shell gives it
        parse_override(text)
        resolved(read_recipe(base, overrides=[text])[0])

    return Reader(make, read)


# ------------------------------------------------------------------------------- what a run leaves behind


def manifest(folder: Path) -> Reader:
    files.write_folder(
        folder / "whole", {"model.safetensors": b"x" * 100, "state.json": b"{}"}, {"step": 3, "threads": 1}
    )
    text = (folder / "whole" / files.MANIFEST).read_bytes()
    tree = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    path = folder / "whole" / files.MANIFEST

    def make(draw: random.Random) -> bytes:
        match draw.randrange(3):
            case 0:
                return mutate(draw, [text], TEXT_TOKENS)
            case 1:
                changed = mutate_tree(draw, [tree])
                head = json.dumps(changed, indent=1).removesuffix("\n}").encode()
            case _:
                head = mutate(draw, [text[:-78]], TEXT_TOKENS)
        return files._sealed(head)

    return Reader(make, lambda data: files.read_folder(path.parent), put(path))


def state(folder: Path) -> Reader:
    tensors = {"state/task/a": torch.zeros(2), "state/stream/b": torch.ones(1)}
    tree = {"step": 3, "seconds": 1.5, "finished": False, "reason": "", "scores": {"accuracy": 0.5}, "best": None,
            "task": {"a": {"$tensor": "state/task/a"}}, "stream": [{"$tensor": "state/stream/b"}, 1], "window": {"losses": [0.1]}}  # fmt: skip
    make = trees_and_texts([tree], json_of, (b'"$tensor"', b"NaN", b"1e999"))
    return Reader(make, lambda data: checkpoint._read_state(data, tensors, Path("state.json")))


EVENTS = (
    {"event": "started", "step": 0, "total_steps": 9, "choices": {"device": "cpu"}},
    {"event": "progress", "step": 3, "losses": {"loss": 1.5}, "examples_per_second": 10.0},
    {"event": "evaluated", "step": 4, "scores": {"accuracy": 0.5}, "split": "valid"},
    {"event": "saved", "step": 4, "path": "step-000000004", "best": True},
    {"event": "stopped", "step": 9, "finished": True, "result": {}},
)


def run_folder(folder: Path, name: str) -> RunFolder:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "recipe.toml").write_bytes(b'name = "x"')
    return RunFolder(folder)


def events(folder: Path) -> Reader:
    run = run_folder(folder, "events")
    seeds = [
        b"\n".join(map(json_of, EVENTS)) + b"\n",
        b"\n".join(map(json_of, (*EVENTS[:4], *EVENTS))) + b'\n{"event": "prog',
    ]
    text = texts(seeds, (b'"event"', b'"step"', b"NaN", b'"scores"', b"1e999"))

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return text(draw)
        return b"\n".join(json_of(mutate_tree(draw, EVENTS)) for _ in range(draw.randrange(1, 4))) + b"\n"

    return Reader(
        make, lambda data: (run.events, run.scores, run.status, run.is_complete), put(folder / "events.jsonl")
    )


def result(folder: Path) -> Reader:
    run = run_folder(folder, "result")
    (folder / "events.jsonl").write_bytes(b"\n".join(map(json_of, EVENTS)) + b"\n")
    tree = {
        "scores": {"accuracy": 0.5},
        "seconds": 1.5,
        "steps": 9,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    make = trees_and_texts([tree], json_of, (b'"scores"', b"NaN"))
    return Reader(make, lambda data: (run.result, run.scores, run.status, run.is_complete), put(folder / "result.json"))


# ---------------------------------------------------------------------------------- weights and bundles


def safetensors(folder: Path) -> Reader:
    whole = save_tensors(
        {"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16), "n": torch.tensor(3)}
    )
    length = int.from_bytes(whole[:8], "little")
    header, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    kinds = (
        b'"F4"',
        b'"F8_E8M0"',
        b'"C64"',
        b'"BOOL"',
        b'"U64"',
        b'"F6_E2M3"',
        b'"__metadata__"',
        b'"dtype"',
        b"[0,0]",
        b"18446744073709551615",
    )

    def make(draw: random.Random) -> bytes:
        match draw.randrange(4):
            case 0:
                return mutate(draw, [whole], (*TEXT_TOKENS, *kinds))
            case 1:
                return safetensors_of(json_of(mutate_tree(draw, [header])), content)
            case 2:
                tree = json.loads(json.dumps(header))
                entry = tree[draw.choice(list(tree))]
                entry["dtype"] = draw.choice(("F4", "F8_E8M0", "F8_E4M3", "C64", "BOOL", "U8", "F64", "F6_E3M2", "I64"))
                entry["shape"] = [draw.choice((0, 1, 2, 3, 2**31, 2**62, *NUMBERS)) for _ in range(draw.randrange(4))]
                return safetensors_of(json_of(tree), content)
            case _:
                return safetensors_of(mutate(draw, [whole[8 : 8 + length]], (*TEXT_TOKENS, *kinds)), content)

    return Reader(make, lambda data: read_tensors(data, Path("model.safetensors")))


def bundles() -> list[tuple[BundleRecord, bytes]]:
    """Return a record of every kind of model with weights that fit."""
    image = ImageInputs(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))
    made = []
    for model, inputs, task, classes in (
        ({"name": "mlp", "hidden_sizes": (3,)}, image, "classification", ("a", "b")),
        ({"name": "gpt", "num_layers": 1, "num_heads": 1, "embed_dim": 4}, TokenInputs(vocab_size=5, length=4), "language-modeling", None),
        ({"name": "mlp", "hidden_sizes": ()}, TableInputs(columns=(Column(name="x", kind="number"),)), "classification", ("a", "b")),
        ({"name": "vae", "latent_dim": 2, "hidden_sizes": (3,)}, image, "vae", None),
    ):  # fmt: skip
        facts = Facts(inputs=inputs, classes=classes, sizes={"train": 3})
        choice = Choice.of(model)
        config = architectures.settings(choice, facts.known())
        record = BundleRecord(
            model=Choice.of({"name": choice.name, **config.values()}), task=Choice(name=task), facts=facts
        )
        model_made = architectures.make(choice, facts.known())
        made.append((record, bundle_files(model_made.state_dict(), ties(model_made), record)[WEIGHTS]))
    return made


def bundle(folder: Path) -> Reader:
    made = bundles()
    weights = [data for _, data in made]
    trees = [json.loads(json.dumps(record.values())) for record, _ in made]
    path = folder / "bundle"
    path.mkdir()

    def make(draw: random.Random) -> bytes:
        """Give which weights, and the record beside them."""
        which = draw.randrange(len(trees))
        if draw.random() < 0.7:
            return bytes([which]) + json_of(mutate_tree(draw, [trees[which]]))
        return bytes([which]) + mutate(draw, [json_of(trees[which])], TEXT_TOKENS)

    def place(data: bytes) -> None:
        content = {WEIGHTS: weights[data[0] % len(weights)], SETTINGS: data[1:]}
        for name, item in content.items():
            (path / name).write_bytes(item)
        entries = {name: {"bytes": len(item), "sha256": files._digests(item)} for name, item in content.items()}
        (path / files.MANIFEST).write_bytes(files._manifest({"files": entries}))

    return Reader(make, lambda data: Bundle.read(path), place)
