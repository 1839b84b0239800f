"""seodang runs: the table of what has been trained."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seodang.cli.command import Debug, Json
from seodang.cli.display import scores, write_json, write_lines
from seodang.cli.layout import table
from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.core.places import expanded

if TYPE_CHECKING:
    from seodang.core.run import RunFolder


def runs(
    folder: Annotated[str | None, typer.Argument(metavar="[FOLDER]", help=say(
        "Where the runs are. Default: SEODANG_RUNS, else runs/."))] = None,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip

    from seodang.core.run import all_runs, runs_folder

    place = expanded(folder) if folder else runs_folder()
    rows = [run_row(run) for run in all_runs(place)]
    if machine:
        write_json(rows)
        return
    if not rows:
        print(say("There are no runs in {folder} yet. Begin with: seodang train digits-mlp", folder=place))
        return
    words = {"new": say("new"), "running": say("running"), "finished": say("finished"), "stopped": say("stopped"),
             "damaged": say("damaged")}  # fmt: skip
    heads = [say("run"), say("recipe"), say("status"), say("step"), say("when"), say("best scores")]
    lines = [(row["name"], row["recipe"], words[row["status"]], f"{row['step']:,}", row["when"][:16].replace("T", " "),
              scores(row["scores"])) for row in rows]  # fmt: skip
    write_lines(table(heads, lines, numeric=(3,)))


def run_row(run: RunFolder) -> dict[str, Any]:
    """Return one line of the table. A recipe that can no longer be read does not hide the others."""
    row = {"name": run.name, "path": str(run.path), "recipe": "", "status": "damaged", "step": 0, "scores": {},
           "when": datetime.fromtimestamp(run.path.stat().st_mtime).astimezone().isoformat(timespec="seconds")}  # fmt: skip
    try:
        row |= {"recipe": run.recipe.name, "status": run.status}
    except SeodangError as error:
        return row | {"error": str(error)}
    started = (run.read_json("environment.json") or {}).get("started")
    events = run.events
    evaluated = [event for event in events if event["event"] == "evaluated"]
    best = [event for event in evaluated if event.get("best")] or evaluated
    result = run.result
    return row | {
        "step": (result or {}).get("steps") or max((event["step"] for event in events), default=0),
        "scores": (result or {}).get("scores") or (best[-1]["scores"] if best else {}),
        "when": started or row["when"],
    }
