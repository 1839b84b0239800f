"""Commands that explain themselves: help in the reader's language, and for every mistake one message and an exit code.

0      done                        130    ended by Ctrl-C (a training has saved before)
1      our failure                 143    ended by SIGTERM (a training has saved before)
2      something the user can mend
"""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from seodang.cli.layout import columns, screen_width, wrapped
from seodang.core.errors import SYNONYMS, SeodangError, UnknownName, nearest
from seodang.core.language import say

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
DOWNLOAD = "SEODANG_DOWNLOAD"
"""The variable that allows (1) or forbids (0) fetching data; "look": this command never does."""

Json = Annotated[
    bool, typer.Option("--json", help=say("Write JSON to standard output, and everything else to standard error."))
]
Debug = Annotated[bool, typer.Option("--debug", help=say("On a failure, show the whole traceback."))]
Plugin = Annotated[str | None, typer.Option("--plugin", metavar="FILE", help=say(
    "A Python file that registers your own model, dataset or task."))]  # fmt: skip
Settings = Annotated[list[str] | None, typer.Argument(metavar="[section.key=value …]", help=say(
    "Changes to the recipe, for example train.epochs=3 optimizer.lr=0.01 model=resnet18."))]  # fmt: skip

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help=say("Name of a shipped recipe, or a TOML file."))]
Data = Annotated[str | None, typer.Option("--data", metavar="PATH_OR_NAME", help=say(
    "A folder, a file or the name of a dataset, in place of the recipe's data."))]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", help=say("Say nothing before the end."))]
Download = Annotated[bool, typer.Option("--download", help=say(
    "Fetch data that is missing from its publisher without asking."))]  # fmt: skip


class Command(TyperCommand):
    """One command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise SeodangError(
                "'{words}': this command takes no more words. How it is used: {command} --help",
                words=" ".join(ctx.args), command=ctx.command_path)  # fmt: skip
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("\n".join(help_lines(self, ctx)) + "\n")


class Commands(TyperGroup):
    """All commands, and the one place where what went wrong becomes a message and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        own = words[: words.index("--")] if "--" in words else words
        self._machine = "--json" in own
        with Interruption() as interruption:
            code = self._run(words, extra, interruption, self._machine, "--debug" in own)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(
        self, words: list[str], extra: dict[str, Any], interruption: Interruption, machine: bool, debug: bool
    ) -> int:
        try:
            result = super().main(words, prog_name="seodang", standalone_mode=False, **extra)
            return result if isinstance(result, int) else 0
        except SeodangError as error:
            return complain(str(error), type(error).__name__, MISTAKE, machine)
        except Exception as error:
            if interruption.came:  # half-done imports turn it into any other exception
                return complain(say("Interrupted."), "KeyboardInterrupt", INTERRUPTED, machine)
            if debug:
                traceback.print_exc()
            message, code = explained(error)
            return complain(message, type(error).__name__, code, machine)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain(say("Interrupted."), "KeyboardInterrupt", INTERRUPTED, self._machine)
            raise typer.Exit(INTERRUPTED) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UnknownName("There is no command '{name}'.{suggestion} See them all: seodang --help",
                              name=args[0], suggestion=nearest(args[0], self.commands))  # fmt: skip
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("\n".join(help_lines(self, ctx)) + "\n")


class Interruption:
    """Remembers that Ctrl-C was pressed. Afterwards the system's own handler is back: another one ends at once."""

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        self.came = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt


# ---------------------------------------------------------------------------------------------- mistakes


def complain(message: str, kind: str, code: int, machine: bool) -> int:
    """Say what went wrong on standard error, with `machine` also as JSON on standard output; return `code`."""
    print(message if code == INTERRUPTED else say("Error: {message}", message=message), file=sys.stderr)
    if machine:
        print(json.dumps({"error": {"kind": kind, "message": message}, "exit_code": code}, ensure_ascii=False))
    return code


def explained(error: Exception) -> tuple[str, int]:
    """Return what to say about an exception that is not a `SeodangError`, and the exit code."""
    if hasattr(error, "format_message"):
        return usage_message(error), MISTAKE
    if _is_out_of_memory(error):
        return say("There is not enough memory: {reason} Try a smaller train.batch_size, or train.accumulate=4.",
                   reason=str(error).partition("\n")[0]), MISTAKE  # fmt: skip
    if isinstance(error, OSError) and error.filename:
        return say("{path}: {reason}.", path=error.filename, reason=error.strerror or error), MISTAKE
    place = traceback.extract_tb(error.__traceback__)[-1]
    values = {"kind": type(error).__name__, "message": error, "file": place.filename, "line": place.lineno}
    if any(
        frame.f_globals.get("__name__", "").startswith("seodang_plugin_")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ):
        return say(
            "Your plug-in raised {kind}: {message} ({file}, line {line}). The whole traceback: add --debug", **values
        ), MISTAKE
    return say("Something unexpected happened, and the fault is Seodang's: {kind}: {message} ({file}, line {line}). "
               "Please report it: run the same command with --debug, and send what it prints with the output of: seodang check",
               **values), FAILED  # fmt: skip


def usage_message(error: Any) -> str:
    """Return what is wrong with the words of a command line."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "seodang"
    help_hint = say("How it is used: {command} --help", command=command)
    match type(error).__name__:
        case "NoSuchOption":
            known = [name for item in error.ctx.command.params for name in item.opts] if error.ctx else []
            hint = _as_setting(error.option_name) or nearest(error.option_name, known)
            return say(
                "There is no option {option}.{suggestion} {help}",
                option=error.option_name,
                suggestion=hint,
                help=help_hint,
            )
        case "MissingParameter":
            name = error.param.metavar or error.param.name.upper() if error.param else "?"
            return say("{name} is missing. {help}", name=name, help=help_hint)
        case "BadParameter" if getattr(error, "param", None):
            name = error.param.opts[0] if error.param.param_type_name == "option" else error.param.metavar
            reason = error.message.removeprefix("Value error, ")
            if one_of := re.fullmatch(r"'(.*?)' is not one of ('.*')\.", reason):
                return say("{name}: there is no '{value}'.{suggestion} It is one of: {known}. {help}", name=name, value=one_of[1],
                           suggestion=nearest(one_of[1], one_of[2].strip("'").split("', '")), known=one_of[2].replace("'", ""),
                           help=help_hint)  # fmt: skip
            return say("{name}: {reason} {help}", name=name, reason=reason, help=help_hint)
        case "BadOptionUsage":
            return say("{option}: needs a value. {help}", option=error.option_name, help=help_hint)
        case "NoArgsIsHelpError":
            return say("A command is missing. See them all: seodang --help")
    return f"{error.format_message()} {help_hint}"


def _as_setting(option: str) -> str:
    """``--epochs`` is how other programs write it: say how it is written here."""
    from seodang.core.recipe import Train

    name = option.lstrip("-").replace("-", "_")
    name = SYNONYMS.get(name, name)
    sections = {"train.": Train.fields(), "optimizer.": ["lr", "weight_decay", "momentum", "schedule"], "": ["seed"]}
    for section, known in sections.items():
        if found := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            return " " + say("Settings are written without dashes: {example}", example=f"{section}{found[0]}=…")
    return ""


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return type(error).__name__ in ("MemoryError", "OutOfMemoryError") or (
        isinstance(error, RuntimeError) and bool(re.search(r"out of memory|can't allocate memory", text))
    )


# -------------------------------------------------------------------------------------------------- help


def help_lines(command: Any, ctx: Any) -> list[str]:
    """Return the help page of a command, or of all of them."""
    total = min(screen_width() or 100, 110)
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.get_params(ctx) if item.param_type_name == "option"]
    group = isinstance(command, TyperGroup)
    words = [ctx.command_path, *(item.metavar or item.name.upper() for item in arguments)]
    words += ["COMMAND …"] if group else ["[--…]"]
    lines = [say("Usage: {words}", words=" ".join(words)), "", *wrapped(command.help or "", total)]
    if group:
        rows = [(name, (item.help or "").partition("\n")[0]) for name, item in command.commands.items()]
        lines += ["", say("Commands:"), *columns(rows, total, indent=2)]
    if shown := [item for item in arguments if item.help]:
        lines += ["", say("Arguments:"), *columns([(_name(item), item.help) for item in shown], total, indent=2)]
    rows = [(_name(item), say("Show this page.") if "--help" in item.opts else item.help or "") for item in options]
    lines += ["", say("Options:"), *columns(rows, total, indent=2)]
    if command.epilog:
        lines += ["", *command.epilog.split("\n")]
    return lines


def _name(item: Any) -> str:
    if item.param_type_name == "argument":
        return item.metavar or item.name.upper()
    names = ", ".join(item.opts)
    return names if item.is_flag else f"{names} {item.metavar or item.name.upper()}"


def load(plugin: str | None) -> None:
    """Import the user's plug-in, if there is one."""
    if plugin:
        from seodang.core.registry import load_plugin

        load_plugin(plugin)


@contextmanager
def environment(name: str, value: str | None) -> Iterator[None]:
    """Set a variable of the environment for a while; with None leave it alone."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None and before is None:
            os.environ.pop(name, None)
        elif value is not None and before is not None:
            os.environ[name] = before
