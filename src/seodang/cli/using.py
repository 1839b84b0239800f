"""seodang predict, look, export, import: what is done with a trained model."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seodang.cli.command import DOWNLOAD, Debug, Json, Plugin, environment, load
from seodang.cli.display import write_json, write_lines
from seodang.core.errors import ConfigError
from seodang.core.language import say
from seodang.core.places import expanded

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=say("Folder of a run."))]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help=say(
            "Folder of a run, a checkpoint or a bundle, an exported file (.onnx, .pt2), or published weights: resnet50.imagenet."
        ),
    ),
]
Download = Annotated[bool, typer.Option("--download", help=say(
    "Fetch weights that are missing from their publisher without asking."))]  # fmt: skip


def predict(
    run: ModelArgument,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[RUN …] [INPUT …] [option=value …]", help=say(
        "What to answer about: pictures, rows, sentences. More runs before it are averaged. Options are written option=value."))] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1, help=say(
        "Text: how many tokens to write at most."))] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", metavar="T", min=0.0, help=say(
        "Text: below 1 more probable words, above 1 more surprising ones; 0 always takes the most probable."))] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", metavar="K", min=1, help=say(
        "Text: choose among the K most probable tokens."))] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", metavar="P", min=0.0, max=1.0, help=say(
        "Text: choose among the most probable tokens that together have probability P."))] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help=say("Decides what is drawn by chance."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s

    more = list(takewhile(_is_model, inputs or []))
    words, options = _options((inputs or [])[len(more) :])
    given = {"max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    options |= {name: value for name, value in given.items() if value is not None}
    stream = _Stream(words[0] if words else "") if len(words) < 2 and not machine else None
    runs = [expanded(name) for name in (run, *more)]
    with environment(DOWNLOAD, "1" if download else None):
        answers = api.predict(runs if more else runs[0], *words, stream=stream, **options)
    if stream and stream.used:
        print()
        return
    if machine:
        write_json([{"input": word, "text": answer.text, **answer.values}
                    for word, answer in zip(words or [""], answers, strict=True)])  # fmt: skip
        return
    for word, answer in zip(words or [""], answers, strict=True):
        print(f"{word}: {answer.text}" if len(words) > 1 else answer.text)


def _is_model(word: str) -> bool:
    """Return whether a word is the folder of a run or a bundle: another model, not an input."""
    return any((expanded(word) / name).is_file() for name in ("recipe.toml", "model.json"))


class _Stream:
    """Writes the pieces of one answer as they come, after what they continue."""

    def __init__(self, beginning: str) -> None:
        self.beginning, self.used = beginning, False

    def __call__(self, piece: str) -> None:
        print(piece if self.used else self.beginning + piece, end="", flush=True)
        self.used = True


def _options(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Part ``option=value`` from inputs. A file, or a text with a space, is an input even if it has an equals sign."""
    from seodang.core.config import parse_override

    inputs, options = [], {}
    for word in words:
        if re.fullmatch(r"[a-z][a-z_]*=\S+", word) and "," not in word and not Path(word).exists():
            (name,), value = parse_override(word)
            options[name] = value
        else:
            inputs.append(word)
    return inputs, options


def look(
    run: RunArgument,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT …]", help=say(
        "What to look at: pictures, rows, sentences. Default: examples of the run's own data. The word steps writes a page of one "
        "pass forward and backward, every number beside its formula; layers, field, filters and embeddings show those."))] = None,
    given: Annotated[list[str] | None, typer.Option("--input", metavar="INPUT", help=say(
        "An input; with steps also test:3, the fourth example of that split."))] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="ANSWER", help=say(
        "With steps: the right answer for an input that brings none."))] = None,
    layer: Annotated[str | None, typer.Option("--layer", metavar="PATH", help=say(
        "With a picture, field, filters or embeddings: the layer, as look RUN layers names it."))] = None,
    class_: Annotated[str | None, typer.Option("--class", metavar="NAME", help=say(
        "With a picture: the class to explain. Default: the likeliest."))] = None,
    unit: Annotated[str | None, typer.Option("--unit", metavar="ROW,COLUMN", help=say(
        "With field: the unit of the layer; channel,row,column for one channel alone."))] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="SPLIT", help=say(
        "With filters or embeddings: whose pictures. Default: the held-out ones."))] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DIR", help=say(
        "Where the pictures go. Default: figures/ in the run."))] = None,
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s

    words = [*(inputs or []), *(given or []), *([f"target={target}"] if target is not None else [])]
    named = {"layer": layer, "class": class_, "unit": unit, "split": split}
    words += [f"{name}={value}" for name, value in named.items() if value is not None]
    if target is not None and words[0] != "steps":
        raise ConfigError("--target goes with steps: seodang look RUN steps --target ANSWER")
    pictures = api.look(expanded(run), *words, to=expanded(to) if to else None)
    if machine:
        write_json({"run": run, "pictures": [str(path) for path in pictures]})
    else:
        write_lines(map(str, pictures))


def export(
    run: ModelArgument,
    to: Annotated[Literal["safetensors", "onnx", "torch", "torchvision", "timm", "huggingface"], typer.Option(
        "--to", metavar="FORMAT", help=say(
        "safetensors (a bundle), onnx, or torch (torch.export); torchvision, timm or huggingface: weights under their names."))],
    path: Annotated[str | None, typer.Option("--path", metavar="PATH", help=say(
        "Where to write. Default: export/FORMAT in the run."))] = None,
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s

    written = api.export(expanded(run), to, expanded(path) if path else None)
    if machine:
        write_json({"run": run, "format": to, "path": str(written)})
        return
    from seodang.deploy.export import told

    write_lines([str(written), *filter(None, [told(written)])])


def official_file(address: str) -> Path:
    """Return where the official file of published weights is; it is fetched if it is missing and the user agrees."""
    from seodang.data.download import Official, find_path  # lazy: 1 s
    from seodang.models.published import PUBLISHED

    official = PUBLISHED[address]
    return find_path(address, Official(official.name, official.url, official.most_bytes, official.sha256))


def _weights(file: str, name: str) -> tuple[Path, str]:
    """Return where the weights are and what they belong to: a file and a name, or what an address stands for."""
    from seodang.models.published import PUBLISHED  # lazy: 1 s

    if file in PUBLISHED and not expanded(file).exists():
        return official_file(file), name or file
    if not name:
        raise ConfigError("Say which model the weights belong to: --as resnet50. Addresses that need no --as: {known}",
                          known=", ".join(PUBLISHED))  # fmt: skip
    return expanded(file), name


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help=say(
        "A file with weights from elsewhere (.safetensors, or .pt, .pth and .bin of PyTorch), or an address: resnet50.imagenet."))],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help=say("The bundle to write; it must not exist yet."))],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help=say(
        "The model they belong to: seodang list models. Not needed with an address."))] = "",
    settings: Annotated[list[str] | None, typer.Argument(metavar="[key=value …]", help=say(
        "Settings of the model, and what is known of its data: classes=cat,dog image_size=28 …"))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang.core.config import override, parse_override
    from seodang.deploy.importing import import_weights  # lazy: 1 s

    values: dict[str, Any] = {}
    for word in settings or []:
        override(values, *parse_override(word))
    with environment(DOWNLOAD, "1" if download else None):
        path, name = _weights(file, name)
    notes = import_weights(path, name, expanded(to), values)
    if machine:
        write_json({"file": file, "model": name, "path": to, "notes": notes})
    else:
        write_lines([to, *notes])
