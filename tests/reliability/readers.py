"""Every reader of files there is, with inputs made for it: a valid seed, the words of its format, its lengths and sums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.reliability.fuzz import Reader
from tests.reliability.readers_of_archives import gzipped, picture, tar
from tests.reliability.readers_of_data import (
    csv,
    gz_table,
    idx,
    json_lines,
    json_table,
    npy_input,
    npz,
    npz_official,
    parquet,
    text,
    tokenizer,
    tsv,
    typed_rows,
)
from tests.reliability.readers_of_runs import bundle, events, manifest, recipes, result, safetensors, settings, state

READERS: dict[str, Callable[[Path], Reader]] = {
    "recipe": recipes, "settings": settings, "manifest": manifest, "state": state, "events": events, "result": result,
    "safetensors": safetensors, "bundle": bundle, "tokenizer": tokenizer, "text": text, "csv": csv, "tsv": tsv,
    "json": json_table, "jsonl": json_lines, "gz": gz_table, "parquet": parquet, "typed": typed_rows, "npz": npz, "npy": npy_input,
    "npz-official": npz_official, "idx": idx, "tar": tar, "gzip": gzipped,
    **{kind.lower(): picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")},
}  # fmt: skip
SHARES: dict[str, int] = dict.fromkeys(READERS, 50)
"""Thousands of inputs in the tests, and shares of a long run."""
START = 10_000_000
"""Number of the first input of a long run: other ones than in the tests."""
