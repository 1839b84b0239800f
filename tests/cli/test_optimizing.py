"""seodang show RECIPE: which weights decay, at which rate, and the rate over the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seodang.cli.optimizing import BARS, rate_line

RECIPE = """
name = "small"
data = {{ name = "digits" }}
task = "classification"
model = {{ name = "mlp", hidden_sizes = [12, 12], normalization = "batch" }}
optimizer = {{ {optimizer} }}
[train]
{length}
"""


def written(tmp_path: Path, optimizer: str, length: str = "steps = 100") -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(optimizer=optimizer, length=length))
    return path


def test_groups_are_counted_with_decay_and_rate(seodang: Any, tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "adamw", lr = 0.02, weight_decay = 0.05, layer_decay = 0.5')
    groups = seodang("show", path, "--json").json["optimizer"]["groups"]
    shown = [
        (group["name"], group["layer"], group["parameters"], group["weight_decay"], group["lr"]) for group in groups
    ]
    assert shown == [("weights", 0, 768, 0.05, 0.005), ("weights", 1, 144, 0.05, 0.01), ("weights", 2, 120, 0.05, 0.02),
                     ("biases and norms", 0, 36, 0.0, 0.005), ("biases and norms", 1, 36, 0.0, 0.01),
                     ("biases and norms", 2, 10, 0.0, 0.02)]  # fmt: skip
    text = seodang("show", path).out
    assert "weights of layer 1" in text and "768" in text and "0.005" in text


def test_muon_says_which_rule_moves_what(seodang: Any, tmp_path: Path) -> None:
    text = seodang("show", written(tmp_path, 'name = "muon"')).out
    rows = {line.partition("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["hidden matrices"][-4:] == ["Muon", "144", "0.01", "0.02"]
    assert rows["weights"][-4:] == ["AdamW", "888", "0.01", "0.003"]


@pytest.mark.parametrize(
    ("schedule", "length", "steps", "ends"),
    [
        ('schedule = "linear"', "steps = 100", 100, (0.1, 0.001)),
        ('schedule = "step", drop_at = [0.5], drop = 0.2', "steps = 1000", 1000, (0.1, 0.02)),
        ('schedule = "exponential", final = 0.01', "epochs = 2", 40, (0.1, 0.1 * 0.01 ** (39 / 40))),
        ('schedule = "constant"', "minutes = 1", None, (0.1, 0.1)),
        ('schedule = "linear"', "minutes = 1", None, (0.1, 0.0)),
    ],
)
def test_the_rate_over_the_run_is_the_schedules(
    seodang: Any, tmp_path: Path, schedule: str, length: str, steps: int | None, ends: tuple[float, float]
) -> None:
    path = written(tmp_path, f'name = "sgd", lr = 0.1, {schedule}', length)
    found = seodang("show", path, "--json").json["optimizer"]
    assert found["steps"] == steps
    assert (found["rates"][0], found["rates"][-1]) == pytest.approx(ends)
    assert f"at first 0.1, at most 0.1, at last {ends[1]:.3g}" in seodang("show", path).out


def test_changes_are_shown_as_they_would_be_trained(seodang: Any, tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "sgd", lr = 0.1')
    found = seodang("show", path, "optimizer.schedule=one-cycle", "optimizer.lr=0.5", "--json").json["optimizer"]
    assert max(found["rates"]) == pytest.approx(0.5, rel=0.01)
    assert found["rates"][0] == pytest.approx(0.02)
    text = seodang("show", path, "optimizer.schedule=plateau").out
    assert 'schedule = "plateau"' in text
    assert "times 0.1 whenever 5 evaluations on the validation split bring nothing better" in " ".join(text.split())
    for words, said in [
        ((path, "optimizer.lrr=1"), "Did you mean 'lr'?"),
        ((path, "optimizer.schedule=cosin"), "optimizer.schedule"),
        (("mlp", "optimizer.lr=1"), "changes go with a recipe, and 'mlp' is none"),
    ]:
        answer = seodang("show", *words)
        assert answer.code == 2
        assert said in answer.err


def test_bars_follow_the_rates() -> None:
    line = rate_line("linear", [place / 8 for place in range(1, 9)], 8)
    assert line.startswith("▂▃▄▅▆▇██")
    assert set(BARS) >= set(rate_line("constant", [0.1] * 5, 5).partition(" ")[0]) == {"█"}
