"""T18: every planted fault of a corpus of dirty data is reported with file and line, nothing clean is, nothing is changed,
and training stops before its first step exactly where the check says there is an error."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seodang.cli.app import app
from seodang.core.errors import SeodangError
from seodang.core.recipe import Choice
from seodang.data.before_training import look_over
from seodang.data.dataset import datasets
from seodang.data.inspect import Finding, inspect
from seodang.training.resolve import data_source
from tests.reliability import dirty_pictures, dirty_tables, dirty_texts  # noqa: F401  they fill the corpus
from tests.reliability.dirty_corpus import CASES, Case, Fault

DIRTY = [case for case in CASES if case.faults]
CLEAN = [case for case in CASES if not case.faults]
FOR_ROOT = ("a file nobody may read", "a folder nobody may read")


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, size, times and digest of everything below `root`; links are not followed."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (b".", *folders, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            regular = os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK)
            content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest() if regular else ""
            found[os.fsdecode(path)] = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, content)
    return found


def looked_through(case: Case, path: Path, root: Path) -> list[Finding]:
    """Check the data of a case, and fail if a byte or a time of it has changed."""
    before = snapshot(root)
    findings = inspect(path, case.settings)
    assert snapshot(root) == before
    return [item._replace(where=item.where.replace(f"{root}/", "").replace(str(root), "")) for item in findings]


def is_refused(case: Case, path: Path, root: Path) -> bool:
    """Return whether training would stop before its first step; fail if that changes a byte or a time of the data."""
    before = snapshot(root)
    try:
        data = datasets.make(Choice.of({**data_source(str(path)), **case.settings}))
        data.prepare()
        look_over(data, lambda text: None)
    except SeodangError:
        return True
    finally:
        assert snapshot(root) == before
    return False


def names(finding: Finding, fault: Fault) -> bool:
    """Return whether a finding says what was planted, at the level and the place it was planted."""
    said = finding.where if ": " in fault.where else finding.where.split(": ")[0]
    there = fault.where in said or fault.where in finding.message
    return finding.level == fault.level and there and fault.words in finding.message


def is_expected(finding: Finding, case: Case) -> bool:
    return any(names(finding, fault) for fault in case.faults) or any(words in finding.message for words in case.also)


@pytest.mark.parametrize("case", DIRTY, ids=lambda case: case.name)
def test_a_planted_fault_is_reported(case: Case, tmp_path: Path) -> None:
    if case.name in FOR_ROOT and os.geteuid() == 0:
        pytest.skip("root may read every file")
    path = case.make(tmp_path) or tmp_path
    findings = looked_through(case, path, tmp_path)
    said = "\n".join(f"{item.level} {item.where}: {item.message}" for item in findings)
    for fault in case.faults:
        assert any(names(item, fault) for item in findings), f"{fault} is not reported:\n{said}"
    more = [item for item in findings if item.level != "note" and not is_expected(item, case)]
    assert not more, f"alarms without a cause: {more}"
    wrong = any(item.level == "error" for item in findings)
    assert is_refused(case, path, tmp_path) == wrong, "training does not do what the check says"


@pytest.mark.parametrize("case", CLEAN, ids=lambda case: case.name)
def test_clean_data_raises_no_alarm(case: Case, tmp_path: Path) -> None:
    path = case.make(tmp_path) or tmp_path
    assert not [item for item in looked_through(case, path, tmp_path) if item.level != "note"]
    assert not is_refused(case, path, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if not case.settings][::14], ids=lambda case: case.name)
def test_the_command_says_the_same(case: Case, tmp_path: Path) -> None:
    path = case.make(tmp_path) or tmp_path
    findings = inspect(path, {})
    result = CliRunner().invoke(app, ["check", "--data", str(path), "--json"])
    said = json.loads(result.stdout)
    assert said["findings"] == [item._asdict() for item in findings]
    assert (result.exit_code != 0) == (not said["ok"]) == any(item.level == "error" for item in findings)


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(DIRTY) >= 150
    assert len(CLEAN) >= 20
    assert len({case.name for case in CASES}) == len(CASES)


def case_called(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def test_control_a_check_that_misses_a_fault_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seodang.data.check_table.far_off", lambda values: [])
    with pytest.raises(AssertionError, match="is not reported"):
        test_a_planted_fault_is_reported(case_called("huge outlier"), tmp_path)


def test_control_a_check_that_names_the_wrong_line_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seodang.data.check_table.far_off", lambda values: [3])
    with pytest.raises(AssertionError, match="is not reported"):
        test_a_planted_fault_is_reported(case_called("huge outlier"), tmp_path)


def test_control_a_false_alarm_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seodang.data.check_pictures.is_cut_off", lambda data, pixels: True)
    with pytest.raises(AssertionError):
        test_clean_data_raises_no_alarm(case_called("clean: pictures with a plain floor"), tmp_path)


def test_control_a_check_that_touches_the_data_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_called("clean: iris")
    path = case.make(tmp_path)
    assert path is not None
    monkeypatch.setattr("tests.reliability.test_dirty_data.inspect", lambda path, settings: path.touch() or [])
    with pytest.raises(AssertionError):
        looked_through(case, path, tmp_path)
