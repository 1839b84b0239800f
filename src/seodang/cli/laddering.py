"""Ladders for the commands list, show and check."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

from seodang.cli.checking import GOOD
from seodang.cli.command import DOWNLOAD, FAILED, environment
from seodang.cli.comparing import Watch, broken, finished_or_exit, report
from seodang.cli.display import say_aside, write_json, write_lines
from seodang.cli.layout import columns, screen_width, table, wrapped
from seodang.core.config import read_toml
from seodang.core.errors import ConfigError
from seodang.core.language import say, translated
from seodang.core.shipped import LADDERS, ladder_names, ladder_path


def ladder_rows() -> list[dict[str, Any]]:
    """Return the shipped ladders for `seodang list`."""
    rows = []
    for name in ladder_names():
        values = read_toml(LADDERS / f"{name}.toml")
        variants = [str(item["name"]) for item in values.get("variants", ())]
        rows.append({"name": name, "about": values["about"], "recipe": values["recipe"], "variants": variants})
    return rows


def ladder_show(name: str) -> tuple[dict[str, Any], list[str]]:
    """Return what a ladder is, for programs and for people: its file, and each variant with what it changes."""
    from seodang.comparison.ladder import Ladder  # lazy: 0.2 s
    from seodang.comparison.ladder_page import settings_text

    path = ladder_path(name)
    assert path is not None
    ladder = Ladder.read(path)
    variants = ladder.rungs()
    values = {"kind": "ladder", "name": ladder.name, "about": ladder.about, "path": str(path), "recipe": ladder.recipe,
              "seeds": ladder.seeds, "settings": ladder.settings, "variants": [item._asdict() for item in variants]}  # fmt: skip
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    lines = [*header, *wrapped(translated(ladder.about), screen_width()), ""]
    facts = [(say("Recipe"), ladder.recipe), (say("seeds"), str(ladder.seeds)),
             (say("for all"), settings_text(ladder.settings).replace("`", ""))]  # fmt: skip
    lines += columns([fact for fact in facts if fact[1]], screen_width())
    pairs = any(variant.against for variant in variants)
    rows = [[item.name, *([item.against or ""] if pairs else []), settings_text(item.settings).replace("`", "")]
            for item in variants]  # fmt: skip
    heads = [say("variant"), *([say("compared with")] if pairs else []), say("settings")]
    return values, [*lines, "", *table(heads, rows), "", say("Run it: {command}", command=f"seodang compare {name}")]


def check_ladder(name: str, settings: list[str], measure: bool, write: bool, plugin: str | None, machine: bool) -> int:
    """Try every variant of a ladder, or with `measure` run it, and with `write` write down what was measured.

    Return the exit code.
    """
    from seodang.comparison.comparing import Terms, compare_ladder, ladder_plan  # lazy: 0.2 s
    from seodang.comparison.ladder import Ladder, shared_settings
    from seodang.comparison.plan import check

    path = ladder_path(name)
    assert path is not None
    ladder = Ladder.read(path)
    shared = shared_settings(ladder, settings)
    if not measure:
        with environment(DOWNLOAD, "look"):
            plan = ladder_plan(ladder, shared, Terms(plugin=plugin), seeds=1)
            facts = check(plan)
        if machine:
            write_json({"ladder": ladder.name, "ok": True, "variants": [item.name for item in plan.variants], **facts})
        else:
            print(say("{mark} {name}: {count} variants of {recipe}, {seeds} seeds; every one can be trained", mark=GOOD,
                      name=ladder.name, count=len(plan.variants), recipe=ladder.recipe, seeds=ladder.seeds))  # fmt: skip
        return 0
    if settings:
        raise ConfigError("check --measure takes one ladder, unchanged: seodang check LADDER --measure")
    folder = _page_folder(path) if write else None
    watch = Watch(sys.stderr if machine else sys.stdout, quiet=False)
    with finished_or_exit(watch, machine) as ended:
        terms = Terms(to=_run_folder(ladder), plugin=plugin, begun=watch.begin, told=watch, say_aside=say_aside)
        made = ended(compare_ladder(ladder, shared, terms))
    lines = report(made.found, made.path)
    page = None
    if folder is not None:
        from seodang.comparison.ladder_page import write_page

        page = write_page(ladder, made.found, path, folder, _measured(made))
        lines.append(say("Written into {file}", file=f"{page}, {path}"))
    if machine:
        write_json({**made.found, "written": str(page) if page else None})
    else:
        write_lines(lines)
    return FAILED if broken(made.found) else 0


def _run_folder(ladder: Any) -> Path:
    """Return where a ladder is measured: what was made with other code is not taken for a measurement of this."""
    from seodang.comparison.variants import slug
    from seodang.core.run import runs_folder
    from seodang.training.provenance import code_digest  # lazy: 1 s

    return runs_folder() / f"measure-{slug(ladder.name)}-{code_digest()[:8]}"


def _page_folder(path: Path) -> Path:
    """Return where the page of a ladder goes: docs/ladders of the checkout, or beside the user's own file.

    Raises: ConfigError for a ladder of an installed package.
    """
    if path.resolve().parent != LADDERS.resolve():
        return path.absolute().parent
    root = LADDERS.parents[2]
    if not (root / "pyproject.toml").is_file():
        raise ConfigError(
            "{file}: belongs to the installed package; what is measured is written in a checkout only.", file=path
        )
    return root / "docs" / "ladders"


def _measured(made: Any) -> str:
    """Return in a few words on what a comparison was measured, when, and with which code."""
    from seodang.api import open_run
    from seodang.cli.measuring import commit, machine_text

    run = open_run(next(item for item in sorted(made.path.iterdir()) if (item / "result.json").exists()))
    device = (run.result or {}).get("device", "cpu")
    cores = made.found["processes"] * made.found["threads"] if device == "cpu" else 0
    processor = machine_text(run).partition(", ")[2]
    where = f"{cores} {'core' if cores == 1 else 'cores'}, {processor}" if cores else machine_text(run)
    return f"{where}, {date.today()}, commit {commit()}"
