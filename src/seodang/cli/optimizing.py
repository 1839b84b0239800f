"""How a recipe's weights will be moved, for `seodang show`: parameter groups, and the rate over the run as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seodang.cli.layout import columns, screen_width, table
from seodang.core.language import say

if TYPE_CHECKING:
    from seodang.core.recipe import Recipe

BARS = "▁▂▃▄▅▆▇█"
POINTS = 48


def optimizer_part(assembly: Any) -> tuple[dict[str, Any], list[str]]:
    """Return groups and schedule of an assembled recipe, for programs and for people."""
    from seodang.training.groups import group_facts  # lazy: 1 s

    networks = assembly.task.networks(assembly.model)
    groups = group_facts({name: assembly.rule.build(network) for name, network in networks.items()})
    rates, steps = planned_rates(assembly.rule, assembly.recipe, assembly.data.facts.sizes.get("train"))
    words = {
        "weights": say("weights"),
        "biases and norms": say("biases and norms"),
        "hidden matrices": say("hidden matrices"),
    }
    penalised = [name for name in ("l1", "l2") if any(getattr(group, name) for group in groups)]
    rows = []
    for group in groups:
        what = words[group.name]
        if group.layer is not None:
            what = say("{what} of layer {layer}", what=what, layer=group.layer + 1)
        penalties = [f"{getattr(group, name):g}" for name in penalised]
        rows.append([*([group.network] if len(networks) > 1 else []), what, group.rule, f"{group.parameters:,}",
                     f"{group.weight_decay:g}", *penalties, f"{group.lr:.3g}"])  # fmt: skip
    heads = [*([say("network")] if len(networks) > 1 else []), say("what"), say("rule"), say("parameters"), say("decay"),
             *(name.upper() for name in penalised), say("largest rate")]  # fmt: skip
    lines = table(heads, rows, numeric=range(len(heads) - 3 - len(penalised), len(heads)))
    how = assembly.rule.settings
    falls = [(say("Drops"), say("times {drop:g} whenever {wait} evaluations on the validation split bring nothing better", drop=how.drop,
                                wait=how.wait))] if how.schedule == "plateau" else []  # fmt: skip
    values = {"groups": [group._asdict() for group in groups], "rates": rates, "steps": steps}
    return values, [*lines, *columns([(say("Rate"), rate_line(how.schedule, rates, steps)), *falls],
                                     screen_width())]  # fmt: skip


def planned_rates(rule: Any, recipe: Recipe, examples: int | None) -> tuple[list[float], int | None]:
    """Return the rate at evenly spread updates of the run, from the first to the last, and how many updates it has."""
    from seodang.training.schedules import expected_steps  # lazy: 1 s

    steps = expected_steps(recipe.train, examples)
    if steps is None:  # a run by the clock: by share of its time
        return [rule.rate(POINTS, place / (POINTS - 1), None) for place in range(POINTS)], None
    count = min(POINTS, steps)
    places = [round(place * (steps - 1) / max(count - 1, 1)) for place in range(count)]
    return [rule.rate(step, step / steps, steps) for step in places], steps


def rate_line(shape: str, rates: list[float], steps: int | None) -> str:
    """Return the rates as a row of bars, with the first, the largest and the last in numbers."""
    highest = max(rates)
    bars = "".join(BARS[min(int(rate / highest * len(BARS)), len(BARS) - 1)] for rate in rates)
    values = {"shape": shape, "first": f"{rates[0]:.3g}", "most": f"{highest:.3g}", "last": f"{rates[-1]:.3g}"}
    if steps is None:
        return bars + "  " + say("{shape}: at first {first}, at most {most}, at last {last}; by the clock", **values)
    return (
        bars
        + "  "
        + say("{shape}: at first {first}, at most {most}, at last {last}; {steps:,} updates", steps=steps, **values)
    )
