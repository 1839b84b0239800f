"""Your own NumPy arrays (.npz): pictures as bytes, or rows of numbers; labels or quantities."""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, ImageInputs, Inputs, Target, VectorInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.data.array_reading import Arrays, check_arrays, read_arrays
from seodang.data.augment import Augment
from seodang.data.baselines import scores_of_simple_methods
from seodang.data.dataset import Dataset, Examples, MemoryExamples, TableBatch, datasets
from seodang.data.finding import listed, refuse, shown
from seodang.data.held_out import HeldOut, bins, grouped_split, split_note
from seodang.data.images import MemoryImages, channel_statistics
from seodang.data.input_noise import InputNoise, NoisyRows
from seodang.data.picture_loading import Subset
from seodang.data.splits import fingerprint
from seodang.data.targets import ordered

Layout = Literal["auto", "NHW", "NHWC", "NCHW"]
COLOURS = (1, 3)


class ArraysConfig(HeldOut, InputNoise):
    """An .npz file, and how it is read and split."""

    path: str = ""
    """The file. Arrays are called x and y, or train_x, train_y, test_x, test_y; pictures are uint8."""
    layout: Layout = "auto"
    """Axes of pictures; "auto" finds the channels where there are 1 or 3."""
    kind: Literal["auto", "classes", "quantity"] = "auto"
    """What the answers are; "auto" takes whole numbers and texts for classes, floats for quantities."""
    augment: Augment = ()
    """Random changes of training pictures."""


@datasets.register({"arrays": ArraysConfig()})
class ArrayData(Dataset):
    """Your own NumPy arrays in an .npz file: pictures or rows of numbers, labels or quantities.

    Source: the user's own.
    """

    kinds = ("classification", "regression")
    settings: ArraysConfig

    def prepare(self) -> None:
        """Read the file without pickle, decide what is what, split it.

        Raises: DataError, ConfigError
        """
        if not self.settings.path:
            raise ConfigError("data.path: is missing. Say which file: --data arrays.npz")
        path = expanded(self.settings.path)
        self._source = shown(path)
        arrays = read_arrays(path)
        refuse(check_arrays(arrays, self._source), self._source)
        self._notes: list[str] = []
        order = list(arrays.inputs)
        values = np.concatenate([arrays.inputs[split] for split in order])
        lengths = accumulate((len(arrays.inputs[split]) for split in order), initial=0)
        self._parts = [(arrays.names[split][0], first) for split, first in zip(order, lengths, strict=False)]
        answers = np.concatenate([arrays.targets[split] for split in order]) if arrays.targets else None
        classes, targets = self._read_targets(answers, arrays)
        self._rows = self._split(arrays, order, len(values))
        self.remarks = (self._notes[-1],)
        train = self._rows.get("train", torch.arange(len(values)))
        inputs = self._read_inputs(values, train, arrays.names[order[0]][0])
        kept = self._targets
        if kept is not None and kept.is_floating_point():
            targets = self._standardise(targets, train)
        sizes = {name: len(rows) for name, rows in self._rows.items()}
        digest = fingerprint([self._inputs, *([] if self._targets is None else [self._targets])], self._rows)
        facts = self.adopted or Facts(inputs=inputs, classes=classes, targets=targets, sizes=sizes, source=self._source)
        self.facts = facts.replace(sizes=sizes, notes=tuple(self._notes), digest=digest)

    def split(self, name: str) -> Examples:
        inputs, rows = self.facts.inputs, self._rows[name]
        if isinstance(inputs, ImageInputs):
            augment = self.settings.augment if name == "train" else ()
            return Subset(MemoryImages(self._inputs, self._targets, inputs, augment), rows)
        assert isinstance(inputs, VectorInputs)
        assert self._targets is not None
        features = (self._inputs[rows] - torch.tensor(inputs.mean)) / torch.tensor(inputs.std)
        if name == "train" and self.settings.noise:
            return NoisyRows(features, self._targets[rows], inputs, self.settings.noise)
        return MemoryExamples(TableBatch, features, self._targets[rows])

    def where(self, split: str, row: int) -> str:
        place = int(self._rows[split][row])
        name, first = next(part for part in reversed(self._parts) if part[1] <= place)
        return f"{self._source}: {name}[{place - first}]"

    def baseline(self, split: str) -> dict[str, float] | None:
        """Return what simple methods score on a split of rows of numbers; pictures and several quantities have none."""
        return scores_of_simple_methods(self, split)

    @property
    def labels(self) -> Tensor | None:
        """The class number of every example, in the order of the file; None where there are no classes."""
        return self._targets if self.facts.classes is not None else None

    # ---------------------------------------------------------------------------------------- reading

    def _read_inputs(self, values: np.ndarray, train: Tensor, name: str) -> Inputs:
        if values.ndim > 2:
            if self.settings.noise:
                raise ConfigError("data.noise={value}: is for rows of numbers, and '{name}' holds pictures. Their noise is "
                                  "data.augment=noise.", value=self.settings.noise, name=name)  # fmt: skip
            self._inputs = torch.from_numpy(self._pictures(values, name))
            mean, std = channel_statistics(self._inputs[train])
            channels, height, width = self._inputs.shape[1:]
            inputs: Inputs = ImageInputs(channels=channels, height=height, width=width, mean=mean, std=std)
        else:
            if self.settings.augment:
                raise ConfigError("data.augment: is for pictures, and '{name}' holds rows of numbers. Noise on those is data.noise.",
                                  name=name)  # fmt: skip
            self._inputs = torch.from_numpy(values.astype(np.float32))
            rows = self._inputs[train].double()
            spread = rows.std(0, unbiased=False)
            spread[spread == 0] = 1.0
            inputs = VectorInputs(size=values.shape[1], mean=tuple(rows.mean(0).tolist()), std=tuple(spread.tolist()))
        if self.adopted and (self.adopted.inputs.kind, self.adopted.inputs.shape) != (inputs.kind, inputs.shape):
            raise DataError("{path}: array '{name}' gives {kind} of shape {shape}; the model was trained with {trained} of "
                            "shape {trained_shape}.", path=self._source, name=name, kind=inputs.kind, shape=inputs.shape,
                            trained=self.adopted.inputs.kind, trained_shape=self.adopted.inputs.shape)  # fmt: skip
        return inputs

    def _pictures(self, values: np.ndarray, name: str) -> np.ndarray:
        """Return pictures as uint8 (N, C, H, W)."""
        if values.dtype != np.uint8:
            raise DataError("{path}: array '{name}' is {kind} of shape {shape}; pictures are uint8, rows of numbers have two axes. "
                            "For grey levels 0…1 save (255 * x).round().astype('uint8').",
                            path=self._source, name=name, kind=values.dtype, shape=values.shape)  # fmt: skip
        layout = self.settings.layout
        if layout == "auto" and values.ndim == 4 and (values.shape[1] in COLOURS) != (values.shape[3] in COLOURS):
            layout = "NHWC" if values.shape[3] in COLOURS else "NCHW"
        layout = "NHW" if layout == "auto" and values.ndim == 3 else layout
        if layout == "auto" or len(layout) != values.ndim:
            raise DataError("{path}: array '{name}' has shape {shape}; say which axes these are: data.layout=NHW, NHWC or NCHW.",
                            path=self._source, name=name, shape=values.shape)  # fmt: skip
        self._notes.append(
            say("'{name}' {shape} is taken for pictures, {layout}.", name=name, shape=values.shape, layout=layout)
        )
        if layout == "NHW":
            return np.ascontiguousarray(values[:, None])
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if layout == "NHWC" else values)

    def _read_targets(
        self, answers: np.ndarray | None, arrays: Arrays
    ) -> tuple[tuple[str, ...] | None, tuple[Target, ...]]:
        """Set the answers of all examples as labels or as quantities in their own units."""
        self._targets: Tensor | None = None
        if answers is None:
            if next(iter(arrays.inputs.values())).ndim <= 2:
                raise DataError("{path}: has inputs but no answers; add an array 'y'.", path=self._source)
            return None, ()
        name = next(iter(arrays.names.values()))[1]
        if answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        kind = self.settings.kind
        if kind == "auto":
            kind = "quantity" if answers.dtype.kind == "f" else "classes"
            self._notes.append(say("'{name}' ({type}) is taken for {kind}.", name=name, type=answers.dtype,
                                   kind=say("classes") if kind == "classes" else say("quantities")))  # fmt: skip
        if kind == "classes":
            return self._classes(answers, name, arrays.classes), ()
        if answers.dtype.kind not in "uifb" or answers.ndim > 2:
            raise DataError("{path}: array '{name}' is {kind} of shape {shape}; quantities are numbers, one column for each.",
                            path=self._source, name=name, kind=answers.dtype, shape=answers.shape)  # fmt: skip
        columns = answers.reshape(len(answers), -1).astype(np.float64)
        self._targets = torch.from_numpy(columns)
        names = [name] if columns.shape[1] == 1 else [f"{name}_{index}" for index in range(columns.shape[1])]
        return None, tuple(Target(name=text) for text in names)

    def _classes(self, answers: np.ndarray, name: str, known: tuple[str, ...] | None) -> tuple[str, ...]:
        if answers.ndim != 1 or answers.dtype.kind not in "uibUSf":
            raise DataError("{path}: array '{name}' is {kind} of shape {shape}; labels are one whole number or text for each "
                            "example. From one-hot rows: y.argmax(1).", path=self._source, name=name, kind=answers.dtype,
                            shape=answers.shape)  # fmt: skip
        if answers.dtype.kind == "f" and not (answers == np.floor(answers)).all():
            raise DataError("{path}: array '{name}' holds fractions; as classes it needs whole numbers or texts.",
                            path=self._source, name=name)  # fmt: skip
        if answers.dtype.kind == "S":
            answers = np.char.decode(answers, "utf-8", "backslashreplace")
        texts = answers.astype(str) if answers.dtype.kind == "U" else answers.astype(np.int64).astype(str)
        found = ordered(tuple(map(str, np.unique(texts))))
        if known is not None and answers.dtype.kind != "U":
            outside = [text for text in found if not 0 <= int(text) < len(known)]
            if outside:
                raise DataError("{path}: array '{name}' holds the label {label}, but 'classes' names {count}.",
                                path=self._source, name=name, label=outside[0], count=len(known))  # fmt: skip
            texts, found = np.array(known)[texts.astype(np.int64)], known
        if self.adopted and self.adopted.classes is not None:
            strange = [text for text in np.unique(texts) if text not in self.adopted.classes]
            if strange:
                raise DataError("{path}: '{value}' is not among the classes the model was trained with ({classes}).",
                                path=self._source, value=strange[0], classes=listed(self.adopted.classes, 12))  # fmt: skip
            found = self.adopted.classes
        elif len(np.unique(texts)) < 2:
            raise DataError("{path}: array '{name}' holds one class only ({value}); there must be two.", path=self._source,
                            name=name, value=texts[0])  # fmt: skip
        index = {text: label for label, text in enumerate(found)}
        self._targets = torch.tensor([index[str(text)] for text in texts])
        return found

    def _standardise(self, targets: tuple[Target, ...], train: Tensor) -> tuple[Target, ...]:
        """Bring quantities to mean 0 and deviation 1 of the training rows, or of those the model was trained with."""
        assert self._targets is not None
        if self.adopted:
            targets = self.adopted.targets
            if len(targets) != self._targets.shape[1]:
                raise DataError("{path}: has {count} quantities, the model predicts {known}.", path=self._source,
                                count=self._targets.shape[1], known=len(targets))  # fmt: skip
        else:
            mean, std = self._targets[train].mean(0).tolist(), self._targets[train].std(0, unbiased=False).tolist()
            for target, spread in zip(targets, std, strict=True):
                if not spread > 0:
                    raise DataError("{path}: '{name}' is the same in every training example; there is nothing to predict.",
                                    path=self._source, name=target.name)  # fmt: skip
            targets = tuple(
                Target(name=target.name, mean=mean[index], std=std[index]) for index, target in enumerate(targets)
            )
        means, stds = (
            torch.tensor([getattr(target, key) for target in targets], dtype=torch.float64) for key in ("mean", "std")
        )
        self._targets = ((self._targets - means) / stds).float()
        return targets

    # -------------------------------------------------------------------------------------- splitting

    def _split(self, arrays: Arrays, order: list[str], total: int) -> dict[str, Tensor]:
        starts = np.cumsum([0, *(len(arrays.inputs[split]) for split in order)]).tolist()
        made = {split: torch.arange(starts[place], starts[place + 1]) for place, split in enumerate(order)}
        labels = self._stratum(total)
        if self.adopted:
            named = {name or "test": rows for name, rows in made.items()}
            self._notes.append(say("Evaluated as they are: {splits}.",
                                   splits=", ".join(f"{name} {len(rows):,}" for name, rows in named.items())))  # fmt: skip
            return named
        by = "" if self._targets is None else "quantity" if self._targets.is_floating_point() else "class"
        if "" in made:
            rows = grouped_split(labels, None, {"valid": self.settings.valid, "test": self.settings.test}, self.seed)
            self._notes.append(split_note({name: len(found) for name, found in rows.items()}, self.seed, by))
            return rows
        if "train" not in made:
            raise DataError(
                "{path}: has arrays for {splits} but none for train.", path=self._source, splits=", ".join(made)
            )
        if "valid" not in made and self.settings.valid:
            parts = grouped_split(labels[made["train"]], None, {"valid": self.settings.valid}, self.seed)
            made |= {name: made["train"][rows] for name, rows in parts.items()}
            self._notes.append(say("There is no array for 'valid': a share of {share} of train is held out for it with seed {seed}.",
                                   share=self.settings.valid, seed=self.seed))  # fmt: skip
        self._notes.append(say("Split by your arrays: {counts}.",
                               counts=", ".join(f"{name} {len(rows):,}" for name, rows in made.items())))  # fmt: skip
        return made

    def _stratum(self, total: int) -> Tensor:
        if self._targets is None:
            return torch.zeros(total, dtype=torch.long)
        return bins(self._targets[:, 0]) if self._targets.is_floating_point() else self._targets
