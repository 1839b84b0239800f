"""What every test runs under: shapes in signatures are checked, one thread, no network, English, quiet folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from jaxtyping import install_import_hook

CHECKED = install_import_hook(
    ["seodang.layers", "seodang.models", "seodang.generate", "seodang.task.losses"], "beartype.beartype"
)

import pytest  # noqa: E402
import torch  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "data"
if "SEODANG_DATA" not in os.environ and SHARED.is_dir():
    os.environ["SEODANG_DATA"] = str(SHARED)


def data_folder(name: str) -> bool:
    """Return whether the real dataset `name` lies in SEODANG_DATA."""
    root = os.environ.get("SEODANG_DATA")
    return bool(root) and (Path(root) / name).exists()


def needs_data(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not data_folder(name), reason=f"the real data '{name}' is not in SEODANG_DATA")


@pytest.fixture(autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.setenv("SEODANG_LANG", "en")
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path_factory.mktemp("runs")))
    monkeypatch.setenv("SEODANG_CACHE", str(tmp_path_factory.mktemp("cache")))
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and str(address[0]) not in ("127.0.0.1", "::1"):  # type: ignore[index]
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", refuse)
