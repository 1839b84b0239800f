"""Formulas as HTML, without any script: subscripts, superscripts, variables in italics."""

from __future__ import annotations

import re

from seodang.visualize.markup import Markup, element

PIECE = re.compile(r"_\{([^{}]*)\}|_(\w)|\^\{([^{}]*)\}|\^(\w)|([A-Za-zα-ωŷ]+̂?)|([^_^A-Za-zα-ωŷ]+)|(.)")


def math(formula: str) -> Markup:
    """Return a formula as HTML: ``x_i``, ``w_{ji}`` and ``σ^2`` with small letters, single letters in italics."""
    parts: list[object] = []
    for sub, sub1, sup, sup1, word, other, single in PIECE.findall(formula):
        if sub or sub1:
            parts.append(element("sub", sub or sub1))
        elif sup or sup1:
            parts.append(element("sup", sup or sup1))
        elif word:
            parts.append(element("i", word) if len(word.rstrip("̂")) == 1 and word != "Σ" else word)
        else:
            parts.append(other or single)
    return element("span", *parts, class_="math")
