"""Everything that is wrong or odd in a text file."""

from __future__ import annotations

import re
from pathlib import Path

from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.data.csv_reading import BYTE_ORDER_MARK
from seodang.data.finding import Finding, listed, shown
from seodang.data.table_reading import read_bytes
from seodang.data.text import Text, TextConfig

SHORT = 10_000
"""Characters below which a text is learned by heart rather than learned from."""
NAMED = 20
FEWEST = 3
"""Different characters a text must have."""
PIECE, PIECES = 64, 50
"""Characters of a held-out passage, and how many such passages are looked for in the training part."""
SOME = 3
"""Places that look decoded wrongly from which they are no chance."""
BINARY = {b"%PDF": "PDF", b"PK\x03\x04": "ZIP", b"\x1f\x8b": "gzip", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF",
          b"\xd0\xcf\x11\xe0": "Microsoft Office", b"SQLite format 3": "SQLite", b"PAR1": "Parquet", b"\x93NUMPY": "NumPy"}  # fmt: skip
MARKED_UP = {"<!doctype html": "HTML", "<html": "HTML", "<?xml": "XML", "{\\rtf": "RTF"}
LOST, MARK = re.compile("\ufffd"), re.compile("\ufeff")
CONTROL = re.compile("[\x01-\x08\x0b\x0e-\x1f\x7f]")
BEHIND = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""The bytes 80 to BF as Latin-1 and as the code page of western Windows read them."""
MOJIBAKE = re.compile(f"[\xc2-\xdf]{BEHIND}|[\xe0-\xef]{BEHIND}{{2}}|[\xf0-\xf4]{BEHIND}{{3}}")


def check_text(path: Path, settings: TextConfig) -> list[Finding]:
    """Return findings about encoding, length, odd characters, and what is held out but stands in the training part.

    Raises: DataError if the file cannot be read.
    """
    data, source = read_bytes(path), shown(path)
    if not data.strip():
        return [Finding("error", source, say("is empty."))]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [Finding("error", source, say("begins like UTF-16 text. Save it as UTF-8."))]
    if kind := next((kind for start, kind in BINARY.items() if data.startswith(start)), None):
        return [Finding("error", source, say("is no text but {kind}. Save what is written in it as text.", kind=kind))]
    findings = _encoding(data, source)
    if data.startswith(BYTE_ORDER_MARK):
        findings.append(
            Finding("note", source, say("begins with a byte order mark; it is not taken as part of the text."))
        )
        data = data[len(BYTE_ORDER_MARK) :]
    if (first := data.find(b"\0")) >= 0:
        findings.append(Finding("error", _line(source, data.count(b"\n", 0, first) + 1), say(
            "holds {count} zero bytes; it is not a text file. Take them away, or give another file.", count=data.count(b"\0"))))  # fmt: skip
    whole = not any(finding.level == "error" for finding in findings)
    text = data.decode("utf-8", "replace")
    findings += _length(text, source, settings)
    findings += [*(_odd_characters(text, source) if whole else ()), *_line_ends(text, source)]
    if any(finding.level == "error" for finding in findings):
        return findings
    findings += _known_already(text, source, settings)
    return [*findings, *_too_short_a_part(text, source, settings), Finding("note", source, say(
        "{characters:,} characters, {kinds} different ones, {lines:,} lines.", characters=len(text), kinds=len(set(text)),
        lines=text.count("\n") + 1))]  # fmt: skip


def _line(source: str, line: int) -> str:
    return say("{path}: line {line}", path=source, line=line)


def _odd_characters(text: str, source: str) -> list[Finding]:
    """Report what nobody writes: signs of a wrong decoding, control characters, marks of another kind of file."""
    findings = []
    for pattern, least in ((LOST, 1), (MOJIBAKE, SOME), (MARK, 1), (CONTROL, 1)):
        count, first = sum(1 for _ in pattern.finditer(text)), pattern.search(text)
        if first and count >= least:
            line = text.count("\n", 0, first.start()) + 1
            findings.append(Finding("warning", _line(source, line), _oddity(pattern, count, first[0])))
    start = text.lstrip()[:200].lower()
    if kind := next((kind for beginning, kind in MARKED_UP.items() if start.startswith(beginning)), None):
        findings.append(Finding("warning", source, say("is {kind}: its marks would be learned too. Save the plain text.",
                                                       kind=kind)))  # fmt: skip
    if len(set(text)) < FEWEST:
        findings.append(Finding("error", source, say("holds {count} different characters only; there is nothing to learn. Give another text.",
                                                     count=len(set(text)))))  # fmt: skip
    return findings


def _oddity(pattern: re.Pattern[str], count: int, value: str) -> str:
    if pattern is LOST:
        return say(
            "holds {count} times the sign for a character that was lost (\ufffd): it was broken before. Get the original.",
            count=count,
        )
    if pattern is MOJIBAKE:
        return say("holds {count} places like '{value}': it was decoded wrongly before and then saved. Get the original.",
                   count=count, value=value)  # fmt: skip
    if pattern is MARK:
        return say("holds {count} byte order marks inside the text, as where files were put together. Take them away.",
                   count=count)  # fmt: skip
    return say(
        "holds {count} control characters (here U+{value}). Take them away.", count=count, value=f"{ord(value):04X}"
    )


def _line_ends(text: str, source: str) -> list[Finding]:
    windows = text.count("\r\n")
    unix, old = text.count("\n") - windows, text.count("\r") - windows
    ends = {"Windows": windows, "Unix": unix, "Mac OS 9": old}
    if not unix + windows + old:
        return [Finding("note", source, say("is one line."))]
    if old and not unix + windows:
        return [Finding("warning", source, say("has the line ends of old Macintoshes (CR), which nothing takes for line ends. "
                                               "Save it with line ends of today."))]  # fmt: skip
    if sum(count > 0 for count in ends.values()) < 2:
        return []
    rarest = min((name for name, count in ends.items() if count), key=lambda name: ends[name])
    place = re.search({"Windows": "\r\n", "Unix": "(?<!\r)\n", "Mac OS 9": "\r(?!\n)"}[rarest], text)
    line = text.count("\n", 0, place.start() if place else 0) + 1
    counts = ", ".join(f"{name} {count:,}" for name, count in ends.items() if count)
    return [Finding("warning", _line(source, line), say("mixes line ends: {counts}. Here is the first of the rare kind. Save it with one kind.",
                                                        counts=counts))]  # fmt: skip


def _known_already(text: str, source: str, settings: TextConfig) -> list[Finding]:
    """Report held-out parts that stand in the training part word for word: what was learned by heart would look understood."""
    bounds, findings = Text(settings)._bounds(len(text)), []
    train = text[: bounds["train"][1]]
    for name, (first, last) in bounds.items():
        length = min(PIECE, last - first)
        if name == "train" or length < PIECE // 2:
            continue
        starts = sorted({first + (last - first - length) * place // (PIECES - 1) for place in range(PIECES)})
        known = sum(text[start : start + length] in train for start in starts)
        if known >= len(starts) / 2:
            findings.append(Finding("warning", source, say(
                "about {share:.0%} of {part} stands in the training part too, word for word. Take repeated passages away.",
                share=known / len(starts), part=name)))  # fmt: skip
    return findings


def _too_short_a_part(text: str, source: str, settings: TextConfig) -> list[Finding]:
    """Report a held-out part in which nothing can be predicted; where one is short, read the text as training does."""
    if all(last - first > PIECE for first, last in Text(settings)._bounds(len(text)).values()):
        return []
    try:
        Text(settings).prepare()
    except SeodangError as error:
        return [Finding("error", source, str(error).removeprefix(f"{source}: "))]
    return []


def _encoding(data: bytes, source: str) -> list[Finding]:
    """Return an error for each line that is not UTF-8."""
    findings, bad, offset = [], [], 0
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad.append(number)
            if len(bad) <= NAMED:
                where = say("{path}: line {line}", path=source, line=number)
                findings.append(Finding("error", where, say("byte {byte} of the file is not UTF-8 ({value}).", byte=offset + error.start,
                                                            value=f"0x{line[error.start]:02x}")))  # fmt: skip
        offset += len(line) + 1
    if len(bad) > NAMED:
        findings.append(Finding("error", source, say("{count} more lines are not UTF-8: {lines}", count=len(bad) - NAMED,
                                                     lines=listed(bad[NAMED:]))))  # fmt: skip
    if bad:
        findings.append(
            Finding("note", source, say("To save it as UTF-8: iconv -f CP949 -t UTF-8 (Korean Windows) or -f LATIN1."))
        )
    return findings


def _length(text: str, source: str, settings: TextConfig) -> list[Finding]:
    training = int(len(text) * (1 - settings.valid - settings.test))
    if training <= settings.context and settings.tokenizer != "bpe":
        return [Finding("error", source, say(
            "has {count} characters to train on, fewer than one window (data.context={context}). Give more text or a smaller "
            "data.context.", count=training, context=settings.context))]  # fmt: skip
    if len(text) < SHORT:
        return [
            Finding(
                "warning",
                source,
                say("has {count:,} characters only; a model will learn it by heart. Give more text.", count=len(text)),
            )
        ]
    return []
