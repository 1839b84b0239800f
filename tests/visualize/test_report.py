"""The report: one page that needs nothing else and runs nothing it does not carry; look: the same as files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import DataError, RunError
from seodang.core.inputs import Facts
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset, datasets
from seodang.visualize.answers import gather
from seodang.visualize.figure import Bars
from seodang.visualize.look import look, save_all
from seodang.visualize.report import report
from seodang.visualize.sections import affordable, sections

QUICK = {"train": {"steps": 40, "threads": 1, "log_every": 5, "evaluate_every": 20}}
CLOSED = frozenset({"meta", "img", "br", "line", "circle", "path", "polyline", "image"})


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sd.train("digits-mlp", run=tmp_path_factory.mktemp("runs") / "digits", **QUICK)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sd.train("mlp-xor", run=tmp_path_factory.mktemp("runs") / "xor", train={"steps": 60, "threads": 1})


class Page(HTMLParser):
    """Reads a page as a browser does, and fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in CLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in CLOSED:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(run: RunFolder) -> str:
    return (run.path / "report.html").read_text(encoding="utf-8")


def parts(run: Any) -> tuple[Any, Any, Dataset]:
    bundle, task = open_bundle(run)
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    return bundle, task, data


def test_a_finished_run_leaves_its_report(digits: Any) -> None:
    page = Page(page_of(digits))
    assert page.words["h1"] == ["digits-mlp"]
    assert page.words["h2"] == [
        "Training",
        "What training sees",
        "What it gets right and wrong",
        "Inside",
        "Layers",
        "The run",
    ]
    titles = page.words["h3"]
    assert titles[:4] == ["Loss", "Accuracy", "Learning rate", "Norm of the gradient"]
    assert "Confusion matrix" in titles
    assert "Worst mistakes" in titles
    assert "Filters of the first layer" in titles
    accuracy = digits.scores["accuracy"]
    assert any(f"{accuracy * 100:.1f}".rstrip("0").rstrip(".") in word for word in page.words["dd"])
    assert page.all("html")[0]["lang"] == "en"


def test_it_loads_nothing_and_runs_only_what_its_policy_names(digits: Any) -> None:
    text = page_of(digits)
    page = Page(text)
    policy = (
        next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy") or ""
    )
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://", text), "no address but plain sources, and this data names none"
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("data:image/png;base64,", "#"))
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "header", "div", "svg", "rect", "text", "span", "time", "h1", "p",
        "dl", "dt", "dd", "small", "nav", "a", "main", "section", "h2", "figure", "figcaption", "h3", "desc", "line",
        "polyline", "circle", "g", "image", "img", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "button", "pre",
        "footer", "script",
    }  # fmt: skip
    assert len(text) < 1_500_000


def test_every_picture_has_words_for_those_who_cannot_see_it(digits: Any) -> None:
    page = Page(page_of(digits))
    assert all(image.get("alt") for image in page.all("img"))
    pictures = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true" and "x" not in svg]
    assert pictures
    assert all(svg.get("role") == "img" for svg in pictures)
    assert len(page.words["desc"]) == len(pictures)


def test_the_curves_carry_the_events(digits: Any) -> None:
    page = Page(page_of(digits))
    plot = json.loads(next(svg["data-plot"] for svg in page.all("svg") if svg.get("data-plot")) or "")
    stepped = [event["losses"]["model"] for event in digits.events if event["event"] == "stepped"]
    assert [float(point[3]) for point in plot["lines"][0]["points"]] == pytest.approx(stepped, rel=1e-3)


def test_names_from_outside_are_text(digits: Any, tmp_path: Path) -> None:
    bundle, task, data = parts(digits)
    evil = "<script>alert(1)</script>"
    facts = task.facts.replace(classes=tuple(f"{evil}{place}" for place in range(10)), source=evil, notes=(evil,))
    task.facts = data.facts = Facts.of(facts.values())
    run = RunFolder.create(digits.recipe.replace(name=evil, about=evil), tmp_path / "evil")
    text = report(run, bundle.model, task, data)
    assert evil not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    Page(text)


def test_in_korean(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_LANG", "ko")
    text = report(digits, *parts_of_model(digits))
    page = Page(text)
    assert page.all("html")[0]["lang"] == "ko"


def parts_of_model(run: Any) -> tuple[Any, Any, Dataset]:
    bundle, task, data = parts(run)
    return bundle.model, task, data


def test_sections_follow_the_data_and_the_answers(digits: Any, gate: Any) -> None:
    names = {
        section.name: [figure.name for figure in section.figures] for section in sections(gate, *parts_of_model(gate))
    }
    assert names["answers"][0] == "decision-boundary"
    assert names["inside"] == ["weights", "activations"]
    model, task, data = parts_of_model(digits)
    task.answers = ""
    names = {
        section.name: [figure.name for figure in section.figures] for section in sections(digits, model, task, data)
    }
    assert "answers" not in names, "an unknown kind of answer is not guessed"
    assert names["inside"] == ["filters", "activations"]


def test_data_without_a_held_out_split_still_has_a_report(digits: Any) -> None:
    model, task, data = parts_of_model(digits)
    data.facts = data.facts.replace(sizes={})
    names = [section.name for section in sections(digits, model, task, data)]
    assert names == ["training", "inside", "layers"]


def test_a_part_that_cannot_be_drawn_says_why_and_the_others_are_there(gate: Any, tmp_path: Path) -> None:
    model, task, data = parts_of_model(gate)

    def broken(model: Any) -> dict[str, torch.Tensor]:
        raise RuntimeError("mat1 and <mat2> do not fit")

    task.blank_inputs = broken
    text = report(gate, model, task, data)
    page = Page(text)
    assert page.words["h2"] == ["Training", "What it gets right and wrong", "Inside", "Layers", "The run"]
    assert "This part could not be drawn. RuntimeError: mat1 and &lt;mat2&gt; do not fit" in text
    with pytest.raises(sd.SeodangError, match=r"(?s)figures are in .*Layers: This part could not be drawn"):
        look(gate, open_bundle(gate)[0], task, [], tmp_path)
    assert (tmp_path / "decision-boundary.svg").exists()
    assert not (tmp_path / "layers.svg").exists()


def test_look_writes_figures_and_nothing_else(gate: Any, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(gate.path.rglob("*"))}
    paths = gate.look(to=tmp_path / "figures")
    assert {path: path.stat().st_mtime_ns for path in sorted(gate.path.rglob("*"))} == before
    names = [path.name for path in paths]
    assert len(set(names)) == len(names)
    assert {"loss.svg", "decision-boundary.svg", "confusion.svg", "layers.svg", "weights.svg"} <= set(names)
    assert names[-1] == "boundary.html"
    for path in paths[:-1]:
        ElementTree.parse(path) if path.suffix == ".svg" else Image.open(path).verify()
    assert gate.look()[0].parent == gate.path / "figures"


def test_look_at_a_picture_of_ones_own(digits: Any, tmp_path: Path) -> None:
    Image.new("L", (30, 30), 255).save(tmp_path / "white.png")
    paths = digits.look(str(tmp_path / "white.png"), to=tmp_path / "out")
    assert [path.name for path in paths] == [
        *(f"input-{name}.svg" for name in ("classes", "activations", "maps")),
        *(f"input-{name}.png" for name in ("classes", "activations", "maps")), "input.html",
    ]  # fmt: skip
    model, task, _ = parts_of_model(digits)
    chances = task.predict(model, str(tmp_path / "white.png")).values["probabilities"]
    text = paths[0].read_text()
    for name, chance in list(chances.items())[:3]:
        assert f">{name}</text>" in text
        assert f"{chance * 100:.1f}".rstrip("0").rstrip(".") + " %" in text
    two = look(digits, open_bundle(digits)[0], task, [str(tmp_path / "white.png")] * 2, tmp_path / "two")
    assert [path.name for path in two][::7] == ["input-1-classes.svg", "input-2-classes.svg"]
    with pytest.raises(RunError, match="brings no data"):
        sd.look(digits.best)
    with pytest.raises(DataError, match="nothing"):
        digits.look(str(tmp_path / "nothing.png"), to=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_of_a_large_model_fewer_examples_are_examined(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, task, _ = parts_of_model(digits)
    assert affordable(model, task) == 2000
    work = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    monkeypatch.setattr("seodang.visualize.sections.WORK", 150 * (work + 2 * 128))
    assert affordable(model, task) in range(140, 152)
    monkeypatch.setattr("seodang.visualize.sections.WORK", 1)
    assert affordable(model, task) == 64


def test_equal_names_are_numbered_and_strange_ones_are_safe(tmp_path: Path) -> None:
    bars = [Bars("a", "b", ("x",), (1.0,), name=name) for name in ("same", "same", "../../etc: ㄱ", "")]
    names = [path.name for path in save_all(bars, tmp_path)]
    assert names == ["same.svg", "same-2.svg", "etc-ㄱ.svg", "bars.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_large_split_is_sampled_the_same_each_time(digits: Any) -> None:
    model, _, data = parts_of_model(digits)
    some = gather(model, data, most=50)
    again = gather(model, data, most=50)
    assert some is not None
    assert again is not None
    assert len(some.targets) == 50
    assert torch.equal(some.inputs, again.inputs)
    whole = gather(model, data)
    assert whole is not None
    assert len(whole.targets) == whole.whole == data.facts.sizes["test"]
    batch = data.split("test").batch(torch.arange(8), None)
    with torch.no_grad():
        assert torch.allclose(whole.outputs[:8], model(batch[0]), atol=1e-5)
    assert torch.equal(whole.targets[:8], batch[1])
