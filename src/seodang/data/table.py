"""Tables: your own CSV, TSV, JSON or Parquet file, numeric and categorical columns, classes or a quantity."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, TableInputs, Target
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.data.baselines import scores_of_simple_methods
from seodang.data.columns import Chosen, ColumnChoice, choose_columns, encode, lone_column, measure
from seodang.data.dataset import Dataset, MemoryExamples, TableBatch, datasets
from seodang.data.finding import refuse
from seodang.data.held_out import HeldOut, bins, grouped_split, split_note
from seodang.data.input_noise import InputNoise, NoisyRows
from seodang.data.raw_table import RawColumn, RawTable, TableFormat
from seodang.data.splits import fingerprint
from seodang.data.table_reading import read_table
from seodang.data.targets import Answers, Kind, find_target, read_target

Copies = Literal["auto", "free", "together"]


class TableConfig(TableFormat, ColumnChoice, HeldOut, InputNoise):
    """A table file, its target, and how it is read and split."""

    path: str = ""
    """The file: .csv, .tsv, .json, .jsonl or .parquet, text files also with .gz behind."""
    target: str | int | None = None
    """Column to predict; without it the last."""
    kind: Kind = "auto"
    """Whether the target is one of several classes or a quantity; "auto" looks at its values."""
    group: str | None = None
    """Column whose equal values (one patient, one house) must stay in one split; it is no input."""
    copies: Copies = "auto"
    """Whether equal rows are kept in one split or fall freely; "auto" keeps them while most rows differ."""


@datasets.register({"table": TableConfig()})
class Table(Dataset):
    """Your own table: CSV, TSV, JSON records or Parquet; classes or a quantity.

    Source: the user's own. Standardised numbers, one-hot categories and missing-value indicators as in Hastie,
    Tibshirani & Friedman 2009, The Elements of Statistical Learning, sec. 9.6 and 11.5.3.
    """

    kinds = ("classification", "regression")
    settings: TableConfig

    def prepare(self) -> None:
        """Read the file, decide what is what, split it, and measure the training rows.

        Raises: DataError, ConfigError
        """
        if not self.settings.path:
            raise ConfigError("data.path: is missing. Say which file: --data table.csv")
        table = read_table(expanded(self.settings.path), self.settings)
        refuse((*table.findings, *lone_column(table)), table.source)
        self.use(table, None if self.settings.target is None else str(self.settings.target))

    def use(self, table: RawTable, wanted: str | None, licence: str = "the user's own") -> None:
        """Make splits, features and facts of a table that was read; `wanted` is the column to predict."""
        target, notes = find_target(table, wanted, self.adopted)
        answers = read_target(table, target, self.settings.kind, self.adopted)
        notes = [*table.notes, *notes, *answers.notes]
        if self.adopted:
            refuse(answers.findings, table.source)
            rows = {"test": torch.arange(len(table))}
            facts = self._evaluated(table, rows, notes)
        else:
            chosen = choose_columns(table, {target.name} | ({self.settings.group} - {None}), self.settings)
            refuse((*answers.findings, *chosen.findings), table.source)
            rows = self._split(table, answers, notes)
            self.remarks = (notes[-1],)
            facts = self._measured(table, chosen, answers, target, rows, notes)
            facts = facts.replace(source=table.source, licence=licence)
        features, more = encode(facts.inputs.columns, table)
        self._rows, self._features = rows, torch.from_numpy(features)
        self._place = replace(table, columns=()).place
        if answers.quantities is None:
            self._targets = torch.from_numpy(answers.labels)
        else:
            scaled = (answers.quantities - facts.targets[0].mean) / facts.targets[0].std
            self._targets = torch.from_numpy(scaled).float()[:, None]
        self.facts = facts.replace(
            notes=(*facts.notes, *more), digest=fingerprint([self._features, self._targets], rows)
        )

    def split(self, name: str) -> MemoryExamples:
        rows = self._rows[name]
        features, targets = self._features[rows], self._targets[rows]
        if name == "train" and self.settings.noise:
            assert isinstance(self.facts.inputs, TableInputs)
            return NoisyRows(features, targets, self.facts.inputs, self.settings.noise)
        return MemoryExamples(TableBatch, features, targets)

    def where(self, split: str, row: int) -> str:
        return self._place(int(self._rows[split][row]))

    def baseline(self, split: str) -> dict[str, float] | None:
        """Return what scikit-learn's linear model and forest score on a split, fitted on the same training rows."""
        return scores_of_simple_methods(self, split)

    def _split(self, table: RawTable, answers: Answers, notes: list[str]) -> dict[str, torch.Tensor]:
        shares = {"valid": self.settings.valid, "test": self.settings.test}
        if answers.quantities is None:
            labels, by = torch.from_numpy(answers.labels), "class"
        else:
            labels, by = bins(torch.from_numpy(answers.quantities)), "quantity"
        groups: list[object] | None = None
        if self.settings.group is not None:
            column = table.named(self.settings.group, "group")
            groups = [("missing", row) if text is None else text for row, text in enumerate(column.texts)]
            notes.append(say("Rows with the same '{name}' are in one split.", name=column.name))
        else:
            groups = self._together(table, notes)
        rows = grouped_split(labels, groups, shares, self.seed)
        if len(rows.get("train", ())) < 2:
            raise DataError("{path}: {count} rows are too few: none are left to train on. Lower data.valid and data.test.",
                            path=table.source, count=len(table))  # fmt: skip
        notes.append(split_note({name: len(found) for name, found in rows.items()}, self.seed, by))
        return rows

    def _together(self, table: RawTable, notes: list[str]) -> list[object] | None:
        """Return what rows must share to stay in one split: everything, or None where copies may fall freely."""
        contents: list[object] = list(zip(*(column.texts for column in table.columns), strict=True))
        different = len(set(contents))
        if self.settings.copies == "free" or different == len(contents):
            return None
        if self.settings.copies == "auto" and 2 * different < len(contents):
            notes.append(say(
                "Only {different:,} of {total:,} rows are different: equal ones may be in different splits; data.copies=together "
                "prevents it.", different=different, total=len(contents)))  # fmt: skip
            return None
        notes.append(say("Rows equal in every value are in one split ({count:,} copies); data.copies=free lets them fall apart.",
                         count=len(contents) - different))  # fmt: skip
        return contents

    def _measured(
        self, table: RawTable, chosen: Chosen, answers: Answers, target: RawColumn, rows: dict[str, torch.Tensor],
        notes: list[str],
    ) -> Facts:  # fmt: skip
        train = rows["train"].numpy()
        columns, more = measure(chosen, table.names, train)
        notes += [*chosen.notes, *more]
        self.remarks += (*chosen.notes, *more)
        if not columns:
            raise DataError(
                "{path}: no column varies in the training rows; there is nothing to learn from.", path=table.source
            )
        texts = [column.name for column in columns if column.kind == "category"]
        if texts:
            notes.append(say("Categories: {names}. Their values, means and deviations are those of the training rows.",
                             names=", ".join(texts)))  # fmt: skip
        targets: tuple[Target, ...] = ()
        if answers.quantities is not None:
            values = answers.quantities[train]
            if not values.std() > 0:
                raise DataError("{path}: the target '{name}' does not vary in the training rows.", path=table.source,
                                name=target.name)  # fmt: skip
            targets = (Target(name=target.name, mean=float(values.mean()), std=float(values.std())),)
        sizes = {name: len(found) for name, found in rows.items()}
        return Facts(inputs=TableInputs(columns=columns), classes=answers.classes, targets=targets, sizes=sizes,
                     notes=tuple(notes))  # fmt: skip

    def _evaluated(self, table: RawTable, rows: dict[str, torch.Tensor], notes: list[str]) -> Facts:
        """Return the facts a model was trained with, for rows it is to be judged on."""
        assert self.adopted is not None
        if not isinstance(self.adopted.inputs, TableInputs):
            raise DataError("{path}: is a table, but the model was trained with {kind}.", path=table.source,
                            kind=self.adopted.inputs.kind)  # fmt: skip
        notes.append(say("All {count:,} rows are evaluated as the split 'test'.", count=len(table)))
        return self.adopted.replace(sizes={name: len(found) for name, found in rows.items()}, notes=tuple(notes))
