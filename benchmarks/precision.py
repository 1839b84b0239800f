"""Claim: on a CPU with bfloat16 arithmetic, "auto" takes it where an update is faster for it, and not where it is slower.

One update (forward, backward, AdamW) of dense and convolutional networks of growing cost, in float32 and in
bfloat16 (convolutions with channels last, as "auto" takes them), in turns; medians, on as many threads as there are
cores. `training/devices.py` holds the cost from which "auto" changes over.
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import seodang as sd
from seodang.training.devices import BFLOAT16_FROM_FLOPS, available_cores, has_fast_bfloat16

DENSE = ((64, 64), (128, 64), (256, 64), (256, 128), (512, 128), (512, 512), (1024, 512))
"""Width of two hidden layers, batch size; on 28×28 pixels."""
CONVOLUTIONAL = (
    (((8, 8), (16,)), 8, 64),
    (((32, 32), (64,)), 8, 64),
    (((32, 32), (64,)), 8, 256),
    (((16,), (32, 32), (64,)), 28, 64),
    (((32,), (64, 64), (128,)), 28, 32),
    (((32,), (64, 64), (128,)), 28, 128),
)
"""Stages, pixels on a side, batch size."""
ROUNDS, UPDATES = 9, 3


def updates(model: nn.Module, images: Tensor, bfloat16: bool) -> float:
    """Return the seconds of one update."""
    layout = torch.channels_last if bfloat16 else torch.contiguous_format
    model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    labels = torch.arange(len(images)) % 10
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    began = time.perf_counter()
    for _ in range(UPDATES):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - began) / UPDATES


def compare(name: str, model: nn.Module, images: Tensor) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(ROUNDS + 1):  # the first warms up and is not counted
        for bfloat16, found in seconds.items():
            took = updates(model, images, bfloat16)
            if round_:
                found.append(took)
    plain, short = (statistics.median(found) for found in seconds.values())
    flops = counter.get_total_flops()
    taken = "bfloat16" if flops >= BFLOAT16_FROM_FLOPS else "float32"
    print(f"  {name:42} {flops / 1e6:8.1f} MFLOP  float32 {plain * 1e3:7.2f} ms  bfloat16 {short * 1e3:7.2f} ms  "
          f"ratio {plain / short:4.2f}  auto: {taken}")  # fmt: skip


def main() -> None:
    if not has_fast_bfloat16("cpu"):
        print("this processor has no bfloat16 arithmetic: auto is float32")
        return
    torch.set_num_threads(available_cores())
    for width, size in DENSE:
        model = sd.model("mlp", hidden_sizes=(width, width), normalization="batch")
        compare(f"mlp {width}, batch {size}", model, torch.randn(size, 1, 28, 28))
    for stages, side, size in CONVOLUTIONAL:
        padding = "same" if side == 8 else "none"
        model = sd.model("cnn", stages=stages, image_size=(side, side), padding=padding)
        compare(f"cnn {stages}, {side}×{side}, batch {size}", model, torch.randn(size, 1, side, side))
