"""The doctor's page: findings beside the curves they are seen in, and what flows through the layers."""

from __future__ import annotations

from pathlib import Path

from seodang.core.files import make_folders, write
from seodang.core.language import say
from seodang.diagnosis.finding import Finding
from seodang.diagnosis.story import Story
from seodang.visualize.figure import Axis, Bars, Figure, Lines, Mark, Series
from seodang.visualize.frame import heading
from seodang.visualize.gradients import Flow
from seodang.visualize.markup import Markup, element
from seodang.visualize.page import document, figure_html
from seodang.visualize.scale import finite

UNUSUAL = 25.0
"""Times by which the values of a chart differ from which its axis is logarithmic."""
STYLE = """
article { background: var(--paper); border: 1px solid var(--rule); border-radius: 12px; padding: 20px 24px 22px; }
article + article, article + p { margin-top: 18px; }
article h2 { font-size: 20px; margin-bottom: 8px; }
article p + p { margin-top: 6px; }
article .meaning { color: var(--muted); }
article ul { columns: 340px; column-gap: 32px; margin: 14px 0; padding-left: 18px; font-size: 13.5px; line-height: 1.7; }
article li { break-inside: avoid; }
article h3 { font-size: 14px; color: var(--muted); font-weight: 500; margin: 16px 0 6px; }
article pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 10px 14px; }
"""


def write_page(
    findings: tuple[Finding, ...], unseen: tuple[str, ...], story: Story, flow: list[Flow], to: Path
) -> Path:
    """Write ``doctor.html`` into the folder `to`; return the file."""
    make_folders(to)
    path = to / "doctor.html"
    title = say("{name}: what the doctor says", name=story.recipe.name)
    head = heading(say("Seodang: doctor"), title)
    told = [finding_html(finding) for finding in findings] or [element("p", say("Nothing was found."))]
    if unseen:
        told.append(element("p", say("Not looked at: {what}.", what="; ".join(unseen))))
    drawn = [figure_html(figure, "beside") for figure in figures(findings, story, flow)]
    sections = [element("section", *told, id="findings")]
    if drawn:
        sections.append(element("section", element("div", *drawn, class_="figures"), id="figures"))
    write(path, document(title, head, [], sections, STYLE))
    return path


def finding_html(finding: Finding) -> Markup:
    examples = element("ul", *(element("li", item) for item in finding.examples)) if finding.examples else None
    return element("article", element("h2", finding.title), element("p", finding.evidence),
                   element("p", finding.meaning, class_="meaning"), examples, element("h3", say("Try:")),
                   element("pre", finding.command))  # fmt: skip


def figures(findings: tuple[Finding, ...], story: Story, flow: list[Flow]) -> list[Figure]:
    """Return loss with the updates the findings name, how far updates move the weights, and gradients by layer."""
    found: list[Figure] = []
    points = [point for point in story.points if finite([point.loss])]
    if len(points) > 1:
        series = [Series(say("training"), [point.step for point in points], [point.loss for point in points], 0)]
        if len(held_out := story.curve("loss")) > 1:
            series.append(Series(say("held out"), [step for step, _ in held_out], [value for _, value in held_out], 1))
        marks = tuple(_mark(finding, finding.step, series) for finding in findings if finding.step is not None)
        found.append(Lines(say("Loss"), say("The loss over updates."), tuple(series), Axis(say("update")),
                           Axis(say("loss"), log=_wide(series)), marks, about=say("The loss over updates."), name="doctor-loss"))  # fmt: skip
    moved = [(point.step, point.update) for point in story.points if point.update and finite([point.update])]
    if len(moved) > 1:
        line = Series("", [step for step, _ in moved], [value for _, value in moved], 2)
        found.append(Lines(
            say("How far an update moves the weights"), say("Share of the weights of the middle layer one update moves."), (line,),
            Axis(say("update")), Axis(say("share of the weights"), log=True), level=Mark(0, 1e-3, say("usual")),
            about=say("The median over the layers; about 0.001 is usual."), name="doctor-updates"))  # fmt: skip
    if len(flow) > 1:
        found.append(Bars(
            say("Gradient by layer"), say("Root mean square of the gradient of each layer's outputs."),
            tuple(item.path for item in flow), tuple(item.gradient for item in flow), Axis(say("gradient")), name="doctor-gradients",
            about=say("Of one batch of training examples, for the newest weights.")))  # fmt: skip
    return found


def _mark(finding: Finding, step: int, series: list[Series]) -> Mark:
    """Return the place a finding names on the curve it is seen in: over-fitting on the last, that of held-out data."""
    curve = series[-1 if finding.illness == "over-fitting" else 0]
    x, y = min(zip(curve.x, curve.y, strict=True), key=lambda place: abs(place[0] - step))
    return Mark(float(x), float(y), finding.title, 1)


def _wide(series: list[Series]) -> bool:
    values = [value for item in series for value in item.y]
    return min(values) > 0 and max(values) / min(values) > UNUSUAL
