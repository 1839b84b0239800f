"""Everything a user can do wrong, drawn as a tree.

    SeodangError
    ├── ConfigError      a setting: path, value, what is allowed, nearest name
    ├── UnknownName      a model, dataset, task…: nearest names, how to list them
    ├── DataError        a file or column: path, what was found, what was expected
    ├── WeightsError     a bundle: missing, unexpected, wrong shape; all of them, not the first
    ├── RunError         a folder: not a run, already running, nothing to resume
    ├── DiskError        a file that could not be written: path, bytes needed, bytes free
    ├── TrainingError    a run that cannot go on: non-finite numbers, a failed save
    └── MissingExtra     the exact pip line

Each says what was wrong, the value, where, what would be right and what to do. The command line prints
the sentence and exits with code 2; no traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from seodang.core.language import say


class SeodangError(ValueError):
    """Something the user can mend. The message is a template: it is translated, then filled."""

    def __init__(self, message: str, /, **values: object) -> None:
        super().__init__(_printable(say(message, **values)))
        self.template = message
        self.values = values


class ConfigError(SeodangError):
    """A setting that does not exist, has the wrong type or range, or contradicts another."""


class UnknownName(SeodangError):
    """A name no registry knows."""


class DataError(SeodangError):
    """A file, folder or column that cannot be used as it is."""


class WeightsError(SeodangError):
    """Weights that do not fit the architecture they are loaded into."""


class RunError(SeodangError):
    """A run folder that cannot be created, opened, resumed or read."""


class DiskError(SeodangError):
    """A file that could not be written; what was there before is untouched."""


class TrainingError(SeodangError):
    """A run that had to stop: its message names the step and the checkpoint to return to."""


class MissingExtra(SeodangError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            "This needs the package '{package}', which is not installed. Run: pip install 'seodang[{extra}]'",
            package=package,
            extra=extra,
        )


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _printable(text: str) -> str:
    """Write out what a terminal would obey or could not show: what stands in files and names ends up in messages."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the most similar of `known`, or an empty string."""
    known = list(known)
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not found:  # `learning_rate` and `lr` share few letters: the usual synonyms of other libraries
        found = [word for word in known if word == SYNONYMS.get(name)]
    return " " + say("Did you mean '{name}'?", name=found[0]) if found else ""


SYNONYMS = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "mom": "momentum",
    "beta": "betas",
    "max_steps": "steps",
    "iterations": "steps",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "bs": "batch_size",
    "grad_clip": "clip",
    "ema": "average",
    "gradient_accumulation_steps": "accumulate",
    "label_smoothing": "smoothing",
    "n_embd": "embed_dim",
    "d_model": "embed_dim",
    "hidden": "hidden_sizes",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "block_size": "max_len",
}
