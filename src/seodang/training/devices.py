"""Devices, precision, memory format, compilation, and many processes: PyTorch's own engine, in one file.

`torch.autocast` for precision, `DistributedDataParallel` and `fully_shard` (FSDP2) for several devices,
`torchrun` to launch them. Decisions marked "auto" follow rules stated here and are said in one line.
"""

from __future__ import annotations

import copy
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from seodang.core.errors import ConfigError, TrainingError
from seodang.core.recipe import Train
from seodang.training.allocator import keep_freed_memory

_KEPT: list[nn.Module] = []
"""Wrapped networks, kept to the end of the process: the last of them to go takes gloo's threads along while it holds
Python's lock, and waits for ever if one of them needs that lock (github.com/pytorch/pytorch/issues/56297)."""
_STORES: list[dist.Store] = []
"""Where the processes of a run met: how they reach each other when their exchanges fail."""
BFLOAT16_FROM_FLOPS = 1.5e8
"""Multiply-adds × 2 in one update's forward pass from which bfloat16 pays on a CPU (measured, benchmarks/precision.py)."""


class Devices:
    """Where a run computes and how: decided once, from the recipe, the machine and the size of the model."""

    def __init__(self, train: Train) -> None:
        self.kind = _kind(train.device)
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device(self.kind, local) if self.kind == "cuda" else torch.device(self.kind)
        if self.kind == "cuda":
            torch.cuda.set_device(self.device)
        else:
            keep_freed_memory()
        self.threads = self._set_threads(train)
        self.strategy = "ddp" if train.strategy == "auto" else train.strategy
        self.train = train
        self.precision = "float32" if train.precision == "auto" else train.precision
        self.compile = train.compile is True or (train.compile == "auto" and self.kind == "cuda")
        self.memory_format = torch.contiguous_format
        if self.world > 1 and not dist.is_initialized():
            wait = timedelta(seconds=train.timeout)
            store = _meet(self.rank, self.world, wait)
            _STORES.append(store)
            dist.init_process_group(
                "nccl" if self.kind == "cuda" else "gloo",
                store=dist.PrefixStore("run", store), rank=self.rank, world_size=self.world, timeout=wait)  # fmt: skip

    def _set_threads(self, train: Train) -> int:
        cores = available_cores()
        threads = (
            max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if train.threads == "auto" else train.threads
        )
        if self.kind == "cpu" and threads > cores:
            raise ConfigError(
                "train.threads={threads}, but this machine has {cores} cores.", threads=threads, cores=cores
            )
        torch.set_num_threads(threads)
        return threads

    @property
    def main(self) -> bool:
        return self.rank == 0

    def decide(self, flops: float, convolutions: bool) -> None:
        """Choose precision and memory format for a model whose update costs `flops` forward."""
        if self.train.precision == "auto" and has_fast_bfloat16(self.kind) and flops >= BFLOAT16_FROM_FLOPS:
            self.precision = "bfloat16"
        wanted = self.train.memory_format
        pays = self.kind == "cpu" or self.precision == "bfloat16"  # measured: benchmarks/loop.py
        if convolutions and (wanted == "channels_last" or (wanted == "auto" and pays)):
            self.memory_format = torch.channels_last

    def choices(self) -> dict[str, Any]:
        """Return what was decided, for the start line and the run's record."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.kind == "cuda" else self.kind,
            "devices": self.world,
            **({"strategy": self.strategy} if self.world > 1 else {}),
            "threads": self.threads,
            "precision": self.precision,
            "memory_format": "channels_last" if self.memory_format == torch.channels_last else "contiguous",
            "compile": self.compile,
        }

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model to the device, in the memory format decided."""
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def move(self, tensor: Tensor) -> Tensor:
        moved = tensor.to(self.device, non_blocking=True)
        return moved.contiguous(memory_format=self.memory_format) if moved.ndim == 4 else moved

    def shard(self, networks: dict[str, nn.Module], blocks: tuple[type[nn.Module], ...]) -> None:
        """With FSDP2, shard the parameters of each network in place, block by block."""
        if self.world == 1 or self.strategy != "fsdp":
            return
        mesh = dist.device_mesh.init_device_mesh(self.kind, (self.world,))
        for network in networks.values():
            for module in network.modules():
                if isinstance(module, blocks) and module is not network:
                    fully_shard(module, mesh=mesh)
            fully_shard(network, mesh=mesh)

    def view(self, model: nn.Module, networks: dict[str, nn.Module]) -> nn.Module:
        """Return the model as training calls it: each network compiled and, with DDP, synchronised.

        The model itself keeps its clean names: the view shares its weights.
        """
        wrapped = {name: self._wrapped(network) for name, network in networks.items()}
        if "model" in wrapped:
            return wrapped["model"]
        if all(wrapped[name] is networks[name] for name in networks):
            return model
        view = copy.copy(model)
        view._modules = {**model._modules, **wrapped}
        return view

    def _wrapped(self, network: nn.Module) -> nn.Module:
        if self.compile:
            network = torch.compile(network)  # type: ignore[assignment]
        if self.world > 1 and self.strategy == "ddp":
            network = DistributedDataParallel(
                network, device_ids=[self.device] if self.kind == "cuda" else None, forward_sync_buffers=False
            )
            _KEPT.append(network)
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.kind, torch.bfloat16)

    @contextmanager
    def synchronising(self, view: nn.Module, last: bool) -> Iterator[None]:
        """Exchange gradients only in the `last` micro-batch of an update."""
        if isinstance(view, DistributedDataParallel) and not last:
            with view.no_sync():
                yield
            return
        if isinstance(view, FSDPModule):
            view.set_requires_gradient_sync(last)
        yield

    def sum(self, value: Tensor) -> Tensor:
        """Return `value` added over all ranks."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """Return `value` of every rank, in rank order."""
        if self.world == 1:
            return [value]
        value = value.to(self.device)
        values = [torch.empty_like(value) for _ in range(self.world)]
        dist.all_gather(values, value)
        return [item.cpu() for item in values]

    def agree(self, flag: bool) -> bool:
        """Return whether any rank says `flag`."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world > 1 and dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()

    def abandon(self) -> None:
        """Leave the others without waiting for them: this process has failed, and they are to see it at once."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def _meet(rank: int, world: int, wait: timedelta) -> dist.Store:
    """Return the store at MASTER_ADDR and MASTER_PORT, where every process of the run comes.

    Raises: TrainingError if the port is taken or the others do not come.
    """
    try:
        return next(dist.rendezvous("env://", rank, world, timeout=wait))[0]  # type: ignore[no-untyped-call]
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
        if "EADDRINUSE" in str(error) or "in use" in str(error):
            raise TrainingError(
                "MASTER_PORT={port} is taken: another run or program listens there. Set MASTER_PORT to a free port for every process, "
                "or let PyTorch find one: torchrun --standalone --nproc-per-node={world} -m seodang …", port=port, world=world) from None  # fmt: skip
        raise TrainingError(
            "Process {rank} of {world}: the processes of this run did not meet at {address}:{port} within {seconds:.0f} s ({reason}). Start "
            "all of them, with the same MASTER_ADDR and MASTER_PORT.", rank=rank, world=world, address=address, port=port,
            seconds=wait.total_seconds(), reason=str(error).partition("\n")[0][:200]) from None  # fmt: skip


def silent_processes(rank: int, world: int, seconds: float = 2.0) -> list[int]:
    """Return the ranks that do not answer a roll call. Every process that finds another one gone holds it.

    Leaves the group first, so that whoever waits for this one finds it gone, and answers.
    """
    answered = {rank}
    if dist.is_initialized():
        dist.destroy_process_group()

    def call() -> None:
        store = _STORES[-1]
        store.set(f"here/{rank}", "1")
        until = time.monotonic() + seconds
        while len(answered) < world and time.monotonic() < until:
            answered.update(other for other in range(world) if other not in answered and store.check([f"here/{other}"]))
            time.sleep(0.05)
        called.set()

    called = threading.Event()
    if _STORES:
        caller = threading.Thread(
            target=_quietly, args=(call,), daemon=True
        )  # whoever keeps the store may be the one that is stuck
        caller.start()
        caller.join(2 * seconds)
    return sorted(set(range(world)) - answered) if called.is_set() else []


def _quietly(call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # who keeps the store is gone
        call()


def _kind(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[wanted]:
        found = ", ".join(name for name, there in present.items() if there)
        raise ConfigError("train.device={wanted}: there is none here. Available: {found}.", wanted=wanted, found=found)
    return wanted


def wanted_devices(train: Train) -> int:
    """Return how many processes a run is to have.

    Raises: ConfigError if the machine has fewer devices.
    """
    kind = _kind(train.device)
    present = torch.cuda.device_count() if kind == "cuda" else available_cores() if kind == "cpu" else 1
    if train.devices == "auto":
        return present if kind == "cuda" else 1
    if train.devices > present:
        raise ConfigError(
            "train.devices={wanted}, but this machine has {present} ({kind}).",
            wanted=train.devices, present=present, kind=kind)  # fmt: skip
    return train.devices


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_fast_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def machine() -> dict[str, Any]:
    """Return what a result depends on in the last bits."""
    return {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "cores": available_cores(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cuda": torch.version.cuda,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
