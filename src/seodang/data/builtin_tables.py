"""Tables that come with scikit-learn: no download."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from seodang.data.columns import ColumnChoice
from seodang.data.dataset import datasets
from seodang.data.held_out import HeldOut
from seodang.data.input_noise import InputNoise
from seodang.data.raw_table import RawColumn, RawTable
from seodang.data.table import Copies, Table
from seodang.data.targets import Kind


class BuiltInConfig(ColumnChoice, HeldOut, InputNoise):
    """How a table that needs no reading is used."""

    test: float = Field(0.3, ge=0, lt=1)
    """Share held out for the final score; larger than usual, these tables are small."""
    target: str = ""
    """Column to predict; without it the one that is usual."""
    kind: Kind = "auto"
    """Whether the target is one of several classes or a quantity; "auto" looks at its values."""
    group: str | None = None
    """Column whose equal values must stay in one split; it is no input."""
    copies: Copies = "together"
    """Whether equal rows are kept in one split or fall freely."""


class _BuiltIn(NamedTuple):
    loader: str
    target: str
    licence: str


TABLES = {
    "iris": _BuiltIn("load_iris", "species", "CC BY 4.0"),
    "wine": _BuiltIn("load_wine", "cultivar", "CC BY 4.0"),
    "breast-cancer": _BuiltIn("load_breast_cancer", "diagnosis", "CC BY 4.0"),
    "diabetes": _BuiltIn("load_diabetes", "progression", "not stated"),
}
"""Licences of the first three as the UCI repository states them today."""


class _BuiltInTable(Table):
    name: str

    def prepare(self) -> None:
        import sklearn.datasets  # lazy: 1 s

        known = TABLES[self.name]
        loaded = getattr(sklearn.datasets, known.loader)()
        columns = [RawColumn(name, values.astype(np.float64), None, ())
                   for name, values in zip(loaded.feature_names, loaded.data.T, strict=True)]  # fmt: skip
        if "target_names" in loaded:
            columns.append(
                RawColumn.of_texts(known.target, [str(loaded.target_names[label]) for label in loaded.target])
            )
        else:
            columns.append(RawColumn(known.target, loaded.target.astype(np.float64), None, ()))
        source = f"scikit-learn, {known.loader}"
        self.use(RawTable(source, tuple(columns), None), self.settings.target or known.target, known.licence)


@datasets.register({"iris": BuiltInConfig()})
class Iris(_BuiltInTable):
    """Lengths and widths of 150 iris flowers of three species, inside scikit-learn.

    Source: Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7(2).
    """

    name = "iris"


@datasets.register({"wine": BuiltInConfig()})
class Wine(_BuiltInTable):
    """Thirteen chemical measures of 178 wines from three cultivars, inside scikit-learn.

    Source: Aeberhard, Coomans & de Vel 1992, "Comparison of classifiers in high dimensional settings"; UCI 109.
    """

    name = "wine"


@datasets.register({"breast-cancer": BuiltInConfig()})
class BreastCancer(_BuiltInTable):
    """Thirty measures of cell nuclei of 569 tumours, malignant or benign, inside scikit-learn.

    Source: Street, Wolberg & Mangasarian 1993, "Nuclear feature extraction for breast tumor diagnosis"; UCI 17.
    """

    name = "breast-cancer"


@datasets.register({"diabetes": BuiltInConfig()})
class Diabetes(_BuiltInTable):
    """Ten measures of 442 diabetes patients and how far the disease went in a year, inside scikit-learn.

    Source: Efron, Hastie, Johnstone & Tibshirani 2004, "Least angle regression", Annals of Statistics 32(2).
    """

    name = "diabetes"
