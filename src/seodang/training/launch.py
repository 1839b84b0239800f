"""How a run is started and stopped: several processes through PyTorch's launcher, and the signals of one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seodang.core.errors import RunError, TrainingError
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.core.stopping import end_with_parent, stops_handled

GONE = ("gloo", "Gloo", "NCCL", "onnection", "imed out", "Broken pipe")
"""What PyTorch says when another process is gone or does not answer."""


def in_process_group() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def create_once(recipe: Recipe, path: str | Path | None) -> RunFolder:
    """Rank 0 makes the folder; the others wait for it."""
    from seodang.training.devices import Devices

    devices = Devices(recipe.train)
    if devices.main:
        folder = RunFolder.create(recipe, path)
        devices.barrier()
        return folder
    devices.barrier()
    assert path is not None
    return RunFolder(path)


def launch(folder: RunFolder, count: int, plugin: str | Path | None, allow_drift: bool) -> int | None:
    """Run `seodang resume` on `count` devices with PyTorch's own launcher; return the signal that ended it, if one did.

    Raises: RunError if a process failed.
    """
    command = [sys.executable, "-m", "seodang.training.launch", "--standalone", f"--nproc-per-node={count}",
               "-m", "seodang", "resume", str(folder.path)]  # fmt: skip
    command += ["--plugin", str(plugin)] if plugin else []
    command += ["--allow-numeric-drift"] if allow_drift else []
    threads = os.environ.get("OMP_NUM_THREADS", "1")  # the run sets its own number; this only quiets the launcher
    surroundings = {**os.environ, "OMP_NUM_THREADS": threads}
    process = subprocess.Popen(command, stdout=sys.stderr, env=surroundings, start_new_session=True)
    with _passed_on(process) as stopped_by:
        code = process.wait()
    if code and not stopped_by:
        raise RunError("{path}: the {count} processes ended with exit code {code}; their messages are above.",
                       path=folder.path, count=count, code=code)  # fmt: skip
    return stopped_by[0] if stopped_by else None


@contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass the first Ctrl-C or SIGTERM on to the launcher, which lets every process save; the second kills them all.

    The launcher has a session of its own, so that the terminal does not send it the same signal once more.
    """
    came: list[int] = []

    def pass_on(number: int, frame: types.FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            process.send_signal(number)
            return
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split() if children.exists() else []:
            os.kill(int(child), signal.SIGKILL)
        process.kill()
        raise KeyboardInterrupt

    with stops_handled(pass_on):
        yield came


def _torchrun(words: list[str]) -> int:
    """Run PyTorch's launcher; return the exit code without its tracebacks: the processes have said what is wrong."""
    end_with_parent(signal.SIGTERM)  # nobody would be left to ask it to stop
    from torch.distributed.elastic.multiprocessing.api import SignalException  # lazy: 1 s
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    logging.disable(logging.WARNING)
    try:
        main(words)
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    except ChildFailedError as failed:
        _say_who_failed(failed.failures)
        code = failed.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    return 0


def _say_who_failed(failures: Mapping[int, Any]) -> None:
    """Say which processes failed; those that were asked to end because another one failed are left out."""
    for rank, failure in sorted(failures.items()):
        if failure.exitcode == -signal.SIGTERM:
            continue
        how = say("was ended by {signal}", signal=signal.Signals(-failure.exitcode).name) if failure.exitcode < 0 else \
            say("ended with exit code {code}", code=failure.exitcode)  # fmt: skip
        print(
            say("Process {rank} (number {pid}) {how}.", rank=rank, pid=failure.pid, how=how),
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def lost_processes(rank: int, world: int) -> Iterator[None]:
    """Say which process of several failed; when another one is gone or stuck, say so in words.

    Raises: TrainingError in place of what PyTorch says when another process is gone.
    """
    if world == 1:
        yield
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(signal.SIGTERM)
    try:
        yield
    except BaseException as error:
        lost = isinstance(error, RuntimeError) and any(sign in str(error) for sign in GONE)
        silent = _silent(rank, world) if lost else ""  # before those that were stopped can answer
        stopped = _woken_others()
        print(
            say("Process {rank} of {world}: {error}", rank=rank, world=world, error=error), file=sys.stderr, flush=True
        )
        if not lost:
            raise
        raise TrainingError(
            "Process {rank} of {world}: no answer from {silent} of this run, gone or stuck ({reason}).{stopped} The run goes on "
            "exactly from its last checkpoint: seodang resume", rank=rank, world=world, silent=silent,
            reason=str(error).strip().splitlines()[-1][-200:],
            stopped=say(" Stopped: number {numbers}.", numbers=", ".join(map(str, stopped))) if stopped else "") from error  # fmt: skip


def _silent(rank: int, world: int) -> str:
    """Return in words which processes do not answer."""
    from seodang.training.devices import silent_processes

    ranks = silent_processes(rank, world)
    return say("process {ranks}", ranks=", ".join(map(str, ranks))) if ranks else say("another process")


def _woken_others() -> list[int]:
    """Let processes that were stopped (SIGSTOP) go on, to see that this one is gone, and end; return which they are."""
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children")
    woken = []
    with suppress(OSError):
        for child in children.read_text().split() if "TORCHELASTIC_RUN_ID" in os.environ else []:
            with suppress(OSError):
                state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
                if state == "T":
                    woken.append(int(child))
                    os.kill(int(child), signal.SIGCONT)
    return woken


@contextmanager
def signals(trainer: Any) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM saves and ends; the second Ctrl-C ends at once."""

    def ask(number: int, frame: types.FrameType | None) -> None:
        trainer.stopped_by = number
        trainer.stop(say("interrupted") if number == signal.SIGINT else say("terminated"))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with stops_handled(ask):
        yield


if __name__ == "__main__":
    sys.exit(_torchrun(sys.argv[1:]))
