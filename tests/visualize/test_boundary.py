"""The boundary while a network learned: the film is the training's own weights, changes nothing, and the page shows all of it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import RunError
from seodang.core.inputs import Facts, VectorInputs
from seodang.data.dataset import datasets
from seodang.task import weights_film
from seodang.task.weights_film import LONGEST, WeightsFilm, frame, show
from seodang.visualize.boundary import PANELS, boundary, boundary_figures
from seodang.visualize.boundary_page import MOST_NUMBERS, boundary_page, equations

FACTS = Facts(inputs=VectorInputs(size=2), classes=("no", "yes"), sizes={})
QUICK = {"threads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("filmed")
    return {name: sd.train(name, run=folder / name, train=QUICK) for name in ("perceptron-and", "mlp-xor")}


def film_of(run: Any) -> WeightsFilm:
    film = open_bundle(run)[1].weights_film
    assert film is not None
    return film


def found_in(run: Any) -> Any:
    bundle, task = open_bundle(run)
    data = datasets.make(run.recipe.data, None, 0)
    data.prepare()
    return boundary(bundle.model, task, data)


def test_a_moment_is_what_training_so_far_would_have_given(runs: dict[str, Any], tmp_path: Path) -> None:
    moments = dict(film_of(runs["mlp-xor"]).moments())
    short = sd.train("mlp-xor", run=tmp_path / "short", train={**QUICK, "steps": 40, "evaluate_every": 0})
    assert torch.equal(moments[40], frame(short.model()))
    assert not torch.equal(moments[36], frame(short.model()))
    fresh = sd.model(runs["mlp-xor"])
    show(fresh, moments[40])
    assert torch.equal(frame(fresh), moments[40])


def test_rosenblatts_rule_can_be_read_off_the_film(runs: dict[str, Any]) -> None:
    """Each update of the perceptron is nothing, or plus or minus one of the four rows with its constant 1."""
    moments = film_of(runs["perceptron-and"]).moments()
    assert [step for step, _ in moments] == list(range(81))
    rows = {(a, b, 1.0) for a in (0.0, 1.0) for b in (0.0, 1.0)}
    changes = [tuple((new - old).tolist()) for (_, old), (_, new) in pairwise(moments) if (new != old).any()]
    assert 3 <= len(changes) <= 40
    assert all(change in rows or tuple(-value for value in change) in rows for change in changes)


def test_the_training_is_the_same_without_it(
    runs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_film, "MOST_WEIGHTS", 0)
    without = sd.train("mlp-xor", run=tmp_path / "without", train=QUICK)
    assert open_bundle(without)[1].weights_film is None

    def told(run: Any) -> list[Any]:
        return [(event["losses"], event["grad_norm"]) for event in run.events if event["event"] == "stepped"]

    assert told(without) == told(runs["mlp-xor"])
    assert without.scores == runs["mlp-xor"].scores


def test_nothing_is_kept_where_there_is_no_plane_or_too_much_to_keep() -> None:
    three = Facts(inputs=VectorInputs(size=3), classes=("no", "yes"), sizes={})
    assert WeightsFilm.of(nn.Linear(3, 2), three) is None
    assert WeightsFilm.of(nn.Linear(2, 4000), FACTS) is None
    assert WeightsFilm.of(nn.Linear(2, 2), FACTS) is not None


def test_a_long_run_keeps_a_bounded_film_with_its_last_moment() -> None:
    model = nn.Linear(2, 2)
    film = WeightsFilm(model)
    for step in range(1, 1004):
        with torch.no_grad():
            model.bias.fill_(step)
        film.watch(step)
    copied = WeightsFilm(nn.Linear(2, 2))
    copied.restore(film.state())
    steps = [step for step, _ in copied.moments()]
    assert len(steps) <= LONGEST + 1
    assert steps[:2] == [0, 1]
    assert steps[-1] == 1003
    assert all(values[-1] == step for step, values in copied.moments()[1:])


def test_a_restored_film_goes_on_as_if_nothing_had_been() -> None:
    def trained(broken_at: int | None) -> WeightsFilm:
        model = nn.Linear(2, 2)
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        film = WeightsFilm(model)
        for step in range(1, 251):
            with torch.no_grad():
                model.bias.fill_(step)
            film.watch(step)
            if step == broken_at:
                kept, film = film.state(), WeightsFilm(model)
                film.restore(kept)
        return film

    one, two = trained(None).state(), trained(137).state()
    assert one["steps"] == two["steps"]
    assert torch.equal(one["frames"], two["frames"])


def test_loss_right_answers_and_ground_are_the_models_own(runs: dict[str, Any]) -> None:
    found = found_in(runs["mlp-xor"])
    assert found.total == 4
    first, last = found.moments[0], found.moments[-1]
    assert last.step == 200
    assert last.right == 4
    assert last.loss == pytest.approx(runs["mlp-xor"].scores["loss"], rel=1e-5)
    assert first.loss > 0.5
    assert not np.array_equal(first.ground, last.ground)
    (panels,) = boundary_figures(*parts(runs["mlp-xor"]))
    assert len(panels.panels) == PANELS
    assert panels.panels[-1].title == "update 200: loss 0.0011, 4 of 4 right"


def parts(run: Any) -> tuple[Any, Any, Any]:
    bundle, task = open_bundle(run)
    data = datasets.make(run.recipe.data, None, 0)
    data.prepare()
    return bundle.model, task, data


def test_the_page_holds_every_moment_and_loads_nothing(runs: dict[str, Any], tmp_path: Path) -> None:
    (path,) = runs["mlp-xor"].look("boundary", to=tmp_path)
    text = path.read_text(encoding="utf-8")
    assert path.name == "boundary.html"
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    film = json.loads(re.search(r'<script type="application/json" id="film">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    count = len(film_of(runs["mlp-xor"]).moments())
    assert {len(film[key]) for key in ("told", "grounds", "weights", "colours")} == {count}
    assert len(set(film["grounds"])) > count // 2
    assert text.count("<td>") == len(film["weights"][0]) == 42
    assert all(0 <= shade < len(film["palette"]) for shades in film["colours"] for shade in shades)
    assert film["told"][-1] in text
    for promised in ('type="range"', "prefers-reduced-motion", 'aria-label="One moment on"', 'hidden="hidden"'):
        assert promised in text


def test_one_unit_shows_its_line_in_the_units_of_the_data(runs: dict[str, Any]) -> None:
    found = found_in(runs["perceptron-and"])
    assert equations(found)[-1] == "1 x1 + 1 x2 − 1 > 0: the answer is 1"
    scaled = found._replace(axes=(("height", 10.0, 2.0), ("weight", 0.0, 0.5)))
    assert equations(scaled)[-1] == "0.5 height + 2 weight − 6 > 0: the answer is 1"
    assert equations(found_in(runs["mlp-xor"])) == []


def test_names_from_outside_cannot_end_the_film(runs: dict[str, Any]) -> None:
    found = found_in(runs["perceptron-and"])
    evil = found._replace(series=(found.series[0], type(found.series[0])("</script><b>", [0.0], [0.0], 1)))
    page = boundary_page(evil, "<i>")
    assert "</script><b>" not in page
    assert "<i>" not in page


def test_a_larger_network_shows_the_length_of_each_matrix(tmp_path: Path) -> None:
    run = sd.train("mlp-xor", run=tmp_path / "run", model={"hidden_sizes": [64]}, train={**QUICK, "steps": 5})
    found = found_in(run)
    assert sum(value.size for _, value in found.moments[0].weights) > MOST_NUMBERS
    page = boundary_page(found, "large")
    assert page.count("<td>") == 4
    length = np.linalg.norm(found.moments[-1].weights[0][1])
    assert f"<td>{length:.4g}</td>" in page


def test_what_has_no_plane_is_refused(tmp_path: Path) -> None:
    run = sd.train("iris-mlp", run=tmp_path / "run", train={**QUICK, "steps": 2, "evaluate_every": 0})
    with pytest.raises(RunError, match="boundary needs a classification by two numbers"):
        run.look("boundary", to=tmp_path / "none")
    assert not (tmp_path / "none").exists()
