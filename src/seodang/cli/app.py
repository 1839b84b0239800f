"""The command line: ``seodang`` and ``python -m seodang``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from seodang.core.language import say


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 our failure, 2 what the user can mend, 130 ended by Ctrl-C."""
    try:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        from seodang.cli.commands import app  # here, so that Ctrl-C while it loads ends cleanly too

        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        print(say("Interrupted."), file=sys.stderr)
        code = 130
    # After a Ctrl-C inside exec() Python would end by the signal whatever was done about it; and one process of several:
    # taking the interpreter apart can hang in gloo's threads.
    if code == 130 or "LOCAL_RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def __getattr__(name: str) -> Any:
    """Make `app`, the Typer application, on first use."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from seodang.cli.commands import app

    return app
