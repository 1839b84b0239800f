"""Known minima, the paper's filter normalisation, the run's own loss at the origin, and PCA against NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import seodang as sd
from seodang.api import open_bundle
from seodang.cli.commands import app
from seodang.cli.landscaping import _batches
from seodang.core.errors import RunError
from seodang.scratch import optim
from seodang.visualize.landscape import (
    filter_normalised,
    loss_grid,
    mean_loss,
    move,
    pca_plane,
    random_plane,
    spots,
    weights_of,
    worker_count,
)
from seodang.visualize.landscape_page import enlarged, ground
from seodang.visualize.surfaces import SURFACES, Surface, descend, nearest_minimum, outside


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.name)
def test_minima_are_where_they_are_known_to_be(surface: Surface) -> None:
    for x, y in surface.minima:
        point = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
        height = surface.height(point[0], point[1])
        (slope,) = torch.autograd.grad(height, point)
        assert float(height.detach()) == pytest.approx(0, abs=1e-12)
        assert slope.abs().max() < 1e-5
        assert not outside(np.array([x, y]), surface.extent)


def test_the_way_is_the_optimizers_own() -> None:
    surface = SURFACES["himmelblau"]
    way = descend(surface, "sgd", lambda place: torch.optim.SGD(place.parameters(), lr=1.0), lambda step: 0.005, 30)

    def gradient(w: Any) -> Any:
        point = torch.tensor(w, requires_grad=True)
        return torch.autograd.grad(surface.height(point[0], point[1]), point)[0].numpy()

    by_hand = optim.sgd(np.array(surface.start), gradient, 0.005)
    assert np.allclose(way.points[1:], [next(by_hand) for _ in range(30)], atol=1e-12)
    gap = nearest_minimum(surface, way.points[-1])
    assert gap is not None
    assert gap < 0.1
    assert way.left_at is None


def test_a_way_that_runs_off_ends_there() -> None:
    way = descend(
        SURFACES["beale"], "sgd", lambda place: torch.optim.SGD(place.parameters(), lr=1.0), lambda step: 5.0, 30
    )
    assert way.left_at is not None
    assert len(way.points) <= way.left_at + 1
    assert np.isfinite(way.heights).all()
    assert nearest_minimum(SURFACES["saddle"], np.zeros(2)) is None


def test_filter_normalisation_is_the_papers() -> None:
    weights = {"conv": torch.randn(4, 3, 2, 2), "dense": torch.randn(5, 7), "bias": torch.randn(5)}
    drawn = {name: torch.randn_like(value) for name, value in weights.items()}
    found = filter_normalised(drawn, weights)
    for name in ("conv", "dense"):
        for j in range(len(weights[name])):
            wanted = (
                drawn[name][j] / torch.linalg.vector_norm(drawn[name][j]) * torch.linalg.vector_norm(weights[name][j])
            )
            assert torch.allclose(found[name][j], wanted, atol=1e-6)
    assert not found["bias"].any()


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def some_checkpoints(model: nn.Module, count: int) -> list[tuple[int, dict[str, torch.Tensor]]]:
    return [(step, {name: value + 0.3 * torch.randn_like(value) for name, value in weights_of(model).items()})
            for step in range(count)]  # fmt: skip


def flat(values: Any) -> Any:
    return np.concatenate([value.double().numpy().ravel() for value in values.values()])


def test_pca_is_numpys() -> None:
    model = network()
    checkpoints = some_checkpoints(model, 6)
    plane = pca_plane(model, [*checkpoints, (6, weights_of(model))])
    matrix = np.stack([flat(values) - flat(plane.origin) for _, values in checkpoints])
    _, singular, right = np.linalg.svd(matrix, full_matrices=False)
    assert plane.explained == pytest.approx(tuple(singular[:2] ** 2 / np.sum(singular**2)))
    for place, direction in enumerate(plane.directions):
        assert abs(np.dot(flat(direction), right[place])) == pytest.approx(1, abs=1e-6)


def test_distances_are_what_the_plane_leaves_over() -> None:
    model = network()
    checkpoints = some_checkpoints(model, 5)
    for plane in (pca_plane(model, checkpoints), random_plane(model, 3, checkpoints)):
        basis = np.stack([flat(direction) for direction in plane.directions], 1)
        for spot, (_, values) in zip(spots(plane, checkpoints), checkpoints, strict=True):
            away = flat(values) - flat(plane.origin)
            left = away - basis @ np.linalg.pinv(basis) @ away
            assert spot.distance == pytest.approx(np.linalg.norm(left), rel=1e-5)
            assert spot.from_origin == pytest.approx(np.linalg.norm(away), rel=1e-6)
        on_it = {name: value + 0.5 * plane.directions[0][name] for name, value in plane.origin.items()}
        (spot,) = spots(plane, [(9, on_it)])
        assert (spot.x, spot.y) == pytest.approx((0.5, 0.0), abs=1e-5)
        assert spot.distance < 1e-5


def test_too_few_checkpoints_are_no_plane() -> None:
    model = network()
    with pytest.raises(RunError, match="needs 3 checkpoints beside the trained weights; this run kept 2"):
        pca_plane(model, [*some_checkpoints(model, 2), (2, weights_of(model))])
    line = [
        (step, {name: value * (1 + 0.1 * step) for name, value in weights_of(model).items()}) for step in range(1, 5)
    ]
    with pytest.raises(RunError, match="lie on one line"):
        pca_plane(model, line)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("landscape") / "digits"
    return sd.train("digits-mlp", run=path, train={"threads": 1, "steps": 40, "evaluate_every": 8, "keep": 20})


def test_the_origin_is_the_runs_own_loss(run: Any) -> None:
    bundle, task = open_bundle(run)
    batches, count = _batches(run, bundle.record.facts, "test", 0)
    plane = random_plane(bundle.model, 0)
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    grid = loss_grid(bundle.model, task, batches, plane, np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0]))
    assert grid[1, 1] == pytest.approx(run.evaluate(split="test")["loss"], rel=1e-5)
    assert grid[1, 1] == grid.min(), "trained weights are lower than those a whole length away"
    assert all(torch.equal(value, before[name]) for name, value in bundle.model.state_dict().items())
    move(bundle.model, plane, -1.0, 1.0)
    assert mean_loss(bundle.model, task, batches) == pytest.approx(grid[0, 0]), (
        "the first row is the top, the first column the left"
    )
    assert count == len(batches[0][0]) + sum(len(batch[0]) for batch in batches[1:])


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app(list(words), standalone_mode=False) or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_on_a_run(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    code, out, _ = call(
        capsys, "landscape", str(run.path), "--grid", "5", "--examples", "64", "--to", str(tmp_path), "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["plane"] == "pca"
    assert found["examples"] == 64
    assert 0.5 < sum(found["explained"]) <= 1
    assert len(found["checkpoints"]) == len(run.checkpoints)
    assert {Path(path).suffix for path in found["pictures"]} == {".svg", ".png", ".html"}
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_the_command_on_a_surface_and_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        capsys, "landscape", "beale", "optimizer.name=sgd,adam", "--steps", "20", "--to", str(tmp_path), "--json"
    )
    assert code == 0
    assert [way["rule"] for way in json.loads(out)["ways"]] == ["sgd", "adam"]
    for words, said in [
        (("beal",), "Did you mean 'beale'?"),
        (("beale", "optimizer.name=adm"), "no optimizer called 'adm'. Did you mean"),
        (("beale", "optimizer.name=muon"), "rule for matrices"),
        (("beale", "train.steps=3"), "only the optimizer can be set"),
        (("beale", "optimizer.name=sgd", "optimizer.betas=[0.9,0.99]"), "betas"),
    ]:
        code, _, err = call(capsys, "landscape", *words, "--to", str(tmp_path / "none"))
        assert code == 2
        assert said in err
    assert not (tmp_path / "none").exists()


def test_pictures_of_heights() -> None:
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    fine = enlarged(values, 5)
    assert fine[0, 0] == 0
    assert fine[-1, -1] == 3
    assert fine[2, 2] == pytest.approx(1.5)
    assert (ground(np.full((3, 3), np.nan)) == 200).all()


def test_more_threads_give_the_same_numbers_and_an_error_ends_them_all(run: Any) -> None:
    bundle, task = open_bundle(run)
    batches, _ = _batches(run, bundle.record.facts, "train", 40)
    plane, along = random_plane(bundle.model, 0), np.linspace(-1, 1, 5)
    threads, told = torch.get_num_threads(), []
    one = loss_grid(bundle.model, task, batches, plane, along, along)
    three = loss_grid(bundle.model, task, batches, plane, along, along, told.append, workers=3)
    assert np.allclose(one, three, rtol=1e-5)
    assert told == [5, 10, 15, 20, 25]
    assert torch.get_num_threads() == threads

    def interrupted(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss_grid(bundle.model, task, batches, plane, along, np.linspace(-1, 1, 400), interrupted, workers=2)
    assert torch.get_num_threads() == threads


def test_copies_of_large_models_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(10, 10, bias=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert worker_count(model) == 4
    monkeypatch.setattr("seodang.visualize.landscape.MOST_BYTES", 800)
    assert worker_count(model) == 2
    monkeypatch.setattr("seodang.visualize.landscape.MOST_BYTES", 100)
    assert worker_count(model) == 1
