"""Finding the files of a named dataset: `SEODANG_DATA`, then the cache, then a download that asks first.

Every file is pinned by SHA-256 and verified each time it is read. Nothing is fetched unless the user agrees:
by answering on a terminal, with ``--download``, or with ``SEODANG_DOWNLOAD=1`` (``0`` means never, and never ask).
"""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import sys
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from seodang.core.errors import DataError
from seodang.core.files import digest, make_folders, write
from seodang.core.language import say
from seodang.core.places import expanded

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20


class Official(NamedTuple):
    """A file of a dataset, as its publisher serves it."""

    name: str
    url: str
    """Where it is published, over https; "" where it is not and must be brought."""
    size_bytes: int
    """Its size; not more than so many bytes are fetched."""
    sha256: str
    """Its digest; where its publisher gives only the first digits, those."""
    content_bytes: int = 0
    """Size of what is inside the gzip wrapping; 0 = not wrapped, or not known."""
    content_sha256: str = ""
    """Digest of that: other wrappings of the same content are as good."""


def data_folder() -> Path | None:
    """Return the folder `SEODANG_DATA` names, or None if it is not set.

    Raises: DataError if it names something that is not a folder.
    """
    named = os.environ.get("SEODANG_DATA")
    if not named:
        return None
    path = expanded(named)
    if not path.is_dir():
        raise DataError("SEODANG_DATA={path}: is not a folder. Correct it, or unset it.", path=named)
    return path


def cache_folder() -> Path:
    """Return where downloads are kept: `SEODANG_CACHE`, else ``~/.cache/seodang``."""
    if named := os.environ.get("SEODANG_CACHE"):
        return expanded(named)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "seodang"


def bundle_folder(address: str) -> Path:
    """Return where published weights are kept as a bundle once they have been used."""
    return cache_folder() / "bundles" / address


def find_files(dataset: str, files: Sequence[Official], folders: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the verified content of each of `files` by name, unwrapped where it was gzipped.

    They are looked for in the data folder and the cache: in a sub-folder called like the dataset or one of
    `folders`, and beside each other at the top. What is missing is downloaded into the cache if the user agrees.

    Raises: DataError naming each missing or damaged file, where to put it, and its checksum.
    """
    places = search_places(dataset, folders)
    found = {file.name: path for file in files if (path := _first(places, file)) is not None}
    missing = [file for file in files if file.name not in found]
    if missing:
        found |= _download(dataset, missing)
    return {file.name: read_verified(found[file.name], file) for file in files}


def find_path(dataset: str, file: Official) -> Path:
    """Return where a file of `find_files` is, verified, for what reads it from the disk.

    Raises: DataError
    """
    path = _first(search_places(dataset), file) or _download(dataset, [file])[file.name]
    read_verified(path, file)
    return path


def search_places(dataset: str, folders: Sequence[str] = ()) -> list[Path]:
    """Return the folders a dataset is looked for in, best first."""
    names = dict.fromkeys([dataset, dataset.replace("-", "_"), *folders, "."])
    roots = [root for root in (data_folder(), cache_folder()) if root is not None]
    return [root / name for root in roots for name in names]


def _first(places: Sequence[Path], file: Official) -> Path | None:
    names = dict.fromkeys([file.name, file.name.removesuffix(".gz")] if file.content_sha256 else [file.name])
    return next((path for place in places for name in names if (path := place / name).is_file()), None)


def read_verified(path: Path, file: Official) -> bytes:
    """Return the content of `path`, unwrapped if it is gzipped and `file` says how large the content is.

    Raises: DataError if neither the file nor its content has the digest it should have.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None
    known = digest(data).startswith(file.sha256)
    content = _unwrapped(data, file.content_bytes) if file.content_bytes else data
    if known or (file.content_sha256 and content is not None and digest(content) == file.content_sha256):
        assert content is not None
        return content
    raise DataError(
        "{path}: is not the file '{name}' of this dataset, or it is damaged. Its SHA-256 is {found}, "
        "it should be {expected}. Remove it and get it again.",
        path=path, name=file.name, found=digest(data), expected=file.sha256)  # fmt: skip


def _unwrapped(data: bytes, size: int) -> bytes | None:
    """Return what is inside a gzip wrapping, never more than a byte too much; None if it is torn."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(size + 1)
    except (OSError, EOFError, zlib.error):
        return None


# ------------------------------------------------------------------------------------------- download


def _download(dataset: str, files: Sequence[Official]) -> dict[str, Path]:
    folder = cache_folder() / dataset
    if (refusal := _refusal(dataset, files, folder)) is not None:
        raise _missing(dataset, files, folder, refusal)
    make_folders(folder)
    with _alone(folder):
        for file in files:
            if (folder / file.name).is_file():  # another process was faster
                continue
            try:
                data = fetch(file)
            except (OSError, HTTPException) as error:
                cause = getattr(error, "reason", error)
                reason = say("The download of {url} failed: {reason}.", url=file.url, reason=cause)
                raise _missing(dataset, files, folder, reason) from None
            if not digest(data).startswith(file.sha256):
                raise DataError(
                    "{url}: what came is not the file that was published: SHA-256 {found}, expected {expected}. "
                    "Nothing was kept.",
                    url=file.url, found=digest(data), expected=file.sha256)  # fmt: skip
            write(folder / file.name, data)
    return {file.name: folder / file.name for file in files}


def _refusal(dataset: str, files: Sequence[Official], folder: Path) -> str | None:
    """Return why nothing may be fetched, or None if the user agrees."""
    if not all(file.url for file in files):
        return say("It is not published as a whole, so it cannot be downloaded.")
    match os.environ.get("SEODANG_DOWNLOAD", ""):
        case "1":
            return None
        case "0":
            return say("SEODANG_DOWNLOAD=0 forbids downloads.")
        case "look":  # seodang show and check only look at what is here
            return say("It is fetched when you train: seodang train … --download")
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return say("Nothing is downloaded unasked: allow it with --download (or SEODANG_DOWNLOAD=1).")
    size = sum(file.size_bytes for file in files) / 1e6
    hosts = ", ".join(dict.fromkeys(str(urlsplit(file.url).hostname) for file in files))
    question = say("The dataset '{dataset}' is not here. Download {size:.0f} MB from {hosts} to {folder}? [y/n]",
                   dataset=dataset, size=size, hosts=hosts, folder=folder)  # fmt: skip
    print(question, end=" ", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    return None if answer in ("y", "yes", "예", "네") else say("The download was declined.")


def _missing(dataset: str, files: Sequence[Official], cache: Path, reason: str) -> DataError:
    root = data_folder()
    listing = "\n".join(f"  {file.name}  SHA-256 {file.sha256}  {file.url}".rstrip() for file in files)
    return DataError(
        "The dataset '{dataset}' needs files that are not here. {reason} To bring them yourself, put into {folder}:\n{listing}",
        dataset=dataset, reason=reason, folder=root / dataset if root else cache, listing=listing)  # fmt: skip


def fetch(file: Official) -> bytes:
    """Return what its publisher serves, over https only and never more than the published size and a byte.

    Raises: OSError, HTTPException
    """
    _require_https(file.url)
    line = say("Downloading {url} ({size:.1f} MB)", url=file.url, size=file.size_bytes / 1e6)
    print(line, file=sys.stderr, flush=True)
    chunks: list[bytes] = []
    left = file.size_bytes + 1
    with opener().open(file.url, timeout=TIMEOUT_SECONDS) as response:
        while left and (chunk := response.read(min(left, CHUNK_BYTES))):
            chunks.append(chunk)
            left -= len(chunk)
    return b"".join(chunks)


def opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HTTPSOnly)


class _HTTPSOnly(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to another https address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise OSError(say("{url} is not an https address", url=url))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder of the cache."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
