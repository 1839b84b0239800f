"""Recipe: everything about a run, in one frozen record and one TOML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from seodang.core.config import Config, frozen
from seodang.core.language import say

LENGTHS = ("steps", "epochs", "minutes")


class Choice(Config):
    """A registered name and the settings written beside it, resolved later by a registry."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def with_settings(self, **changes: Any) -> Choice:
        return Choice.of({**self.values(), **changes})

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Train(Config):
    """How long, how large, how often, on what."""

    steps: int | None = Field(None, gt=0)
    """Optimizer updates to make. One of steps, epochs and minutes is given."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training split."""
    minutes: float | None = Field(None, gt=0)
    """Training time, evaluations not counted. Not repeatable to the byte: clocks are not."""
    batch_size: int | Literal["all"] = Field(64)
    """Examples per update, over all devices; "all" is full-batch gradient descent."""
    accumulate: int = Field(1, gt=0)
    """Micro-batches per update. Changes memory, never the result."""
    workers: int = Field(0, ge=0)
    """Processes that read data kept on disk; 0 reads in the main process. Memory data needs none."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    devices: int | Literal["auto"] = "auto"
    """How many devices of that kind (on a CPU: processes)."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several devices share the work: copies of the model (ddp) or shards of it (fsdp)."""
    threads: int | Literal["auto"] = "auto"
    """CPU threads for arithmetic. Kept in the run: results depend on it in the last bits."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of matrix products and convolutions. Weights are always float32."""
    deterministic: bool = True
    """Use only kernels that give the same bytes each time; an operation without one is refused by name."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory layout of images and convolutions."""
    compile: bool | Literal["auto"] = "auto"
    """Compile each network with torch.compile."""
    clip: float | None = Field(None, gt=0)
    """Largest allowed norm of a network's gradient."""
    clip_value: float | None = Field(None, gt=0)
    """Largest allowed size of each number of the gradient: beyond it they are cut. Not together with clip."""
    weight_noise: float = Field(0.0, ge=0)
    """Standard deviation of Gaussian noise on all weights while an update is computed; it is off again before the step."""
    average: float | None = Field(None, gt=0, lt=1)
    """Decay of the moving average of the weights; the average is what is evaluated and kept."""
    log_every: int = Field(20, gt=0)
    """Updates between two lines of progress."""
    evaluate_every: int | Literal["epoch"] = "epoch"
    """Updates between evaluations; 0 = only before and after."""
    save_every: int | Literal["evaluate"] = "evaluate"
    """Updates between checkpoints, the most a crash can cost; "evaluate" = at every evaluation; 0 = only at the end. Large
    checkpoints, which are written beside the loop, are begun every half of it."""
    keep: int = Field(2, ge=2)
    """Newest checkpoints kept, besides the best."""
    on_save_error: Literal["stop", "continue"] = "stop"
    """What to do when the disk is full or fails: stop and keep what was saved, or say so and try at the next save."""
    on_nonfinite: Literal["stop", "skip", "rewind"] = "stop"
    """What to do when a loss or gradient is NaN or infinite: stop before the update; skip the update; or rewind to the
    last checkpoint and leave that batch out. Ten in a row stop the run. On a GPU skip and rewind wait for every update."""
    timeout: float = Field(120.0, gt=0)
    """Seconds after which a process that reads data, or one of several devices, counts as stuck."""
    patience: int | None = Field(None, gt=0)
    """Stop after this many evaluations without improvement."""
    bootstrap: int | None = Field(None, ge=0)
    """Train on a bootstrap sample of the training split, drawn with replacement: 1, 2, 3 … are different samples. Models of
    several samples, averaged by `seodang evaluate RUN RUN …`, are bagging."""
    balance: float = Field(0.0, ge=0, le=1)
    """How far uneven classes are evened out when examples are drawn: 0 takes every example once an epoch; 1 draws every class
    equally often, with replacement; between them a class of n examples is drawn with weight n^(1 - balance)."""
    start: str | None = None
    """Begin with the weights of a run, a checkpoint or a bundle, or with published ones (resnet18.imagenet), under a new head."""
    start_digest: str | None = None
    """SHA-256 of those weights: written when a run begins, and compared when it is repeated."""
    freeze: int | str | tuple[str, ...] = 0
    """Layers that keep their weights: so many from the input on; below 0, all but so many at the end; or those whose names
    begin so."""
    thaw: float = Field(0.0, ge=0)
    """Epochs after which one more frozen layer is trained too, the last one first (gradual unfreezing); 0 = none ever."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(say("give one length, not {count} ({names})", count=len(given), names=", ".join(given)))
        if self.clip and self.clip_value:
            raise ValueError(say("give clip (of the norm) or clip_value (of each number), not both"))
        if self.balance and self.bootstrap is not None:
            raise ValueError(say("balance={balance} and bootstrap={bootstrap} both decide which examples are drawn: give one",
                                 balance=self.balance, bootstrap=self.bootstrap))  # fmt: skip
        if self.thaw and not self.freeze:
            raise ValueError(
                say("thaw={thaw} trains frozen layers one after the other, and freeze says of none", thaw=self.thaw)
            )
        if self.start_digest and not self.start:
            raise ValueError(say("start_digest belongs to start, and there is none"))
        for name, least in (
            ("batch_size", 1),
            ("devices", 1),
            ("threads", 1),
            ("evaluate_every", 0),
            ("save_every", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise ValueError(
                    say("{name} should be {limit} or more, not {value}", name=name, limit=least, value=value)
                )
        return self


class Expected(Config):
    """What `seodang check RECIPE --measure` wrote and compares with."""

    machine: str
    """Cores and processor, or the accelerator."""
    date: str
    """Day of the measurement, ISO 8601."""
    commit: str
    """Commit that was measured."""
    minutes: float = Field(ge=0)
    """Training time."""
    scores: Mapping[str, float]
    """Final scores on held-out data."""
    at_least: Mapping[str, float] = {}
    """What a re-run must reach, where more is better."""
    at_most: Mapping[str, float] = {}
    """What a re-run must not exceed; `minutes` may stand here too."""


class Recipe(Config):
    """The full description of a run."""

    name: str
    """What the run is called."""
    about: str = ""
    """One sentence on what it shows."""
    model: Choice
    """Architecture and its settings."""
    data: Choice
    """Dataset and its settings."""
    task: Choice
    """What is learned: losses, scores, answers."""
    optimizer: Choice
    """Update rule, learning rate and schedule."""
    train: Train = Train()
    """Length, batch, devices, evaluation, saving."""
    seed: int = Field(0, ge=0)
    """Decides initial weights, order of the data, augmentation, dropout and splits."""
    expected: Expected | None = None
    """Measured result."""

    @model_validator(mode="before")
    @classmethod
    def _freeze(cls, value: Any) -> Any:
        return frozen(value)

    def written(self) -> dict[str, Any]:
        """Return what a recipe file holds: everything that was set, the choices whole."""
        values = super().written()
        for section in ("model", "data", "task", "optimizer"):
            values[section] = getattr(self, section).values()
        return values

    def digest(self) -> str:
        """Return a fingerprint of everything that decides the result."""
        deciding = self.replace(name="", about="", expected=None).values()
        del deciding["train"]["on_save_error"], deciding["train"]["timeout"]
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
