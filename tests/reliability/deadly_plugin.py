"""A task during which something happens to one of several processes, once: what the file SEODANG_HARM names says what."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch import nn

from seodang.task.base import tasks
from seodang.task.classification import Classification, ClassificationConfig


def harm(what: str) -> None:
    if what == "raises":
        raise ValueError("the third update of this process is cursed")
    if what == "exits":
        os._exit(7)
    if what == "hangs":
        time.sleep(600)
    os.kill(os.getpid(), signal.Signals[what])


@tasks.register({"deadly": ClassificationConfig()})
class Deadly(Classification):
    """Classify, until the sixth update.

    Source: none, a test.
    """

    def after_step(self, model: nn.Module, step: int) -> None:
        flag = Path(os.environ.get("SEODANG_HARM", "/nowhere"))
        if step == 6 and os.environ.get("RANK") == "1" and flag.exists():
            what = flag.read_text()
            flag.unlink()
            harm(what)
