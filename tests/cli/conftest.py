"""A small finished run and a small stopped one, trained once for all tests of the command line; and a way to call it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

import seodang as sd
from seodang.cli.app import app
from seodang.core.events import Event, Stepped

QUICK = {"train.threads": 1, "train.epochs": 2, "train.log_every": 5, "data.augment": []}


class Answer(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def seodang() -> Callable[..., Answer]:
    """Return a function that runs the command line in this process."""

    def call(*words: str | Path) -> Answer:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run on digits. Nobody may change it."""
    return sd.train("digits-mlp", run=tmp_path_factory.mktemp("cli") / "finished", **QUICK).path


@pytest.fixture(scope="session")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "stopped"

    def stop(event: Event) -> None:
        if isinstance(event, Stepped):
            (path / "stop").touch()

    return sd.train("digits-mlp", run=path, listeners=[stop], **QUICK).path


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of a run that was stopped after its first steps."""
    return Path(shutil.copytree(_stopped, tmp_path / "stopped"))
