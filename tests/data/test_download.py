"""Files of named datasets: where they are looked for, what is verified, and that nothing is fetched unasked."""

from __future__ import annotations

import gzip
import io
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from seodang.core.errors import DataError
from seodang.core.files import digest
from seodang.data import download
from seodang.data.download import Official, cache_folder, data_folder, find_files, search_places

CONTENT = b"four score and seven years ago " * 40
WRAPPED = gzip.compress(CONTENT, 9)
PLAIN = Official("speech.txt", "https://example.org/speech.txt", len(CONTENT), digest(CONTENT))
ZIPPED = Official(
    "speech.gz", "https://example.org/speech.gz", len(WRAPPED), digest(WRAPPED), len(CONTENT), digest(CONTENT)
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SEODANG_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SEODANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEODANG_DOWNLOAD", raising=False)
    return tmp_path


class Server:
    """Stands in for the network: keeps what was asked for."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer, self.asked = answer, []

    def open(self, url: str, timeout: float) -> io.BytesIO:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | Exception], Server]:
    def start(answer: bytes | Exception) -> Server:
        server = Server(answer)
        monkeypatch.setattr(download, "opener", lambda: server)
        return server

    return start


def put(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# ------------------------------------------------------------------------------------------------ finding


@pytest.mark.parametrize("where", ["data/my-speech", "data/my_speech", "data/other/place", "data", "cache/my-speech"])
def test_a_file_is_found_in_each_usual_place(here: Path, where: str) -> None:
    put(here / where, PLAIN.name, CONTENT)
    assert find_files("my-speech", [PLAIN], folders=["other/place"]) == {PLAIN.name: CONTENT}


def test_the_data_folder_goes_before_the_cache(here: Path) -> None:
    put(here / "cache/speech", PLAIN.name, b"damaged")
    put(here / "data/speech", PLAIN.name, CONTENT)
    assert find_files("speech", [PLAIN])[PLAIN.name] == CONTENT
    assert search_places("speech")[0] == here / "data/speech"


def test_gzip_is_taken_off(here: Path) -> None:
    put(here / "data", ZIPPED.name, WRAPPED)
    assert find_files("speech", [ZIPPED])[ZIPPED.name] == CONTENT


@pytest.mark.parametrize("data", [gzip.compress(CONTENT, 1), CONTENT], ids=["another wrapping", "no wrapping"])
@pytest.mark.parametrize("name", ["speech.gz", "speech"])
def test_the_same_content_wrapped_otherwise_is_as_good(here: Path, data: bytes, name: str) -> None:
    assert data != WRAPPED
    put(here / "data", name, data)
    assert find_files("speech", [ZIPPED])[ZIPPED.name] == CONTENT


@pytest.mark.parametrize(
    "data", [WRAPPED[:-9], WRAPPED[:50] + b"x" + WRAPPED[51:], gzip.compress(CONTENT * 2), b"", gzip.compress(b"")],
    ids=["cut", "one byte changed", "other content", "empty", "wrapped nothing"],
)  # fmt: skip
def test_a_damaged_file_is_refused_and_named(here: Path, data: bytes) -> None:
    put(here / "data", ZIPPED.name, data)
    with pytest.raises(DataError, match=r"is not the file 'speech.gz' of this dataset, or it is damaged") as caught:
        find_files("speech", [ZIPPED])
    assert str(here / "data" / ZIPPED.name) in str(caught.value)
    assert ZIPPED.sha256 in str(caught.value)
    assert digest(data) in str(caught.value)


def test_a_wrapping_of_very_much_is_not_blown_up(here: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    content = download._unwrapped(bomb, len(CONTENT))
    assert content is not None
    assert len(content) == len(CONTENT) + 1


def test_a_data_folder_that_is_none_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_DATA", str(here / "nowhere"))
    with pytest.raises(DataError, match=r"SEODANG_DATA=.*nowhere: is not a folder"):
        data_folder()


def test_the_cache_is_below_the_home_folder_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEODANG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/seodang")


# ----------------------------------------------------------------------------------------------- asking


def test_nothing_is_fetched_unasked(here: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    with pytest.raises(DataError) as caught:
        find_files("speech", [PLAIN])
    message = str(caught.value)
    assert not server.asked
    for part in ("The dataset 'speech' needs files", "--download", str(here / "data/speech"), PLAIN.sha256, PLAIN.url):
        assert part in message
    assert not (here / "cache").exists()


def test_without_a_data_folder_the_file_belongs_in_the_cache(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEODANG_DATA")
    with pytest.raises(DataError, match=str(here / "cache/speech")):
        find_files("speech", [PLAIN])


def test_a_download_that_was_allowed_is_kept_and_found_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[bytes], Server]
) -> None:
    monkeypatch.setenv("SEODANG_DOWNLOAD", "1")
    server = serve(WRAPPED)
    assert find_files("speech", [ZIPPED])[ZIPPED.name] == CONTENT
    assert (here / "cache/speech" / ZIPPED.name).read_bytes() == WRAPPED
    assert find_files("speech", [ZIPPED])[ZIPPED.name] == CONTENT
    assert server.asked == [ZIPPED.url]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agrees"), [("y\n", True), ("예\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_terminal_is_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[bytes], Server], answer: str, agrees: bool
) -> None:
    server, screen = serve(CONTENT), Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", screen)
    if agrees:
        assert find_files("speech", [PLAIN])[PLAIN.name] == CONTENT
    else:
        with pytest.raises(DataError, match="The download was declined"):
            find_files("speech", [PLAIN])
    assert "Download 0 MB from example.org" in screen.getvalue()
    assert bool(server.asked) == agrees


def test_never_means_never(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("SEODANG_DOWNLOAD", "0")
    with pytest.raises(DataError, match="SEODANG_DOWNLOAD=0 forbids downloads"):
        find_files("speech", [PLAIN])


def test_what_is_published_nowhere_is_not_looked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_DOWNLOAD", "1")
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        find_files("speech", [PLAIN._replace(url="")])
    assert PLAIN.sha256 in str(caught.value)


# -------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize(
    "fault",
    [urllib.error.URLError("no route to host"), TimeoutError("timed out"), ConnectionResetError("reset by peer")],
)
def test_offline_the_file_wanted_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[Exception], Server], fault: Exception
) -> None:
    monkeypatch.setenv("SEODANG_DOWNLOAD", "1")
    serve(fault)
    reason = str(getattr(fault, "reason", fault))
    with pytest.raises(DataError, match=f"The download of {PLAIN.url} failed: {reason}") as caught:
        find_files("speech", [PLAIN])
    assert PLAIN.sha256 in str(caught.value)
    assert str(here / "data/speech") in str(caught.value)


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT + b"!", b"<html>", b""])
def test_something_else_is_not_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[bytes], Server], sent: bytes
) -> None:
    monkeypatch.setenv("SEODANG_DOWNLOAD", "1")
    serve(sent)
    with pytest.raises(DataError, match="what came is not the file that was published"):
        find_files("speech", [PLAIN])
    assert not (here / "cache/speech" / PLAIN.name).exists()


def test_no_more_is_read_than_was_published(monkeypatch: pytest.MonkeyPatch, serve: Callable[[bytes], Server]) -> None:
    serve(bytes(10_000_000))
    assert len(download.fetch(PLAIN)) == PLAIN.size_bytes + 1


@pytest.mark.parametrize("url", ["http://example.org/speech", "ftp://example.org/speech", "file:///etc/passwd"])
def test_only_https(url: str) -> None:
    with pytest.raises(OSError, match="not an https address"):
        download.fetch(PLAIN._replace(url=url))


def test_a_redirect_leads_nowhere_but_to_https() -> None:
    import urllib.request

    handler, request = download._HTTPSOnly(), urllib.request.Request("https://example.org/a")
    with pytest.raises(OSError, match="not an https address"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, "http://example.org/b")
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, "https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"
    assert any(isinstance(part, download._HTTPSOnly) for part in download.opener().handlers)
