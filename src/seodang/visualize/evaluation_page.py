"""An evaluation on one page that opens anywhere: scores, gains, and what the answers look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seodang.core.files import make_folders, write
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.visualize.answers import Answers
from seodang.visualize.calibration import calibrations
from seodang.visualize.classes import classification_figures
from seodang.visualize.figure import Column, Figure, Table
from seodang.visualize.frame import fact_list, heading
from seodang.visualize.history import is_share, score_name, score_text, split_name
from seodang.visualize.markup import element
from seodang.visualize.page import page
from seodang.visualize.quantities import quantity_figures
from seodang.visualize.raster import save_both
from seodang.visualize.robustness import robustness_figure, robustness_table
from seodang.visualize.scale import number
from seodang.visualize.sections import Section

Found = Mapping[str, Any]


def evaluation_sections(
    found: Found, curves: Sequence[Found], answers: Mapping[str, Answers], facts: Facts, kind: str
) -> list[Section]:
    """Return what there is to see: scores, gains, the answers of the last of `answers`, robustness.

    `kind` is what the answers are: "classes", "quantities" or else.
    """
    shown: list[Section] = []
    if found:
        tables: list[Figure] = [scores_table(found)]
        if found.get("gains"):
            tables.append(gains_table(found))
        if kind == "classes" and len(answers) > 1:
            tables.append(calibrations({system_name(name): one for name, one in answers.items()}))
        shown.append(Section("scores", say("Scores"), _on(found), tables))
    if answers:
        name, last = list(answers.items())[-1]
        figures = classification_figures(last, facts) if kind == "classes" else quantity_figures(last, facts)
        about = say("The answers of: {name}", name=system_name(name)) if len(answers) > 1 else ""
        shown.append(Section("answers", say("What it gets right and wrong"), about, figures))
    if curves:
        figures = [figure for one in curves for figure in (robustness_figure(one), robustness_table(one))]
        shown.append(Section("robustness", say("Robustness"), say("How the score falls as noise is added."), figures))
    return shown


def _on(found: Found) -> str:
    return say("{split}: {count:,} examples", split=split_name(found["split"]), count=found["examples"])


def system_name(name: str) -> str:
    """Return what several models together are called in the reader's language; a run keeps its name."""
    known = {
        "mean probabilities": say("mean probabilities"),
        "majority vote": say("majority vote"),
        "mean answer": say("mean answer"),
        "mixture of probabilities": say("mixture of probabilities"),
        "as they are": say("as they are"),
    }
    return known.get(name, name)


def scores_table(found: Found) -> Table:
    """Return the scores of every system in a table, a row for each score."""
    systems: Mapping[str, Mapping[str, float]] = found.get("members") or {say("model"): found["scores"]}
    names = list(dict.fromkeys(name for scores in systems.values() for name in scores))
    rows = tuple(
        (score_name(name), *(score_text(name, scores[name]) if name in scores else "–" for scores in systems.values()))
        for name in names
    )
    columns = (Column(say("score")), *(Column(system_name(name), number=True) for name in systems))
    return Table(say("Scores"), _on(found), columns, rows, name="scores")


def gains_table(found: Found) -> Table:
    """Return the gains with their intervals."""
    rows = []
    for gain in found["gains"]:
        name = gain["metric"]
        p = "–" if gain["p"] is None else number(gain["p"])
        rows.append((system_name(gain["one"]), system_name(gain["other"]), points(name, gain["difference"]),
                     f"{points(name, gain['low'])} … {points(name, gain['high'])}", p))  # fmt: skip
    columns = (Column(""), Column(say("against")), Column(say("gain"), number=True), Column(say("95 % interval"), number=True),
               Column(say("p (McNemar)"), number=True))  # fmt: skip
    about = say(
        "The same examples for both: interval by paired bootstrap; p: how likely so uneven mistakes are by luck alone."
    )
    return Table(say("What averaging gains"), about, columns, tuple(rows), about=about, name="gains")


def points(name: str, value: float) -> str:
    """Return a difference of scores with its sign; of shares in percentage points."""
    return f"{100 * value:+.2f}" if is_share(name) else f"{value:+.4g}"


def evaluation_page(title: str, shown: Sequence[Section], facts: Sequence[tuple[str, str]], lead: str) -> str:
    """Return the page."""
    header = heading(say("Seodang: evaluation"), title, element("p", lead, class_="lead"))
    told = element("figure", element("h3", say("What was evaluated")), fact_list(facts))
    details = element("section", element("h2", say("The run")), element("div", told, class_="figures"), id="run")
    return page(say("{name}: evaluation", name=title), header, shown, details)


def write_evaluation(
    to: Path, title: str, shown: Sequence[Section], facts: Sequence[tuple[str, str]], lead: str
) -> list[Path]:
    """Write the page to a file ``….html``; to a folder the page, and every figure as SVG and PNG; return the files."""
    text = evaluation_page(title, shown, facts, lead)
    if to.suffix == ".html":
        write(to, text)
        return [to]
    make_folders(to)
    write(to / "evaluation.html", text)
    written = [to / "evaluation.html"]
    for figure in (figure for section in shown for figure in section.figures):
        written += save_both(figure, to, figure.name)
    return written
