"""Run every benchmark and print its table: python -m benchmarks [name …]"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from datetime import date

import benchmarks
from seodang.training.devices import machine


def main() -> None:
    names = sys.argv[1:] or sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    here = machine()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"{here['cores']} cores, {here['processor']}, torch {here['torch']}, {date.today()}, commit {commit.strip()}")
    for name in names:
        if not name.startswith("_"):
            print(f"\n== {name}")
            importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
