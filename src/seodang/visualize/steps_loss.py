"""The loss at the end of a walk: softmax and cross-entropy, squared error or the perceptron criterion, with its derivative."""

from __future__ import annotations

import numpy as np

from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.visualize.formula import math
from seodang.visualize.markup import Markup, element
from seodang.visualize.scale import number
from seodang.visualize.steps import Numbers, Walk

DIGITS = 4


def loss_words(walk: Walk) -> str:
    """Return what the loss is called."""
    names = {
        "cross-entropy": say("cross-entropy"),
        "squared-error": say("squared error"),
        "perceptron": say("perceptron criterion"),
    }
    return names[walk.loss]


def loss_section(walk: Walk, facts: Facts) -> Markup:
    """Return the section: a row for each output, then the sum."""
    outputs = walk.steps[-1].y
    names = facts.classes or tuple(target.name for target in facts.targets)
    names = names if len(names) == len(outputs) else tuple(map(str, range(len(outputs))))
    match walk.loss:
        case "cross-entropy":
            formulas, heads, columns, line = _cross_entropy(walk, outputs)
        case "perceptron":
            formulas, heads, columns, line = _perceptron(walk, outputs)
        case _:
            formulas, heads, columns, line = _squared_error(walk, outputs)
    rows = [element("tr", element("td", name), *(element("td", number(float(column[place]), DIGITS), class_="number") for column in columns))
            for place, name in enumerate(names)]  # fmt: skip
    head = element("tr", element("th", ""), *(element("th", math(name), class_="number") for name in heads))
    table = element("table", element("thead", head), element("tbody", *rows), class_="sum")
    result = element("p", math(f"{line} = "), element("strong", number(walk.value, DIGITS)), class_="result")
    told = (element("p", math(formula), class_="formula") for formula in formulas)
    about = element(
        "p", say("What the network said, against what is right. The last column, ∂L/∂z, starts the way back.")
    )
    return element(
        "section", element("h2", say("Loss")), about, element("div", *told, table, result, class_="step"), id="loss"
    )


Told = tuple[list[str], list[str], list[Numbers], str]


def _cross_entropy(walk: Walk, z: Numbers) -> Told:
    exponentials = np.exp(z - z.max())
    p = exponentials / exponentials.sum()
    q = np.full(len(z), walk.smoothing / len(z))
    q[walk.target] += 1 - walk.smoothing
    formulas = ["p_k = exp(z_k) / Σ_l exp(z_l)", "L = −Σ_k q_k ln p_k", "∂L/∂z_k = p_k − q_k"]
    line = f"L = −ln {number(float(p[walk.target]), DIGITS)}" if not walk.smoothing else "L = −Σ_k q_k ln p_k"
    return formulas, ["z_k", "exp(z_k − max z)", "p_k", "q_k", "∂L/∂z_k"], [z, exponentials, p, q, p - q], line


def _squared_error(walk: Walk, z: Numbers) -> Told:
    target = np.asarray(walk.target, dtype=np.float64)
    apart = z - target
    formulas = ["L = 1/K Σ_k (z_k − t_k)^2", "∂L/∂z_k = 2/K (z_k − t_k)"]
    return formulas, ["z_k", "t_k", "(z_k − t_k)^2", "∂L/∂z_k"], [z, target, apart**2, 2 * apart / len(z)], "L"


def _perceptron(walk: Walk, z: Numbers) -> Told:
    answer = int(np.argmax(z))
    slope = np.zeros(len(z))
    slope[answer] += 1
    slope[walk.target] -= 1
    right = np.zeros(len(z))
    right[walk.target] = 1
    formulas = ["L = z_ŷ − z_y,  ŷ = argmax z", "∂L/∂z_k = [k = ŷ] − [k = y]"]
    line = f"L = {number(float(z[answer]), DIGITS)} − {number(float(z[walk.target]), DIGITS)}"
    return formulas, ["z_k", "[k = y]", "∂L/∂z_k"], [z, right, slope], line
