"""A comparison as pictures and on one page that opens anywhere: scores with their spread, the table, curves.

It knows a comparison by what comparison.json holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seodang.core.files import write
from seodang.core.language import say
from seodang.visualize.figure import Axis, Column, Figure, Intervals, Lines, Series, Table
from seodang.visualize.frame import fact_list, heading, tile, tiles
from seodang.visualize.history import WIDE, is_share, score_name, score_text, split_name
from seodang.visualize.markup import Markup, element
from seodang.visualize.page import page
from seodang.visualize.raster import save_both
from seodang.visualize.scale import finite
from seodang.visualize.sections import Section

Found = Mapping[str, Any]
CURVES = {"score": "curves", "loss": "losses", "held_out_loss": "held-out-losses"}
"""What is followed along the training, and the name of its chart."""


def write_comparison(found: Found, heads: Sequence[str], rows: Sequence[tuple[str, ...]], folder: Path) -> None:
    """Write the charts as SVG and PNG, and the page with all of them and the table."""
    charts = figures(found)
    for figure in charts:
        save_both(figure, folder, figure.name)
    write(folder / "comparison.html", comparison_page(found, heads, rows, charts))


def figures(found: Found) -> list[Figure]:
    """Return the charts: scores with their spread, then the curves along the training."""
    made: list[Figure] = [scores(found)] if any(row["mean"] is not None for row in found["variants"]) else []
    for key in CURVES:
        if found["curves"].get(key):
            made.append(curves(found, key))
    return made + [noise(found, table) for table in found["afterwards"] if table["kind"] == "noise"]


def scores(found: Found) -> Intervals:
    """Return the chart of means: a dot for each seed, the mean with its standard error."""
    name = found["metric"]["name"]
    rows = found["variants"]
    error = any(row["standard_error"] is not None for row in rows)
    part = split_name(found["split"])
    title = say("{score} on {split}", score=score_name(name), split=part)
    about = say(
        "Large: the mean over {count} seeds, with its standard error. Small: each seed.", count=len(found["seeds"])
    )
    said = ", ".join(f"{row['name']} {_mean(name, row)}" for row in rows)
    return Intervals(
        title[:1].upper() + title[1:], f"{title}: {said}",
        tuple(row["name"] for row in rows),
        tuple(tuple(run["score"] for run in row["runs"] if run["score"] is not None) for row in rows),
        tuple(None if row["mean"] is None else (row["mean"] - (row["standard_error"] or 0), row["mean"],
              row["mean"] + (row["standard_error"] or 0)) for row in rows),
        tuple(_mean(name, row) for row in rows),
        Axis("", percent=is_share(name)),
        tuple(place for place, row in enumerate(rows) if row["name"] == found["best"]),
        about=about if error else say("One run of each variant."), name="comparison",
    )  # fmt: skip


def curves(found: Found, key: str) -> Lines:
    """Return the mean curves of all variants over each other, each in the band of its standard error."""
    name = found["metric"]["name"]
    places = {row["name"]: place for place, row in enumerate(found["variants"])}
    series = tuple(Series(item["variant"], item["x"], item["mean"], colour=places[item["variant"]],
                          dashed=places[item["variant"]] // 8 % 2 == 1,
                          band=(item["low"], item["high"]) if len(found["seeds"]) > 1 else None)
                   for item in found["curves"][key])  # fmt: skip
    split = split_name(found["curves"]["split"] or "")
    what = {"score": say("{score} on {split}", score=score_name(name), split=split), "loss": say("training loss"),
            "held_out_loss": say("{score} on {split}", score=score_name("loss"), split=split)}[key]  # fmt: skip
    values = finite(value for item in series for value in item.y)
    log = (
        bool(values)
        and min(values) > 0
        and max(values) / min(values) > WIDE
        and not (key == "score" and is_share(name))
    )
    across = say("epoch") if found["curves"]["x"] == "epoch" else say("update")
    title = say("{score} along the training", score=what)
    alt = say("{name} over {time}.", name=what, time=across)
    about = say("The mean over the seeds, in the band of its standard error.") if len(found["seeds"]) > 1 else ""
    return Lines(title[:1].upper() + title[1:], alt, series, Axis(across),
                 Axis("", log=log, percent=key == "score" and is_share(name)), about=about,
                 name=CURVES[key])  # fmt: skip


def noise(found: Found, table: Mapping[str, Any]) -> Lines:
    """Return how the score falls as noise is added, one line for each variant."""
    name, levels = table["metric"], table["levels"]
    series = []
    for place, (variant, row) in enumerate(table["means"].items()):
        means = [row[f"{level:g}"] for level in levels]
        band = tuple([mean["mean"] + sign * (mean["standard_error"] or 0.0) for mean in means] for sign in (-1, 1))
        series.append(Series(variant, levels, [mean["mean"] for mean in means], colour=place,
                             band=(band[0], band[1]) if len(found["seeds"]) > 1 else None))  # fmt: skip
    unit = table["unit"]
    return Lines(table["title"], table["title"], tuple(series), Axis(say("noise"), unit), Axis("", percent=is_share(name)),
                 about=say("The mean over the seeds, in the band of its standard error."), name="noise")  # fmt: skip


def comparison_page(
    found: Found, heads: Sequence[str], rows: Sequence[tuple[str, ...]], charts: Sequence[Figure]
) -> str:
    """Return the page."""
    title = say("{name}: comparison", name=found["title"])
    head = say("Which is best, and is it more than luck?")
    numbers = Table(say("All numbers"), title, tuple(Column(text, number=place > 0) for place, text in enumerate(heads)),
                    tuple(rows), tuple(_worth(found, row, cells) for row, cells in zip(found["variants"], rows, strict=True)),
                    about=say("Mean ± standard error over the seeds; differences are taken seed by seed."))  # fmt: skip
    shown = [Section("scores", say("Scores"), head, [*charts[:1], numbers])]
    along = [chart for chart in charts if chart.name in CURVES.values()]
    if along:
        shown.append(Section("curves", say("Along the training"), say("How the variants got there."), along))
    if found["afterwards"]:
        tables = [Table(item["title"], item["title"], tuple(Column(text, number=place > 0) for place, text in enumerate(item["heads"])),
                        tuple(map(tuple, item["cells"]))) for item in found["afterwards"]]  # fmt: skip
        shown.append(Section("afterwards", say("Asked afterwards"), say("What else the finished runs say."), [*tables]))
    return page(title, header(found), shown, details(found))


def header(found: Found) -> Markup:
    said = [element("p", text, class_="lead" if place == 0 else "meta") for place, text in enumerate(found["verdicts"])]
    name = found["metric"]["name"]
    best = next((row for row in found["variants"] if row["name"] == found["best"]), None)
    shown = []
    if best:
        shown.append(tile(say("{score} on {split}", score=score_name(name), split=split_name(found["split"])),
                           score_text(name, best["mean"]), best["name"], "main"))  # fmt: skip
    shown.append(tile(say("variants"), str(len(found["variants"]))))
    shown.append(tile(say("seeds"), str(len(found["seeds"]))))
    return heading(say("Seodang: comparison"), found["title"], *said, tiles(*shown))


def details(found: Found) -> Markup:
    """Return what must be known to judge the numbers, and where each run is."""
    notes = element("figure", element("h3", say("To judge the numbers")),
                    *(element("p", note) for note in found["notes"]))  # fmt: skip
    facts = [(row["name"], ", ".join(f"{key} = {value}" for key, value in row["settings"].items()) or "–")
             for row in found["variants"]]  # fmt: skip
    facts += [(say("seeds"), ", ".join(map(str, found["seeds"]))), (say("folder"), found["folder"])]
    left = element("figure", element("h3", say("What was compared")), fact_list(facts))
    head = element("h2", say("The runs"))
    return element("section", head, element("div", left, notes, class_="figures"), id="run")


def _worth(found: Found, row: Mapping[str, Any], cells: Sequence[str]) -> tuple[float | str, ...]:
    """Return what each cell of a row is sorted by."""

    def number(value: Any) -> float:
        return float("-inf") if value is None else float(value)

    first, best = (number(row[key] and row[key]["mean"]) for key in ("to_first", "to_best"))
    differences: list[float | str] = [str(row["against"] or ""), first] if found["pairs"] else [first, best]
    validated = [number(row["validation"]["mean"])] if len(cells) == 7 else []
    return (cells[0], number(row["mean"]), *validated, *differences, number(row["seconds"]["mean"]),
            number(row["peak_memory_bytes"]))  # fmt: skip


def _mean(name: str, row: Mapping[str, Any]) -> str:
    return "–" if row["mean"] is None else score_text(name, row["mean"])
