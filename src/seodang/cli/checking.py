"""seodang check: is this recipe, this run, this data, this machine in order?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, MISTAKE, Debug, Json, Plugin, environment, load
from seodang.cli.display import byte_count, write_json, write_lines
from seodang.cli.layout import columns, screen_width
from seodang.core.errors import ConfigError, WeightsError
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.shipped import ladder_path

GOOD, BAD = "✓", "✗"


def check(
    target: Annotated[str | None, typer.Argument(metavar="[RECIPE|LADDER|RUN]", help=say(
        "A recipe, a ladder, or the folder of a run or bundle; without one, this machine."))] = None,
    settings: Annotated[list[str] | None, typer.Argument(metavar="[section.key=value …]", help=say(
        "Changes to the recipe, or settings of the data."))] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH", help=say(
        "A folder or file to look through before anything is trained on it."))] = None,
    measure: Annotated[bool, typer.Option("--measure", help=say(
        "Train the recipe anew and compare with what it promises; run a ladder."))] = False,
    write: Annotated[bool, typer.Option("--write", help=say(
        "With --measure: write the result into the recipe's file; of a ladder also its page."))] = False,
    at_least: Annotated[list[str] | None, typer.Option("--at-least", metavar="NAME=VALUE", help=say(
        "With --write: what later measurements must reach, for example accuracy=0.97."))] = None,
    at_most: Annotated[list[str] | None, typer.Option("--at-most", metavar="NAME=VALUE", help=say(
        "With --write: what later measurements must not exceed, for example minutes=1."))] = None,
    augment: Annotated[list[str] | None, typer.Option("--augment", metavar="NAMES", help=say(
        "With a run: do its classes survive these augmentations? For example flip,rotate, a list as in a recipe, or all."))] = None,
    plugin: Plugin = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    if (write or at_least or at_most) and not measure:
        raise ConfigError("--write, --at-least and --at-most belong to --measure: only measured numbers are written.")
    if target is not None and data is None and ladder_path(target) is not None:
        from seodang.cli.laddering import check_ladder

        if at_least or at_most:
            raise ConfigError("--at-least and --at-most are for recipes: a ladder promises nothing, it compares.")
        raise typer.Exit(check_ladder(target, settings or [], measure, write, plugin, machine))
    if augment is not None:
        from seodang.cli.safety import check_labels

        if target is None or not _is_folder(target) or settings or measure or data is not None:
            raise ConfigError("check --augment takes a run and nothing else: seodang check RUN --augment flip,rotate")
        check_labels(expanded(target), augment, machine)
        raise typer.Exit()
    if measure:
        from seodang.cli.measuring import check_promise

        _require_recipe(target, settings, data)
        assert target is not None
        promises = {"at_least": at_least or [], "at_most": at_most or []}
        raise typer.Exit(check_promise(target, write, promises, plugin, machine))
    if target and "=" in target and not Path(target).exists():
        settings = [target, *(settings or [])]
        target = None
    code = 0
    if data is not None:
        code = check_data(data, settings or [], machine)
    if target is None and data is None:
        check_machine(machine)
    elif target is not None and _is_folder(target):
        check_weights(expanded(target), machine)
    elif target is not None and data is None:
        check_recipe(target, settings or [], machine)
    elif target is not None:
        raise ConfigError("check: give a recipe or --data, not both; a recipe with other data: data.name=… data.path=…")
    raise typer.Exit(code)


def _require_recipe(target: str | None, settings: list[str] | None, data: str | None) -> None:
    if target is None or data is not None or settings:
        raise ConfigError("check --measure takes one recipe, unchanged: seodang check RECIPE --measure")


def _is_folder(target: str) -> bool:
    from seodang.core.shipped import recipe_names

    return target not in recipe_names() and (expanded(target).is_dir() or target.rstrip("/") != target)


def check_recipe(name: str, settings: list[str], machine: bool) -> None:
    """Validate a recipe against everything registered, with its data read and its model made."""
    from seodang.training.assemble import assemble  # lazy: 1 s
    from seodang.training.resolve import read_recipe

    recipe, notes = read_recipe(name, None, settings)
    with environment(DOWNLOAD, "look"):
        made = assemble(recipe)
    sizes = dict(made.data.facts.sizes)
    parameters = sum(weight.numel() for weight in made.model.parameters())
    if machine:
        write_json({"recipe": recipe.name, "ok": True, "parameters": parameters, "sizes": sizes,
                    "notes": [*notes, *made.data.facts.notes]})  # fmt: skip
        return
    counts = ", ".join(f"{split} {count:,}" for split, count in sizes.items())
    write_lines([
        say("{mark} recipe {name}: every setting is known and allowed", mark=GOOD, name=recipe.name),
        say("{mark} data {name}: {counts}", mark=GOOD, name=recipe.data.name, counts=counts or "–"),
        say("{mark} model {name}: {count:,} parameters", mark=GOOD, name=recipe.model.name, count=parameters),
        say("{mark} task {name} fits both", mark=GOOD, name=recipe.task.name),
        *notes, *made.data.facts.notes,
    ])  # fmt: skip


def check_weights(path: Path, machine: bool) -> None:
    """Read every byte of a run's checkpoints, or of a bundle, and compare it with its digest.

    Raises: WeightsError naming every folder that is not whole.
    """
    from seodang.core.files import MANIFEST
    from seodang.core.run import RunFolder, read_checkpoint

    run = None if (path / MANIFEST).is_file() else RunFolder(path)
    folders = run.checkpoints if run else [path]
    total, problems = 0, []
    for folder in folders:
        try:
            total += sum(map(len, read_checkpoint(folder).values()))
        except WeightsError as error:
            problems.append(str(error))
    if problems:
        raise WeightsError("{path}: {bad} of {count} are not whole.\n{problems}", path=path, bad=len(problems),
                           count=len(folders), problems="\n".join(problems))  # fmt: skip
    best = run.best.name if run and run.best else None
    if machine:
        write_json(
            {"path": str(path), "ok": True, "whole": [folder.name for folder in folders], "bytes": total, "best": best}
        )
    elif run:
        print(say("{mark} {path}: {count} checkpoints, {size}, every byte as written; the best is {best}", mark=GOOD,
                  path=path, count=len(folders), size=byte_count(total), best=best or "–"))  # fmt: skip
    else:
        print(say("{mark} {path}: {size}, every byte as written", mark=GOOD, path=path, size=byte_count(total)))


def check_data(path: str, settings: list[str], machine: bool) -> int:
    """Look through data the way training would, and say what to mend; return the exit code."""
    from seodang.core.config import parse_override
    from seodang.data.inspect import inspect  # lazy: 1 s

    values = {keys[-1]: value for keys, value in map(parse_override, settings)}
    findings = list(inspect(expanded(path), values))
    wrong = any(finding.level == "error" for finding in findings)
    if machine:
        write_json({"data": path, "ok": not wrong, "findings": [finding._asdict() for finding in findings]})
        return MISTAKE if wrong else 0
    marks = {"error": BAD, "warning": "!", "note": "·"}
    rows = [(marks.get(str(finding.level), "·"), str(finding.where or ""), finding.message) for finding in findings]
    write_lines(columns(rows, screen_width()))
    if not wrong:
        print(say("{mark} {path}: can be trained on", mark=GOOD, path=path))
    return MISTAKE if wrong else 0


def check_machine(machine_readable: bool) -> None:
    """Say what this machine has, where data is looked for and where runs go."""
    import os
    from importlib.util import find_spec

    from seodang import __version__
    from seodang.core.files import bytes_free
    from seodang.core.run import runs_folder
    from seodang.training.devices import has_fast_bfloat16, machine  # lazy: 1 s

    facts: dict[str, Any] = {"seodang": __version__, **machine()}
    kind = "cuda" if facts["cuda"] and _gpus() else "cpu"
    facts |= {
        "gpus": _gpus(),
        "bfloat16": has_fast_bfloat16(kind),
        "data": os.environ.get("SEODANG_DATA"),
        "runs": str(runs_folder()),
        "free_bytes": bytes_free(runs_folder().absolute()),
        "extras": {extra: all(find_spec(module) for module in modules) for extra, modules in EXTRAS.items()},
    }
    if machine_readable:
        write_json(facts)
        return
    missing = [extra for extra, there in facts["extras"].items() if not there]
    rows = [
        ("seodang", f"{__version__}, Python {facts['python']}, torch {facts['torch']}"),
        (say("machine"), f"{facts['processor']}, {facts['system']}"),
        (say("cores"), f"{facts['cores']} ({facts['cpu_capability']})"),
        (say("GPUs"), ", ".join(facts["gpus"]) or say("none")),
        ("bfloat16", say("fast here") if facts["bfloat16"] else say("not fast here")),
        (say("data"), facts["data"] or say("SEODANG_DATA is not set: named datasets come from the cache or a download")),
        (say("runs"), say("{folder}, {free} free", folder=facts["runs"], free=byte_count(facts["free_bytes"]))),
        (say("extras"), say("all installed") if not missing else
         say("not installed: {names} (pip install 'seodang[{first}]')", names=", ".join(missing), first=missing[0])),
    ]  # fmt: skip
    write_lines(columns(rows, screen_width()))


EXTRAS = {"rl": ["gymnasium"], "tables": ["pyarrow"], "export": ["onnx", "onnxscript", "onnxruntime"]}


def _gpus() -> list[str]:
    import torch  # lazy: 1 s

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
