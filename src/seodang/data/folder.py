"""Your own pictures: a folder per class, folders train, valid and test of such, or a flat folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from seodang.core.errors import ConfigError, DataError, nearest
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.data.augment import Augment
from seodang.data.dataset import Dataset, Examples, datasets
from seodang.data.decoding import Header, Unreadable
from seodang.data.finding import Finding, listed, refuse, shown
from seodang.data.held_out import HeldOut, grouped_split, split_note
from seodang.data.images import MemoryImages
from seodang.data.picture_files import Layout, PictureFile, lay_out
from seodang.data.picture_labels import lay_out_labelled
from seodang.data.picture_loading import (
    DiskImages,
    Subset,
    decode_all,
    fits_in_memory,
    guess_size,
    headers,
    statistics_of,
)


class FolderConfig(HeldOut):
    """A folder of pictures, and how it is read and split."""

    path: str = ""
    """The folder: one sub-folder per class, or train, valid and test with those inside, or just pictures."""
    labels: str = ""
    """A CSV in the folder with a column of paths and one of labels (; between several), or a column of 0 and 1 for each label.
    Without it the folder of a picture is its class."""
    image_size: int | tuple[int, int] | None = None
    """Side of a square, or (height, width), all pictures are brought to; without it, what suits most of them."""
    channels: Literal["auto", 1, 3] = "auto"
    """1 for grey, 3 for colour; "auto" is grey if all pictures are."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, of pixels in 0…1, that is subtracted; without it that of the training pictures."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel that is divided by; without it that of the training pictures."""
    augment: Augment = ()
    """Random changes of training pictures."""
    on_unreadable: Literal["refuse", "skip"] = "refuse"
    """Whether one damaged picture stops the run, or is left out and named."""
    on_duplicate: Literal["refuse", "drop"] = "refuse"
    """What to do with training pictures that are also in your valid or test folder: stop, or leave them out of train."""
    memory: Literal["auto", True, False] = Field("auto")
    """Keep decoded pictures in memory; "auto" does if they take at most half of what is free."""


@datasets.register({"folder": FolderConfig()})
class Folder(Dataset):
    """Your own pictures: a folder per class, or train, valid and test folders, or a flat folder.

    Source: the user's own.
    """

    kinds = ("classification",)
    settings: FolderConfig

    def prepare(self) -> None:
        """Find the pictures, decode each once, split them.

        Raises: DataError, ConfigError
        """
        if not self.settings.path:
            raise ConfigError("data.path: is missing. Say which folder: --data photos/")
        root = expanded(self.settings.path)
        layout = read_layout(root, self.settings)
        refuse(layout.findings, root)
        self._notes, self._skipped = list(layout.notes), list[str]()
        if self.settings.labels:
            self._notes += [finding.message for finding in layout.findings]
        files, found = self._readable(root, list(layout.files), headers([file.path for file in layout.files]))
        channels, size = self._form(found)
        keep = fits_in_memory(len(files), channels, size) if self.settings.memory == "auto" else self.settings.memory
        decoded, bad = decode_all([file.path for file in files], channels, size, keep)
        if bad:
            self._refuse_or_note(root, [(files[index], reason) for index, reason in bad.items()])
        good = torch.tensor([index for index in range(len(files)) if index not in bad], dtype=torch.long)
        self._files = [files[index] for index in good.tolist()]
        images = decoded.images if decoded.images is None or not bad else decoded.images[good]
        self._images = images
        digests = [decoded.digests[index] for index in good.tolist()]
        self._decide_labels(root, layout)
        self._rows = self._split(root, layout, digests)
        self.remarks = (self._notes[-1], *self._skipped)
        mean, std = statistics_of(decoded, good[self._rows.get("train", torch.arange(len(good)))], size[0] * size[1])
        mean, std = self._normalization(mean, std)
        inputs = ImageInputs(channels=channels, height=size[0], width=size[1], mean=mean, std=std)
        if keep is False:
            self._notes.append(
                say("Pictures are read from disk for each batch; train.workers=… does it in the background.")
            )
        seen = hashlib.sha256("".join(digests).encode())
        for name, rows in self._rows.items():
            seen.update(name.encode() + rows.numpy().tobytes())
        if self.settings.labels and self._labels is not None:
            seen.update(self._labels.numpy().tobytes())
        sizes = {name: len(rows) for name, rows in self._rows.items()}
        found_facts = self.adopted or Facts(
            inputs=inputs, classes=layout.classes, several=layout.several, sizes=sizes, source=shown(root)
        )
        self.facts = found_facts.replace(sizes=sizes, notes=tuple(self._notes), digest=seen.hexdigest()[:16])

    def split(self, name: str) -> Examples:
        rows = self._rows[name]
        augment = self.settings.augment if name == "train" else ()
        assert isinstance(self.facts.inputs, ImageInputs)
        if self._images is not None:
            return Subset(MemoryImages(self._images, self._labels, self.facts.inputs, augment), rows)
        return Subset(DiskImages([file.path for file in self._files], self._labels, self.facts.inputs, augment), rows)

    def where(self, split: str, row: int) -> str:
        return shown(self._files[int(self._rows[split][row])].path)

    # ---------------------------------------------------------------------------------------- reading

    def _readable(
        self, root: Path, files: list[PictureFile], found: list[Header | Unreadable]
    ) -> tuple[list[PictureFile], list[Header]]:
        """Return the pictures whose headers can be read, and those headers."""
        bad = [(file, item) for file, item in zip(files, found, strict=True) if isinstance(item, Unreadable)]
        if bad:
            self._refuse_or_note(root, bad)
        good = [(file, item) for file, item in zip(files, found, strict=True) if isinstance(item, Header)]
        if not good:
            raise DataError("{path}: none of its {count} pictures can be read.", path=shown(root), count=len(files))
        several = [file for file, item in good if item.frames]
        if several:
            self._notes.append(say("Of {count} pictures with several frames the first frame is used ({names}).",
                                   count=len(several), names=listed([shown(file.path.name) for file in several], 3)))  # fmt: skip
        return [file for file, _ in good], [item for _, item in good]

    def _refuse_or_note(self, root: Path, bad: list[tuple[PictureFile, Unreadable]]) -> None:
        if self.settings.on_unreadable == "refuse":
            hint = say("To leave such pictures out: data.on_unreadable=skip")
            findings = [Finding("error", shown(file.path), f"{reason}.") for file, reason in bad]
            findings[0] = findings[0]._replace(message=f"{findings[0].message} {hint}")
            refuse(findings, root)
        skipped = [say("Skipped: {path} {reason}.", path=shown(file.path.relative_to(root)), reason=reason)
                   for file, reason in bad]  # fmt: skip
        self._notes += skipped
        self._skipped += skipped

    def _form(self, found: list[Header]) -> tuple[int, tuple[int, int]]:
        """Return channels and size (height, width) of all pictures."""
        if self.adopted:
            inputs = self.adopted.inputs
            if not isinstance(inputs, ImageInputs):
                raise DataError("{path}: is a folder of pictures, but the model was trained with {kind}.",
                                path=self.settings.path, kind=inputs.kind)  # fmt: skip
            return inputs.channels, (inputs.height, inputs.width)
        grey = sum(item.grey for item in found)
        channels = self.settings.channels if self.settings.channels != "auto" else 1 if grey == len(found) else 3
        if self.settings.channels == "auto" and 0 < grey < len(found):
            self._notes.append(
                say("{grey} of {count} pictures are grey; all are taken as colour.", grey=grey, count=len(found))
            )
        wanted = self.settings.image_size
        size = guess_size(found) if wanted is None else (wanted, wanted) if isinstance(wanted, int) else wanted
        if min(size) < 1:
            raise ConfigError("data.image_size={size}: a side should be 1 or more.", size=wanted)
        other = sum((item.height, item.width) != size for item in found)
        if other:
            self._notes.append(say(
                "{count} of {total} pictures are brought to {height} × {width}: the shorter side is scaled, the longer one cut "
                "at both ends.", count=other, total=len(found), height=size[0], width=size[1]))  # fmt: skip
        return channels, size

    def _normalization(
        self, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return what pictures are normalised by: what the settings say, else what was found."""
        for name, wanted in (("mean", self.settings.mean), ("std", self.settings.std)):
            if wanted is not None and len(wanted) != len(mean):
                raise ConfigError("data.{name}={wanted}: should hold {count} numbers, one for each channel.", name=name,
                                  wanted=list(wanted), count=len(mean))  # fmt: skip
        if self.settings.std is not None and min(self.settings.std) <= 0:
            raise ConfigError("data.std={wanted}: should be above 0.", wanted=list(self.settings.std))
        return self.settings.mean or mean, self.settings.std or std

    def _decide_labels(self, root: Path, layout: Layout) -> None:
        classes = layout.classes
        if self.adopted and self.adopted.classes is not None:
            if classes is None:
                raise DataError("{path}: has no folders of classes, so there is nothing to compare the model's answers with.",
                                path=shown(root))  # fmt: skip
            strange = [name for name in classes if name not in self.adopted.classes]
            if strange:
                raise DataError("{path}: class '{name}' is not among those the model was trained with ({classes}).{suggestion}",
                                path=shown(root), name=strange[0], classes=listed(self.adopted.classes, 12),
                                suggestion=nearest(strange[0], self.adopted.classes))  # fmt: skip
            classes = self.adopted.classes
        if classes is None:
            self._labels: Tensor | None = None
            return
        left = {label for file in self._files for label in file.labels or (file.label,)}
        gone = [name for name in layout.classes or () if name not in left]
        if gone:
            raise DataError("{path}: no picture of class '{name}' can be read.", path=shown(root), name=gone[0])
        index = {name: label for label, name in enumerate(classes)}
        if layout.several or (self.adopted and self.adopted.several):
            self._labels = torch.zeros(len(self._files), len(classes))
            for row, file in enumerate(self._files):
                for label in file.labels if file.labels is not None else (file.label or "",):
                    self._labels[row, index[label]] = 1
            return
        self._labels = torch.tensor([index[file.label or ""] for file in self._files])

    # -------------------------------------------------------------------------------------- splitting

    def _split(self, root: Path, layout: Layout, digests: list[str]) -> dict[str, Tensor]:
        copies = defaultdict(list)
        for row, digest in enumerate(digests):
            copies[digest].append(row)
        twice = [rows for rows in copies.values() if len(rows) > 1]
        self._note_copies(root, twice)
        labels = torch.zeros(len(digests), dtype=torch.long) if self._labels is None else self._labels
        by = "" if self._labels is None else "class"
        if labels.ndim == 2:
            labels = rarest(labels)
        if self.adopted and not layout.splits:
            self._notes.append(say("All {count:,} pictures are evaluated as the split 'test'.", count=len(digests)))
            return {"test": torch.arange(len(digests))}
        if not layout.splits:
            rows = grouped_split(labels, digests, {"valid": self.settings.valid, "test": self.settings.test}, self.seed)
            self._notes.append(split_note({name: len(found) for name, found in rows.items()}, self.seed, by))
            return rows
        rows = {name: torch.tensor([row for row, file in enumerate(self._files) if file.split == name], dtype=torch.long)
                for name in layout.splits}  # fmt: skip
        if "train" not in rows and not self.adopted:
            raise DataError("{path}: has {splits} but no folder 'train'.", path=shown(root), splits=", ".join(rows))
        rows = self._without_leaks(root, rows, twice)
        if "valid" not in rows and "train" in rows and self.settings.valid and not self.adopted:
            train = rows["train"]
            parts = grouped_split(
                labels[train], [digests[row] for row in train.tolist()], {"valid": self.settings.valid}, self.seed
            )
            rows |= {name: train[part] for name, part in parts.items()}
            self._notes.append(say("There is no folder 'valid': a share of {share} of train is held out for it with seed {seed}.",
                                   share=self.settings.valid, seed=self.seed))  # fmt: skip
        counts = ", ".join(f"{name} {len(found):,}" for name, found in rows.items())
        self._notes.append(say("Split by your folders: {counts}.", counts=counts))
        return rows

    def _note_copies(self, root: Path, twice: list[list[int]]) -> None:
        if not twice:
            return
        names = [" = ".join(shown(self._files[row].path.relative_to(root)) for row in rows) for rows in twice]
        self._notes.append(say("{count} pictures are there more than once ({names}). Where we split, copies stay together.",
                               count=len(twice), names=listed(names, 3)))  # fmt: skip
        torn = [
            name for rows, name in zip(twice, names, strict=True) if len({self._files[row].label for row in rows}) > 1
        ]
        if torn:
            self._notes.append(say("{count} pictures are in two classes at once ({names}): one of them must be wrong.",
                                   count=len(torn), names=listed(torn, 3)))  # fmt: skip

    def _without_leaks(self, root: Path, rows: dict[str, Tensor], twice: list[list[int]]) -> dict[str, Tensor]:
        """Refuse, or take out of train (and valid), pictures that are in a split held out from it."""
        rank = {"train": 0, "valid": 1, "test": 2}
        leaks, drop = [], set()
        for group in twice:
            furthest = max(rank[self._files[row].split or "train"] for row in group)
            early = [row for row in group if rank[self._files[row].split or "train"] < furthest]
            if early:
                held = next(row for row in group if row not in early)
                leaks.append((early[0], held))
                drop.update(early)
        if not leaks:
            return rows
        if self.settings.on_duplicate == "refuse":
            hint = say("To leave them out of train: data.on_duplicate=drop")
            findings = [Finding("error", shown(self._files[row].path), say(
                "is the same file as {other}: what is held out must not be trained on.",
                other=shown(self._files[held].path))) for row, held in leaks]  # fmt: skip
            findings[0] = findings[0]._replace(message=f"{findings[0].message} {hint}")
            refuse(findings, root)
        self._notes.append(say("Left out of train because they are held out too: {names}.",
                               names=listed([shown(self._files[row].path.relative_to(root)) for row in sorted(drop)], 20)))  # fmt: skip
        return {name: torch.tensor([row for row in found.tolist() if row not in drop], dtype=torch.long)
                for name, found in rows.items()}  # fmt: skip


def read_layout(root: Path, settings: FolderConfig) -> Layout:
    """Return the pictures of a folder, and what its sub-folders or a CSV say about them."""
    return lay_out_labelled(root, settings.labels) if settings.labels else lay_out(root)


def rarest(labels: Tensor) -> Tensor:
    """Return for each row of (N, K) zeros and ones the rarest of its labels, K where it has none: to split in proportion."""
    order = labels.sum(0).argsort(stable=True)
    ranked = labels[:, order]
    first = ranked.argmax(1)
    return torch.where(ranked.any(1), order[first], labels.shape[1])
