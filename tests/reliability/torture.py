"""Kill training runs at random moments, resume them to the end, and compare with runs nobody disturbed, to the byte.

    python -m tests.reliability.torture --kills 10000

A run is killed with SIGKILL: from outside at a uniformly random time, alone or with its whole process group, or by
its own hand right before a random one of its writes, syncs and renames. What is compared: every tensor file, the
state and the history, which checkpoints are left and which is best, the result. Also counted: work lost beyond one
save interval, processes and temporaries left behind.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

import seodang as sd
from seodang import api
from seodang.core import files
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.data.dataset import Loader
from seodang.training import trainer as trainer_module
from seodang.training.assemble import assemble
from seodang.training.provenance import code_digest
from seodang.training.trainer import Trainer
from tests.harness import assert_same_end
from tests.reliability.families import SAVE_EVERY, families

MOST_KILLS = 6
"""Kills in the life of one run; then it is left to finish."""
PATIENCE = 240.0
"""Seconds after which a run that nobody kills counts as hanging."""
PHASES = ("start", "data", "update", "evaluate", "save", "create", "write", "sync", "rename", "make_folder", "sync_folder",
          "remove", "remove_folder")  # fmt: skip


class Shared:
    """What a child tells its parent while it lives: the step it has reached, what it is doing, its calls to the disk."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)
        self.clear()

    def clear(self) -> None:
        self._memory[:] = struct.pack("qqq", -1, 0, 0)

    def _get(self, place: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * place)[0])

    def _set(self, place: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * place, value)

    step = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    phase = property(lambda self: PHASES[self._get(1)], lambda self, name: self._set(1, PHASES.index(name)))
    calls = property(lambda self: self._get(2), lambda self, value: self._set(2, value))


class Suicidal(files.Disk):
    """A disk that counts its calls, and kills the process, or its group, right before the `deadly` one."""

    def __init__(self, shared: Shared, deadly: int, whole_group: bool) -> None:
        self.shared, self.deadly, self.whole_group = shared, deadly, whole_group

    def count(self, name: str) -> None:
        self.shared.phase = name
        self.shared.calls += 1
        if self.shared.calls == self.deadly:
            (os.killpg if self.whole_group else os.kill)(os.getpid(), signal.SIGKILL)


def _counted(name: str) -> Callable[..., Any]:
    def method(self: Suicidal, *arguments: Any) -> Any:
        self.count(name)
        before = self.shared.phase
        result = getattr(files.Disk, name)(self, *arguments)
        self.shared.phase = before
        return result

    return method


for _name in PHASES[5:]:
    setattr(Suicidal, _name, _counted(_name))


def watch(shared: Shared) -> None:
    """Let the trainers of this process say what they are doing."""

    def marked(owner: Any, name: str, phase: str) -> None:
        original = getattr(owner, name)

        def method(self: Any, *arguments: Any, **more: Any) -> Any:
            shared.phase = phase
            result = original(self, *arguments, **more)
            if isinstance(self, Trainer):
                shared.step = self.step
            return result

        setattr(owner, name, method)

    marked(Trainer, "_update", "update")
    marked(Trainer, "_evaluate", "evaluate")
    marked(Trainer, "save", "save")
    marked(Loader, "__next__", "data")


def child(work: Callable[[], object], log: Path) -> int:
    """Do `work` in a process of its own, the leader of its group; return its number."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        with suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(number, number)
        return number
    code = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1), os.dup2(output, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(number: int, seconds: float) -> int | None:
    """Return how the child ended, as `os.waitpid` says it, or None if it has not in `seconds`."""
    descriptor = os.pidfd_open(number)
    try:
        ready, _, _ = select.select([descriptor], [], [], max(seconds, 0.0))
    finally:
        os.close(descriptor)
    return os.waitpid(number, 0)[1] if ready else None


class Undisturbed(NamedTuple):
    """A run that nobody killed: where it is, how long it took, how often it called the disk."""

    run: Path
    seconds: float
    calls: int


class Torture:
    """Kills runs of every family in turn, and keeps account."""

    def __init__(self, folder: Path, seed: int, chosen: list[str]) -> None:
        self.folder, self.random, self.seed = folder, random.Random(seed), seed
        self.recipes = {name: recipe for name, recipe in families(folder).items() if not chosen or name in chosen}
        self.shared = Shared()
        self.log = folder / f"log-{seed}.txt"
        self.groups: set[int] = set()
        self.kills = self.trials = 0
        self.families: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.problems: list[str] = []
        self._whole: dict[str, Undisturbed] = {}

    def run(self, kills: int, deadline: float) -> None:
        """Go on until there have been so many kills, or the time is over."""
        names = list(self.recipes)
        while self.kills < kills and time.monotonic() < deadline:
            self.trial(names[(self.trials + self.seed) % len(names)], kills - self.kills)
            self.trials += 1
        self._look_for_orphans()

    def whole(self, name: str) -> Undisturbed:
        if name not in self._whole:
            path = self.folder / f"whole-{self.seed}-{name}"
            began = time.monotonic()
            self.shared.clear()
            status = wait(self._start(self.recipes[name], path, 0, False), PATIENCE)
            if status != 0:
                raise RuntimeError(f"{name}: the undisturbed run ended with {status}; see {self.log}")
            self._whole[name] = Undisturbed(path, time.monotonic() - began, self.shared.calls)
        return self._whole[name]

    def trial(self, name: str, most: int) -> None:
        """Kill one run a few times, let it finish, and compare."""
        whole = self.whole(name)
        path = self.folder / f"{name}-{self.seed}-{self.trials}"
        for attempt in range(self.random.randint(1, min(MOST_KILLS, most)) + 1):
            deadly = attempt < min(MOST_KILLS, most)
            if self._attempt(name, path, whole, deadly) == "finished":
                break
        else:
            self._attempt(name, path, whole, False)
        self._compare(name, whole.run, path)

    def _attempt(self, name: str, path: Path, whole: Undisturbed, deadly: bool) -> str:
        how = self.random.choice(("time", "time", "call"))
        whole_group = self.random.random() < 0.4
        call = self.random.randint(1, whole.calls) if deadly and how == "call" else 0
        self.shared.clear()
        number = self._start(self.recipes[name], path, call, whole_group)
        status = wait(number, self.random.uniform(0, whole.seconds) if deadly and how == "time" else PATIENCE)
        if status is None:
            if not deadly:
                self._say(name, path, "hangs")
            (os.killpg if whole_group else os.kill)(number, signal.SIGKILL)
            status = os.waitpid(number, 0)[1]
        if status == 0:
            return "finished"
        if not deadly or not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            self._say(name, path, f"ended with {status}; see {self.log}")
            return "finished"
        self.kills += 1
        self.families[name] += 1
        self.phases[self.shared.phase] += 1
        self._check_lost_work(name, path)
        return "killed"

    def _start(self, recipe: Recipe, path: Path, deadly: int, whole_group: bool) -> int:
        def work() -> None:
            files.disk = Suicidal(self.shared, deadly, whole_group)
            watch(self.shared)
            if (path / "recipe.toml").exists():
                if not RunFolder(path).is_complete:
                    sd.resume(path)
            else:
                sd.train(recipe, run=path)
            assert not list(path.rglob("*.tmp")), list(path.rglob("*.tmp"))

        number = child(work, self.log)
        self.groups.add(number)
        return number

    def _check_lost_work(self, name: str, path: Path) -> None:
        if self.shared.step < 0:
            return
        kept = max((int(found.name[5:]) for found in RunFolder(path).checkpoints), default=0)
        if self.shared.step - kept > SAVE_EVERY:
            self._say(name, path, f"lost {self.shared.step - kept} updates")

    def _compare(self, name: str, whole: Path, path: Path) -> None:
        first, second = RunFolder(whole), RunFolder(path)
        try:
            assert_same_end(first, second)
            assert [found.name for found in first.checkpoints] == [found.name for found in second.checkpoints]
            assert (first.marked, first.best and first.best.name) == (second.marked, second.best and second.best.name)
            assert timeless(first.result) == timeless(second.result)
            assert second.is_complete
        except Exception as error:
            self._say(name, path, f"{type(error).__name__}: {str(error)[:300]}")
        else:
            shutil.rmtree(path)

    def _look_for_orphans(self) -> None:
        left: list[int] = []
        for _ in range(100):
            left = [number for number in living() if number in self.groups]
            if not left:
                return
            time.sleep(0.1)
        self._say("processes", self.folder, f"{len(left)} live on ten seconds after the last run")

    def _say(self, name: str, path: Path, what: str) -> None:
        self.problems.append(f"{name} (seed {self.seed}, trial {self.trials}, {path}): {what}")


def timeless(result: dict[str, Any] | None) -> dict[str, Any]:
    assert result is not None
    return {key: value for key, value in result.items()
            if key not in ("train_seconds", "peak_memory_bytes") and not key.endswith("_per_second")}  # fmt: skip


def living() -> Iterator[int]:
    """Yield the process group of every process that is not a zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state not in "ZX":
            yield int(group)


def import_all(folder: Path) -> None:
    """Import whatever a run of every family imports: a fork then starts in milliseconds.

    Nothing is trained in this process: autograd does not survive a fork.
    """

    def work() -> None:
        for name, recipe in families(folder).items():
            sd.train(
                recipe.replace(train={**recipe.train.values(), "steps": 2, "workers": 0}), run=folder / f"first-{name}"
            )
        (folder / "modules.json").write_text(json.dumps([name for name in sys.modules if name != "__main__"]))

    if os.waitpid(child(work, folder / "drivers.txt"), 0)[1]:
        raise RuntimeError((folder / "drivers.txt").read_text())
    for name in json.loads((folder / "modules.json").read_text()):
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)
    for recipe in families(folder).values():
        assemble(recipe)


@contextmanager
def broken(what: str | None) -> Iterator[None]:
    """Leave out a part of resuming: the torture must notice."""
    if what == "loader":
        Loader.restore = lambda self, state: None  # type: ignore[method-assign]
    elif what == "generators":
        trainer_module.restore_random = lambda states, device: None
    elif what == "mark":
        trainer_module.Saver.complete = lambda self, step, best: None  # type: ignore[method-assign]
    yield


def drive(folder: Path, seed: int, options: argparse.Namespace, deadline: float) -> None:
    """Be one of the processes that torture."""
    torture = Torture(folder, seed, options.families)
    torture.run(-(-options.kills // options.jobs), deadline)
    account = {"kills": torture.kills, "trials": torture.trials, "families": torture.families, "phases": torture.phases,
               "problems": torture.problems}  # fmt: skip
    (folder / f"account-{seed}.json").write_text(json.dumps(account))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=7200, help="stop starting new runs after this time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--break", dest="broken", choices=["loader", "generators", "mark"])
    parser.add_argument("--folder", type=Path, help="where the runs go; a failed one is kept there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    code_digest()  # once: the children inherit it, whatever happens to the files
    api._pictures = lambda run, data: (
        lambda event: None
    )  # the report holds clock times, and takes longer than these runs
    folder = options.folder or Path(tempfile.mkdtemp(prefix="seodang-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    import_all(folder)
    began = time.monotonic()
    with broken(options.broken):
        seeds = [options.seed * 100 + job for job in range(options.jobs)]
        jobs = [
            child(lambda seed=seed: drive(folder, seed, options, began + options.seconds), folder / "drivers.txt")  # type: ignore[misc]
            for seed in seeds
        ]
        failed = [job for job in jobs if os.waitpid(job, 0)[1]]
    if failed:
        print((folder / "drivers.txt").read_text(), file=sys.stderr)
        return 2
    accounts = [json.loads((folder / f"account-{seed}.json").read_text()) for seed in seeds]
    problems = [problem for account in accounts for problem in account["problems"]]
    kills, trials = (sum(account[name] for account in accounts) for name in ("kills", "trials"))
    print(
        f"{kills:,} kills of {trials:,} runs in {time.monotonic() - began:,.0f} s (seed {options.seed}): {len(problems)} problems"
    )
    for name in ("families", "phases"):
        total = sum((Counter(account[name]) for account in accounts), Counter())
        print(f"{name}: " + ", ".join(f"{key} {count}" for key, count in total.most_common()))
    print(*problems, sep="\n")
    if not problems and options.folder is None:
        shutil.rmtree(folder)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
