"""seodang evaluate: one run in depth, several averaged, and how they stand noise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, Debug, Download, Json, Plugin, environment, load
from seodang.cli.display import number, say_aside, score, write_json, write_lines
from seodang.cli.layout import table
from seodang.core.errors import ConfigError
from seodang.core.language import say, translated
from seodang.core.places import expanded

MOST_CLASSES = 20
"""Classes listed in full; of more, those found worst."""


def evaluate(
    words: Annotated[list[str], typer.Argument(metavar="RUN [RUN …] [data.key=value …]", help=say(
        "Folder of a run; several are averaged. Settings of the data, for example data.target=price."))],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH_OR_NAME", help=say(
        "A folder, a file or the name of a dataset, in place of the run's data."))] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="SPLIT", help=say(
        "train, valid or test. Default: test, else valid."))] = None,
    snapshots: Annotated[bool, typer.Option("--snapshots", help=say(
        "Average the snapshots of one run, kept at the end of each cycle of a cyclic learning rate."))] = False,
    tta: Annotated[str | None, typer.Option("--tta", metavar="NAMES", help=say(
        "Average over several versions of each picture, changed at random: flip,crop"))] = None,
    draws: Annotated[int | None, typer.Option("--draws", metavar="N", help=say(
        "With --tta: how many versions, the picture itself among them. Default: 8."))] = None,
    noise: Annotated[str | None, typer.Option("--noise", metavar="LEVELS", help=say(
        "The score with noise in the inputs: 0,8,16,32 grey levels of pictures; 0,0.1,0.3 standard deviations of rows."))] = None,
    weight_noise: Annotated[str | None, typer.Option("--weight-noise", metavar="LEVELS", help=say(
        "The score with noise in the weights, in standard deviations of each tensor: 0,0.05,0.1"))] = None,
    repeats: Annotated[int | None, typer.Option("--repeats", metavar="N", help=say(
        "With noise: how often it is drawn at each level. Default: 3."))] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help=say("Decides what is drawn by chance."))] = 0,
    out: Annotated[str | None, typer.Option("--out", metavar="PATH", help=say(
        "Write a page with every figure: FILE.html, or a folder for the page and each figure as SVG and PNG."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    runs, settings = _parted(words)
    levels = {"inputs": _levels("--noise", noise), "weights": _levels("--weight-noise", weight_noise)}
    noises = {where: found for where, found in levels.items() if found}
    if noises and (tta or snapshots):
        raise ConfigError(
            "--noise and --weight-noise go with neither --tta nor --snapshots: they compare single models."
        )
    for option, given, needs, there in (("--draws", draws, "--tta", tta), ("--repeats", repeats, "--noise", noises)):
        if given is not None and not there:
            raise ConfigError("{option}={value}: goes with {needs} only.", option=option, value=given, needs=needs)
    target = _target(out)
    from seodang.evaluation.judging import Wanted, judge  # lazy: 1 s
    from seodang.evaluation.robustness import robustness

    names = tuple(name.strip() for name in tta.split(",") if name.strip()) if tta else ()
    wanted = Wanted(data, split, _data_settings(settings), snapshots, names, 8 if draws is None else draws, seed)
    paths = [expanded(run) for run in runs]
    with environment(DOWNLOAD, "1" if download else None):
        curves = [
            robustness(paths, wanted, where, found, 3 if repeats is None else repeats, _progress(machine))
            for where, found in noises.items()
        ]
        judged = None if curves else judge(paths, wanted)
    written = _page(target, runs, judged, curves, paths) if target else []
    found: dict[str, Any] = judged.found if judged else {}
    if machine:
        told = {"run": runs[0], **({"runs": runs} if len(runs) > 1 else {}), **found}
        write_json(
            {
                **told,
                **({"noise": curves} if curves else {}),
                **({"written": list(map(str, written))} if written else {}),
            }
        )
        return
    if judged:
        print(say("{split}: {count:,} examples", split=found["split"], count=found["examples"]))
        write_lines([*_scores(found), *found["notes"], *_gains(found), *_classes(found)])
    for one in curves:
        write_lines(_curve(one))
    write_lines(map(str, written))


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part runs from settings; a folder is a run even if there is an equals sign in its name."""
    settings = [word for word in words if re.match(r"[a-z]+(\.[a-z_]+)+=", word) and not expanded(word).exists()]
    runs = [word for word in words if word not in settings]
    if not runs:
        raise ConfigError(
            "{word}: evaluate needs a run before its settings. See your runs: seodang runs", word=settings[0]
        )
    return runs, settings


def _levels(option: str, text: str | None) -> list[float]:
    try:
        return [float(word) for word in text.split(",")] if text is not None else []
    except ValueError:
        raise ConfigError("{option}={text}: levels are numbers between commas, for example 0,8,16,32.", option=option,
                          text=text) from None  # fmt: skip


def _target(out: str | None) -> Path | None:
    if out is None:
        return None
    path = expanded(out)
    if path.suffix and path.suffix != ".html" and not path.is_dir():
        raise ConfigError("--out={path}: is neither a file ….html nor a folder.", path=out)
    return path


def _data_settings(words: Sequence[str]) -> dict[str, Any]:
    from seodang.core.config import parse_override

    settings: dict[str, Any] = {}
    for word in words:
        keys, value = parse_override(word)
        if len(keys) != 2 or keys[0] != "data":
            raise ConfigError("{word}: only settings of the data can change here: data.key=value", word=word)
        settings[keys[1]] = value
    return settings


def _progress(machine: bool) -> Any:
    def told(done: int, total: int) -> None:
        if done < total and done % max(1, total // 4) == 0:
            say_aside(say("{done:,} of {total:,} evaluations", done=done, total=total))

    return None if machine else told


def _page(
    target: Path, runs: Sequence[str], judged: Any, curves: Sequence[Mapping[str, Any]], paths: Sequence[Path]
) -> list[Path]:
    from seodang.core.run import RunFolder
    from seodang.visualize.evaluation_page import evaluation_sections, write_evaluation  # lazy: 1 s

    if judged:
        shown = evaluation_sections(judged.found, curves, judged.answers, judged.facts, judged.task.answers)
        split, count = judged.found["split"], judged.found["examples"]
    else:
        shown = evaluation_sections({}, curves, {}, None, "")
        split, count = curves[0]["split"], curves[0]["examples"]
    recipes = [RunFolder(path).recipe for path in paths]
    facts = [(say("runs"), ", ".join(runs)), (say("recipe"), ", ".join(dict.fromkeys(recipe.name for recipe in recipes))),
             (say("data"), ", ".join(dict.fromkeys(recipe.data.name for recipe in recipes)))]  # fmt: skip
    lead = say("{split}: {count:,} examples", split=split, count=count)
    return write_evaluation(target, recipes[0].name, shown, facts, lead)


# ------------------------------------------------------------------------------------------------ lines


def _scores(found: Mapping[str, Any]) -> list[str]:
    if "members" not in found:
        return score_table(found["scores"], found["baseline"])
    from seodang.visualize.evaluation_page import system_name

    names = list(dict.fromkeys(name for scores in found["members"].values() for name in scores))
    rows = [[system_name(system), *(score(name, scores[name]) if name in scores else "–" for name in names)]
            for system, scores in found["members"].items()]  # fmt: skip
    for title, value in (found["baseline"] or {}).items():
        name, method = _method(title)
        rows.append([translated(method), *(score(name, value) if name == column else "–" for column in names)])
    return table(["", *names], rows, numeric=range(1, len(names) + 1))


def score_table(scores: dict[str, float], baseline: dict[str, Any] | None) -> list[str]:
    """Return scores in a table, beside those of simple methods on the same examples."""
    columns: dict[str, dict[str, float]] = {say("model"): dict(scores)}
    for title, value in (baseline or {}).items():
        name, method = _method(title)
        columns.setdefault(translated(method), {})[name] = value
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = [
        [name, *(score(name, values[name]) if name in values else "–" for values in columns.values())] for name in names
    ]
    return table([say("score"), *columns], rows, numeric=range(1, len(columns) + 1))


def _method(title: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.+?) \((.+)\)", title)  # "accuracy (most common class)"
    return (found[1], found[2]) if found else (title, "baseline")


def _gains(found: Mapping[str, Any]) -> list[str]:
    if not found.get("gains"):
        return []
    from seodang.visualize.evaluation_page import points, system_name

    rows = []
    for gain in found["gains"]:
        name = gain["metric"]
        between = say("{low} to {high}", low=points(name, gain["low"]), high=points(name, gain["high"]))
        rows.append([system_name(gain["one"]), system_name(gain["other"]), points(name, gain["difference"]), between,
                     "–" if gain["p"] is None else number(gain["p"])])  # fmt: skip
    heads = ["", say("against"), found["gains"][0]["metric"], say("95 % interval"), say("p (McNemar)")]
    return ["", *table(heads, rows, numeric=(2, 3, 4))]


def _classes(found: Mapping[str, Any]) -> list[str]:
    """Return what is worth knowing of a classifier at once; --json and --out have the rest."""
    known = found.get("classes")
    if not known:
        return []
    rows = [(name, f"{one['support']:,}", *(_share(one[key]) for key in ("precision", "recall", "f1")))
            for name, one in known["classes"].items()]  # fmt: skip
    total = len(rows)
    if total > MOST_CLASSES:
        order = sorted(known["classes"], key=lambda name: known["classes"][name]["f1"] or 0.0)[:MOST_CLASSES]
        rows = [row for row in rows if row[0] in order]
    lines = [
        "",
        *table([say("class"), say("examples"), say("precision"), say("recall"), "F1"], rows, numeric=range(1, 5)),
    ]
    if total > MOST_CLASSES:
        lines.append(say("The {count} of {total} classes with the lowest F1.", count=MOST_CLASSES, total=total))
    names = list(known["classes"])
    wrong = [(count, names[true], names[said]) for true, row in enumerate(known["confusion"]) for said, count in enumerate(row)
             if true != said and count]  # fmt: skip
    if wrong:
        count, true, said = max(wrong, key=lambda item: item[0])
        lines += [
            "",
            say(
                "Most often confused: {true} taken for {predicted}, {count} times.",
                true=true,
                predicted=said,
                count=count,
            ),
        ]
    error = score("share", known["calibration_error"])
    return [*lines, say("Expected calibration error: {error}.", error=error)]


def _share(value: float | None) -> str:
    return "–" if value is None else score("share", value)


def _curve(found: Mapping[str, Any]) -> list[str]:
    from seodang.visualize.robustness import robustness_table  # lazy: 1 s

    told = robustness_table(found)
    heads = [column.name for column in told.columns]
    return ["", told.title, *table(heads, told.rows, numeric=range(len(heads))), told.about]
