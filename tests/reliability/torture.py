"""Kill training runs at random moments, resume them to the end, and compare with runs nobody disturbed, to the byte.

    python -m tests.reliability.torture --kills 10000

A run is killed with SIGKILL: from outside at a uniformly random time, or by its own hand when it enters a random one
of its phases (data, forward, backward, step, evaluate, save; each write, sync, rename and removal), alone or with its
whole process group. Beside these kills some runs get SIGTERM, Ctrl-C or two of them, as `seodang train` meets them.

Compared are every tensor file, the state and the history; which checkpoints are left and which is best; the result.
Also looked at: work lost beyond one save interval, processes and temporaries left behind, how soon a signal is obeyed,
and that nothing is lost then.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch

import seodang as sd
from seodang import api
from seodang.cli.app import main as command_line
from seodang.core.config import write_toml
from seodang.core.run import RunFolder
from seodang.training.provenance import code_digest
from tests.reliability import breakage
from tests.reliability.deaths import MARKS, STARTING, Death, Mark, Shared, Watched, adopt_orphans, child, outlive, wait
from tests.reliability.differences import differences, newest
from tests.reliability.families import SAVE_EVERY, families, import_all

MOST_DEATHS = 8
"""Deaths in the life of one run; then it is left to finish."""
SIGNALS = ((signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT))
PATIENCE, GRACE, ORPHANS = 240.0, 10.0, 2.0
"""Seconds: an undisturbed run that takes longer hangs; a signal is obeyed in; a worker may outlive its run by."""
LOG_TAIL = 1200


class Undisturbed(NamedTuple):
    """A run that nobody killed: where it is, how long (seconds) starting and training took, how often it entered what."""

    run: Path
    steps: int
    starting: float
    training: float
    counts: dict[str, int]


class Torture:
    """Kills runs of every family in turn, and keeps account. What a trial does depends on (seed, its number)."""

    def __init__(self, folder: Path, seed: int, chosen: list[str], signals: float) -> None:
        self.folder, self.seed, self.signals = folder, seed, signals
        self.recipes = {name: recipe for name, recipe in families(folder).items() if not chosen or name in chosen}
        for name, recipe in self.recipes.items():
            write_toml(folder / f"{name}.toml", recipe.written())
        self.only = ""
        """The only phase to die in, if any."""
        self.shared = Shared()
        self.kills = self.trials = 0
        self.most_lost = self.most_lost_beside = 0
        self.slowest = 0.0
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in ("families", "phases", "groups", "signals")}
        self.problems: list[str] = []
        self._whole: dict[str, Undisturbed] = {}

    def account(self) -> dict[str, Any]:
        return {"kills": self.kills, "trials": self.trials, "problems": self.problems, "most_lost": self.most_lost,
                "most_lost_beside": self.most_lost_beside, "slowest": self.slowest, "counts": self.counts}  # fmt: skip

    def trial(self, number: int) -> None:
        """Let one run die a few times, let it finish, and compare."""
        chance, names = random.Random(f"{self.seed}/{number}"), list(self.recipes)
        name = names[number % len(names)]
        deaths = [self._death(chance, name, number + place) for place in range(chance.randint(1, MOST_DEATHS))]
        self.follow(name, deaths, chance.random() < 0.4, f"--seed {self.seed} --trial {number}")

    def _death(self, chance: random.Random, name: str, turn: int) -> Death:
        whole_group, share = chance.random() < 0.4, chance.random()
        if chance.random() < self.signals:
            return Death(chance.choice(SIGNALS), whole_group, "", share, gap=chance.uniform(0, 0.02))
        phases = sorted(self.whole(name).counts)  # in turn, so that none of them is missed
        phase = self.only or ("" if chance.random() < 0.5 else phases[turn % len(phases)])
        return Death(whole_group=whole_group, phase=phase, share=share)

    def whole(self, name: str, beside: bool = False) -> Undisturbed:
        """Return the undisturbed run of a family; it is made first if need be. `beside` the loop it is saved more often."""
        known = f"{name}+beside" if beside else name
        if known not in self._whole:
            path = self.folder / f"whole-{known}-{os.getpid()}"
            self.shared.clear()
            log = path.with_suffix(".log")
            if wait(self._start(name, path, log, None, beside), PATIENCE) != 0:
                raise RuntimeError(f"{name}: the undisturbed run failed: {log.read_text()}")
            times = [self.shared.reached(place) for place in range(3)]
            self._whole[known] = Undisturbed(
                path, newest(path), times[1] - times[0], times[2] - times[1], self.shared.counts
            )
        return self._whole[known]

    def follow(self, name: str, deaths: list[Death], beside: bool, which: str) -> None:
        """Let a run die as planned, let it finish, and compare; a problem says how to see it again."""
        whole = self.whole(name, beside)
        path = self.folder / f"{name}-{os.getpid()}-{self.trials}"
        log, found, happened, stopped_at = path.with_suffix(".log"), [], [], set()
        groups: list[int] = []
        for planned in [*deaths, None]:
            left = 1 - newest(path) / whole.steps
            death = planned and self._placed(planned, whole, left)
            self.shared.clear()
            number = self._start(name, path, log, death, beside)
            groups.append(number)
            code, seconds = self._end(number, death, whole, left)
            if code == 0:
                break
            if death is None or not self._is_expected(code, death, path):
                found.append(f"hangs for {PATIENCE:.0f} s" if code is None else f"ended with {code} instead of {death}")
                break
            now = death.mark or self.shared.now
            happened.append(str(death._replace(mark=now)))
            self._count(name, death, now)
            if death.signals[0] == signal.SIGKILL:
                found += self._lost_work(path, beside)
            else:
                stopped_at.add(self.shared.step)
                found += self._obeyed(path, log, death, seconds)
        orphans = sum(outlive(group, ORPHANS) for group in groups)
        found += [f"{orphans} processes live on {ORPHANS:.0f} s after their run"] if orphans else []
        found += differences(whole.run, path, stopped_at)
        family = f"{name}+beside" if beside else name
        self._settle(path, log, found, f"{which}, or --replay {','.join([family, *happened])}")
        self.trials += 1

    def _placed(self, death: Death, whole: Undisturbed, left: float) -> Death:
        """Say how often the phase of a death is entered before it."""
        if death.mark or not death.phase:
            return death
        return death._replace(mark=Mark(death.phase, math.ceil(death.share * left * whole.counts[death.phase]) or 1))

    def _start(self, name: str, path: Path, log: Path, death: Death | None, beside: bool) -> int:
        def work() -> None:
            begun = (path / "recipe.toml").exists()
            if begun and RunFolder(path).is_complete:
                return
            Watched(self.shared, death).start(beside)
            if death and death.signals[0] != signal.SIGKILL:
                words = ["resume", path] if begun else ["train", self.folder / f"{name}.toml", "--run", path]
                sys.argv[1:] = map(str, words)
                command_line()
            elif begun:
                sd.resume(path)
            else:
                sd.train(self.recipes[name], run=path)

        return child(work, log)

    def _end(self, number: int, death: Death | None, whole: Undisturbed, left: float) -> tuple[int | None, float]:
        """Wait for the child, or for the time of its death; return how it ended, and how soon after the first signal."""
        if death is None or death.mark:
            code, began = wait(number, PATIENCE), time.monotonic()
        else:
            code = self._wait_for(number, int(death.share >= STARTING))
            share = (death.share - STARTING) / (1 - STARTING) * left
            seconds = whole.training * share if share >= 0 else whole.starting * death.share / STARTING
            code = wait(number, seconds) if code is None else code
            began = time.monotonic()
            for place, signal_number in enumerate(death.signals, start=1):
                if code is None:
                    (os.killpg if death.whole_group else os.kill)(number, signal_number)
                    code = wait(number, PATIENCE if place == len(death.signals) else death.gap)
        if code is None:
            os.killpg(number, signal.SIGKILL)
            os.waitpid(number, 0)
        return code, time.monotonic() - began

    def _wait_for(self, number: int, place: int) -> int | None:
        """Wait until the child has come so far, or has ended: how."""
        code, until = None, time.monotonic() + PATIENCE
        while code is None and not self.shared.reached(place) and time.monotonic() < until:
            code = wait(number, 0.001)
        return code

    def _is_expected(self, code: int | None, death: Death, path: Path) -> bool:
        first = death.signals[0]
        if code is None:
            return False
        if first == signal.SIGKILL or not self.shared.fitting:  # before and after the training nothing catches it
            return code in (-first, 128 + first) or (first == signal.SIGINT and RunFolder(path).is_complete)
        return code == 128 + first

    def _count(self, name: str, death: Death, now: Mark) -> None:
        if death.signals[0] == signal.SIGKILL:
            self.kills += 1
            self.counts["families"][name] += 1
            self.counts["phases"][now.phase] += 1
            self.counts["groups"]["whole group" if death.whole_group else "process alone"] += 1
        else:
            self.counts["signals"][str(death).partition(":")[0]] += 1

    def _lost_work(self, path: Path, beside: bool) -> list[str]:
        if self.shared.step < 0:
            return []
        lost = self.shared.step - newest(path)
        if beside:
            self.most_lost_beside = max(self.most_lost_beside, lost)
        else:
            self.most_lost = max(self.most_lost, lost)
        return [f"lost {lost} updates, more than {SAVE_EVERY}"] if lost > SAVE_EVERY else []

    def _obeyed(self, path: Path, log: Path, death: Death, seconds: float) -> list[str]:
        """Return what is wrong with how a signal during training was obeyed."""
        self.slowest = max(self.slowest, seconds)
        found = [f"{death} took {seconds:.1f} s"] if seconds > GRACE else []
        if not self.shared.fitting and self.shared.step < 0:
            return found  # it came before the training
        said = log.read_text()
        complete = RunFolder(path).is_complete
        if len(death.signals) == 1 and not complete and newest(path) != self.shared.step:
            found.append(f"{death}: stopped at {self.shared.step}, saved is {newest(path)}")
        if not complete and f"seodang resume {path}\n" not in said:
            found.append(f"{death}: does not say how to go on")
        return found

    def _settle(self, path: Path, log: Path, found: list[str], again: str) -> None:
        if found:
            said = log.read_text()[-LOG_TAIL:] if log.exists() else ""
            self.problems += [f"{path.name}: {what}\n  see it again: {again}\n  {path}\n{said}" for what in found]
            return
        shutil.rmtree(path)
        log.unlink()


# ------------------------------------------------------------------------------------------------- the program


def drive(folder: Path, job: int, options: argparse.Namespace, deadline: float) -> None:
    """Be one of the processes that torture: every so manieth trial, until there have been so many kills."""
    adopt_orphans()
    torture = Torture(folder, options.seed, options.families, options.signals)
    if options.replay:
        name, *deaths = options.replay.split(",")
        name, _, beside = name.partition("+")
        torture.follow(name, [Death.parse(text) for text in deaths], bool(beside), "the same")
    elif options.trial is not None:
        torture.trial(options.trial)
    else:
        number = job
        while torture.kills < -(-options.kills // options.jobs) and time.monotonic() < deadline:
            torture.trial(number)
            number += options.jobs
            write_account(folder, job, torture)
    write_account(folder, job, torture)


def drive_broken(folder: Path, part: str, options: argparse.Namespace) -> None:
    """Break a part, and torture until that is noticed."""
    adopt_orphans()
    how = breakage.PARTS[part]
    how.breaking()
    torture = Torture(folder, options.seed, [how.family], how.signals)
    torture.only = how.phase
    number = 0
    while torture.kills < options.kills and not torture.problems:
        torture.trial(number)
        number += 1
    (folder / f"{part}.json").write_text(json.dumps(torture.account()))


def write_account(folder: Path, job: int, torture: Torture) -> None:
    temporary = folder / f"account-{job}.new"
    temporary.write_text(json.dumps(torture.account()))
    temporary.rename(folder / f"account-{job}.json")


def read_accounts(folder: Path) -> dict[str, Any]:
    """Return the sum of what every job has counted so far."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("account-*.json"))]
    names = ("families", "phases", "groups", "signals")
    return {
        **{name: sum(one[name] for one in found) for name in ("kills", "trials")},
        **{name: max((one[name] for one in found), default=0) for name in ("most_lost", "most_lost_beside", "slowest")},
        **{name: sum((Counter(one["counts"][name]) for one in found), Counter()) for name in names},
        "problems": [problem for one in found for problem in one["problems"]],
    }


def report(account: dict[str, Any], seconds: float, seed: int) -> None:
    problems = account["problems"]
    print(f"{account['kills']:,} kills (SIGKILL) of {account['trials']:,} runs in {seconds:,.0f} s, seed {seed}: "
          f"{len(problems)} problems")  # fmt: skip
    for name in ("families", "phases", "groups", "signals"):
        print(f"{name}: " + ", ".join(f"{key} {count:,}" for key, count in account[name].most_common()))
    rare = [name for name in MARKS[1:] if not account["phases"][name]]
    print(f"phases never hit: {', '.join(rare) or 'none'}")
    print(f"most work lost, with {SAVE_EVERY} updates between saves: {account['most_lost']} updates; "
          f"{account['most_lost_beside']} where a thread writes")  # fmt: skip
    print(f"slowest to obey a signal: {account['slowest']:.2f} s")
    print(*problems, sep="\n")


def run_jobs(folder: Path, options: argparse.Namespace) -> bool:
    """Torture with several processes, saying every ten seconds how far they are; return whether all went well."""
    began = time.monotonic()
    jobs = [
        child(lambda job=job: drive(folder, job, options, began + options.seconds), folder / "drivers.txt")  # type: ignore[misc]
        for job in range(options.jobs)
    ]
    codes, waiting, said = [], list(jobs), began
    while waiting:
        code = wait(waiting[0], 1.0)
        if code is not None:
            codes.append(code)
            waiting.pop(0)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            account = read_accounts(folder)
            speed = account["kills"] / (said - began)
            print(f"{account['kills']:,} of {options.kills:,} kills, {len(account['problems'])} problems, "
                  f"{speed:.1f} kills/s", file=sys.stderr, flush=True)  # fmt: skip
    return not any(codes)


def run_controls(folder: Path, options: argparse.Namespace) -> bool:
    """Break one part after the other; say after how many kills each is noticed, and return whether all of them are."""
    noticed = []
    for part in options.broken:
        if wait(child(lambda part=part: drive_broken(folder, part, options), folder / "drivers.txt"), PATIENCE):  # type: ignore[misc]
            raise RuntimeError((folder / "drivers.txt").read_text())
        account = json.loads((folder / f"{part}.json").read_text())
        noticed.append(bool(account["problems"]))
        first = account["problems"][0].splitlines()[0].partition(": ")[2] if noticed[-1] else "NOT NOTICED"
        deaths = account["kills"] + sum(account["counts"]["signals"].values())
        print(f"broken {part}: after {deaths} deaths: {first}", flush=True)
    return all(noticed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=7200, help="start no new runs after this time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--trial", type=int, help="only this trial of the seed")
    parser.add_argument("--replay", metavar="FAMILY,DEATH,…", help="only a run that dies like this")
    parser.add_argument("--signals", type=float, default=0.15, help="how many deaths are by SIGTERM or Ctrl-C: 0 to 1")
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument(
        "--break", dest="broken", nargs="+", choices=[*breakage.PARTS], help="break these: must be noticed"
    )
    parser.add_argument("--folder", type=Path, help="where the runs go; one with a problem is kept there")
    options = parser.parse_args()
    if options.trial is not None or options.replay:
        options.jobs = 1
    torch.set_num_threads(1)
    code_digest()  # once: the children inherit it, whatever happens to the files
    api._pictures = lambda run, data: lambda event: None  # the report takes longer than these runs
    folder = options.folder or Path(tempfile.mkdtemp(prefix="seodang-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    import_all(folder, options.families)
    if options.broken:
        return int(not run_controls(folder, options))
    began = time.monotonic()
    if not run_jobs(folder, options):
        print((folder / "drivers.txt").read_text(), file=sys.stderr)
        return 2
    account = read_accounts(folder)
    report(account, time.monotonic() - began, options.seed)
    if not account["problems"] and options.folder is None:
        shutil.rmtree(folder)
    return int(bool(account["problems"]))


if __name__ == "__main__":
    sys.exit(main())
