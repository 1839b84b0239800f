"""One run of a comparison, in a process of its own: ``python -m seodang.comparison.child FOLDER RUN``.

It trains through `api.train`, or goes on through `api.resume`. Standard input is a lifeline: when its other end is
gone, because the parent was killed, the run is asked to save and end, as by SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from seodang.core.errors import SeodangError

REPORT = "seodang-comparison: "
"""Begins the line of standard error that says why a run failed."""


def main(folder: str, name: str, plugin: str | None = None) -> int:
    """Train or go on; return the exit code of `seodang train`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return _train(Path(folder), name, plugin)
    except SeodangError as error:
        _report(type(error).__name__, str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _report(type(error).__name__, str(error).partition("\n")[0])
        return 1


def _train(folder: Path, name: str, plugin: str | None) -> int:
    from seodang import api  # lazy: 1 s
    from seodang.comparison.plan import read_plan

    planned = next(run for run in read_plan(folder).runs if run.name == name)
    path = folder / name
    if (path / "recipe.toml").exists():
        run = api.resume(path, plugin=plugin)
    else:
        run = api.train(planned.recipe, run=path, plugin=plugin)
    return 0 if run.stopped_by is None else 128 + run.stopped_by


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: a thread that waits in it holds a lock the interpreter needs at its end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _report(kind: str, message: str) -> None:
    print(REPORT + json.dumps({"kind": kind, "message": message}, ensure_ascii=False), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
