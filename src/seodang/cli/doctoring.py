"""seodang doctor: what ails a run. Findings are no failure: the exit code is 0 with them and without."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, Debug, Json, Plugin, environment, load
from seodang.cli.display import write_json, write_lines
from seodang.cli.layout import screen_width, wrapped
from seodang.cli.training import Download
from seodang.cli.using import RunArgument
from seodang.core.language import say
from seodang.core.places import expanded

INDENT = "   "
SHOWN = 5
"""Files or rows of a finding that are printed; JSON and the page have all."""


def doctor(
    run: RunArgument,
    page: Annotated[bool, typer.Option("--page/--no-page", help=say(
        "Write a page with curves and layers beside the findings, to figures/doctor.html in the run."))] = True,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s

    with environment(DOWNLOAD, "1" if download else None):
        found = api.doctor(expanded(run), page=page)
    if machine:
        write_json(found.record())
        return
    if not found.findings:
        print(say("Nothing found: {run} looks sound.", run=run))
    elif len(found.findings) == 1:
        print(say("One finding about {run}.", run=run))
    else:
        print(say("{count} findings about {run}.", count=len(found.findings), run=run))
    for number, finding in enumerate(found.findings, 1):
        write_lines(["", *_told(number, finding)])
    if found.unseen:
        write_lines(["", say("Not looked at: {what}.", what="; ".join(found.unseen))])
    if found.page:
        write_lines(["", found.page])


def _told(number: int, finding: Any) -> list[str]:
    cells = screen_width()
    lines = [f"{number}. {finding.title}"]
    for text in (finding.evidence, finding.meaning, *finding.examples[:SHOWN]):
        lines += [INDENT + line for line in wrapped(text, cells and cells - len(INDENT))]
    return [*lines, INDENT + say("Try: {command}", command=finding.command)]
