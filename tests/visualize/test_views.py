"""Looking inside works for every network of the zoo, from the command line and from Python; what cannot be shown is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import nn

import seodang as sd
from seodang.core.errors import ConfigError, DataError, RunError
from seodang.core.inputs import Facts, ImageInputs, TokenInputs
from seodang.core.recipe import Choice
from seodang.models.base import architectures
from seodang.task.base import Task, tasks
from seodang.visualize import attribution
from seodang.visualize.backward import class_gradient
from seodang.visualize.draw import svg
from seodang.visualize.embeddings import embed
from seodang.visualize.fields import field_figures
from seodang.visualize.figure import Figure, Images, Table
from seodang.visualize.filters import Source, filter_figures
from seodang.visualize.gradcam import gradcam
from seodang.visualize.look import look
from seodang.visualize.receptive_field import receptive_fields
from seodang.visualize.views import VIEWS, picture_figures, read_words, view_figures
from tests.visualize.test_receptive_field import PICTURES, tiny

SMALL = {"resnet18": 64, "vgg16-bn": 64, "densenet121": 64, "googlenet": 64, "nin": 96, "alexnet": 96, "lenet-5": 28}
LOOKED_AT = {
    "resnet18": "stages.3.1.activation", "vgg16-bn": "features.42", "densenet121": "activation", "googlenet": "inception.5b",
    "nin": "features.3.5", "alexnet": "features.11", "lenet-5": "c3",
}  # fmt: skip
"""The maps Grad-CAM takes by itself: the last behind convolutions that no pooling has made smaller."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def facts_of(channels: int, height: int, width: int, classes: int) -> Facts:
    inputs = ImageInputs(channels=channels, height=height, width=width, mean=(0.5,) * channels, std=(0.25,) * channels)
    return Facts(inputs=inputs, classes=tuple(map(str, range(classes))), sizes={})


def task_of(facts: Facts) -> Task:
    return tasks.make(Choice.of({"name": "classification"}), facts.known(), facts)


def seen(model: nn.Module, facts: Facts) -> list[Figure]:
    torch.manual_seed(7)
    pictures = torch.randn(3, *facts.inputs.shape)
    source = Source(lambda rows: pictures[rows], torch.arange(3))
    assert embed(model, pictures).ndim == 2
    return [
        *picture_figures(model, task_of(facts), pictures[:1], {}), *field_figures(model, pictures[:1], facts),
        *filter_figures(model, facts, source), *view_figures("layers", None, model, task_of(facts), []),
    ]  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_every_network_for_pictures_is_open(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "STEPS", 4)  # how exactly is tested beside finite differences
    monkeypatch.setattr(attribution, "MOST_STEPS", 4)
    model = tiny(name).float()
    config = model.config.values()
    figures = seen(model, facts_of(config["in_channels"], *config["image_size"], config["num_classes"]))
    titles = [figure.name for figure in figures]
    assert titles[:4] == ["maps", "field", "fields", "stacked"]
    assert titles[-1] == "layers"
    assert any(title.startswith("deconvolved") for title in titles)
    maps = figures[0]
    assert isinstance(maps, Images)
    assert any(caption.startswith("Grad-CAM") for caption in maps.captions)
    rectified = "no rectifiers" not in maps.about
    assert len(maps.images) == (7 if rectified else 5)
    assert rectified == any(isinstance(module, nn.ReLU) for module in model.modules())
    for figure in figures:
        ElementTree.fromstring(svg(figure))


@pytest.mark.parametrize("name", SMALL)
def test_the_published_forms_on_small_pictures(name: str) -> None:
    torch.manual_seed(0)
    side = SMALL[name]
    narrow = {"hidden_sizes": (8, 8)} if name in ("alexnet", "vgg16-bn") else {}
    settings = {"in_channels": 1, "image_size": (side, side), "num_classes": 4, **narrow}
    model = architectures.make(Choice.of({"name": name, **settings}))
    example = torch.randn(1, 1, side, side)
    path, maps = gradcam(model, example, 2)
    assert path == LOOKED_AT[name]
    assert maps.isfinite().all()
    assert class_gradient(model, example, 2, "guided").isfinite().all()
    fields = receptive_fields(model, example)
    assert path in fields.layers
    assert not fields.unknown


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sd.train(
        "digits-cnn", run=tmp_path_factory.mktemp("runs") / "digits", train={"epochs": None, "steps": 20, "threads": 1}
    )


@pytest.fixture
def five(tmp_path: Path) -> str:
    Image.radial_gradient("L").resize((20, 20)).save(tmp_path / "five.png")
    return str(tmp_path / "five.png")


def names(paths: list[Path]) -> list[str]:
    for path in paths:
        assert path.stat().st_size
        if path.suffix == ".png":
            Image.open(path).verify()
    return [path.name for path in paths]


def test_every_view_of_a_run_is_written(run: Any, five: str, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(run.path.rglob("*"))}
    assert names(run.look("layers", to=tmp_path)) == ["layers.svg", "layers.png", "layers.html"]
    fields = ["field.svg", "fields.svg", "stacked.svg", "field.png", "fields.png", "stacked.png", "field.html"]
    assert names(run.look("field", five, "layer=features.1", "unit=3,2,1", to=tmp_path)) == fields
    filters = names(run.look("filters", to=tmp_path))
    assert filters[:2] == ["filters.png", "deconvolved-features.0.0.svg"]
    assert filters[-1] == "filters.html"
    assert names(run.look("filters", five, "layer=features.1", to=tmp_path))[1] == "deconvolved-features.1.svg"
    near = ["embeddings.svg", "neighbours.svg", "neighbours-table.svg"]
    for words in ([five], ["split=valid", "layer=features.0"]):
        assert names(run.look("embeddings", *words, to=tmp_path))[:3] == near
    found = names(run.look(five, "class=3", "layer=features.1", to=tmp_path))
    assert found[2:4] == ["input-activations-features.1.svg", "input-maps.svg"]
    assert "What speaks for 3" in (tmp_path / "input-maps.svg").read_text()
    assert "default-src &#x27;none&#x27;" in (tmp_path / "input.html").read_text()
    assert {path: path.stat().st_mtime_ns for path in sorted(run.path.rglob("*"))} == before


def test_a_bundle_is_open_too(run: Any, five: str, tmp_path: Path) -> None:
    for words in ([five], ["layers"], ["field", five], ["filters", five]):
        assert sd.look(run.best, *words, to=tmp_path)
    for word in ("field", "filters", "embeddings"):
        with pytest.raises(RunError, match="brings no data"):
            sd.look(run.best, word, to=tmp_path / "none")


@pytest.mark.parametrize(("words", "told"), [
    (["FIVE", "class=eleven"], "class=eleven: is no class"),
    (["FIVE", "layer=featurs.1"], "Did you mean 'features.1'"),
    (["FIVE", "unit=1,1"], "unit=1,1: does not go with"),
    (["class=3"], "class=3: goes with a picture"),
    (["layers", "FIVE"], "needs no input"),
    (["layers", "layer=pool"], "layer=pool: does not go with look … layers"),
    (["field", "unit=9"], "should be row,column"),
    (["field", "layer=features.1", "unit=7,7"], "counted from 0"),
    (["field", "FIVE", "FIVE"], "takes one picture; 2 are named"),
    (["filters", "layer=classifier.2"], "is no layer of this network that gives maps"),
    (["filters", "layer=", "split=test"], "is empty, or given twice"),
    (["filters", "FIVE", "split=test"], "does not go with a picture of one's own"),
    (["embeddings", "layer=nothing"], "is no layer of this network"),
    (["embeddings", "split=tset"], "no split 'tset'"),
])  # fmt: skip
def test_what_cannot_be_shown_is_named(run: Any, five: str, words: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=told):
        run.look(*(five if word == "FIVE" else word for word in words), to=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_networks_that_take_no_pictures(tmp_path: Path) -> None:
    row = sd.train("iris-mlp", run=tmp_path / "iris", train={"steps": 3, "epochs": None, "threads": 1})
    assert [path.name for path in row.look("embeddings", to=tmp_path)][:2] == ["embeddings.svg", "neighbours-table.svg"]
    assert row.look("layers", to=tmp_path)
    for word in ("field", "filters"):
        with pytest.raises(ConfigError, match="for networks that take pictures; this one takes table"):
            row.look(word, to=tmp_path)
    facts = Facts(inputs=TokenInputs(vocab_size=5, length=3), classes=("a", "b"), sizes={})

    class Reader(Task):
        answers = "tokens"

    with pytest.raises(ConfigError, match="for networks that take pictures, rows or vectors"):
        view_figures("embeddings", None, nn.Embedding(5, 3), Reader(None, facts), [])  # type: ignore[arg-type]


def test_words_and_options_are_told_apart() -> None:
    found = read_words(["a=b.png", "layer=x", "cat.png", "unit=1,2"], VIEWS["field"], "field")
    assert found.inputs == ["a=b.png", "cat.png"]
    assert found.options == {"layer": "x", "unit": "1,2"}


def test_a_network_without_maps_says_so(tmp_path: Path, five: str) -> None:
    facts = facts_of(1, 8, 8, 2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Sigmoid(), nn.Linear(5, 2))
    (maps,) = picture_figures(model, task_of(facts), torch.randn(1, 1, 8, 8), {})
    assert isinstance(maps, Images)
    assert [caption.partition("\n")[0] for caption in maps.captions] == [
        "input",
        "gradient",
        "integrated gradients",
        "occlusion",
    ]
    assert "no rectifiers" in maps.about
    assert "no Grad-CAM" in maps.about

    class Bundle:
        def __init__(self, model: nn.Module) -> None:
            self.model = model

    with pytest.raises(ConfigError, match="no receptive fields"):
        look(None, Bundle(model), task_of(facts), ["field", five], tmp_path)
    (layers,) = view_figures("layers", None, model, task_of(facts), [])
    assert isinstance(layers, Table)
    assert [row[0] for row in layers.rows] == ["0", "1", "2", "3"]
