"""The global generators of torch, NumPy and Python: saved, restored, and kept from those who only watch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's, NumPy's and Python's global generators, as tensors."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    _, internal, kept = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python": torch.tensor(internal, dtype=torch.int64),
        "python_rest": torch.tensor([float("nan") if kept is None else kept], dtype=torch.float64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["torch"].clone())  # torch crashes on a view into a larger tensor, as ranks above 0 have
    position, has_gauss, gauss = states["numpy_rest"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))
    kept = states["python_rest"].item()
    random.setstate((3, tuple(states["python"].tolist()), None if kept != kept else kept))
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def kept_randomness(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Leave the generators afterwards as they were; inside, start them from `seed` if one is given."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    if seed is not None:
        seed_everything(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, device)


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
