"""Everything that is wrong or odd in a text file."""

from __future__ import annotations

from pathlib import Path

from seodang.core.language import say
from seodang.data.finding import Finding, listed, shown
from seodang.data.table_reading import read_bytes
from seodang.data.text import TextConfig

SHORT = 10_000
"""Characters below which a text is learned by heart rather than learned from."""
NAMED = 20


def check_text(path: Path, settings: TextConfig) -> list[Finding]:
    """Return findings about encoding, length and odd characters.

    Raises: DataError if the file cannot be read.
    """
    data, source = read_bytes(path), shown(path)
    if not data.strip():
        return [Finding("error", source, say("is empty."))]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [Finding("error", source, say("begins like UTF-16 text. Save it as UTF-8."))]
    findings = _encoding(data, source)
    if data.startswith(b"\xef\xbb\xbf"):
        findings.append(
            Finding("note", source, say("begins with a byte order mark, which becomes a character of the text."))
        )
    if (count := data.count(b"\0")) > 0:
        findings.append(Finding("error", source, say("holds {count} zero bytes; it is not a text file.", count=count)))
    text = data.decode("utf-8", "replace")
    findings += _length(text, source, settings)
    if (count := text.count("\ufffd")) and not any(finding.level == "error" for finding in findings):
        findings.append(Finding("warning", source, say(
            "holds {count} times the sign for a character that was lost (\ufffd): it was broken before.", count=count)))  # fmt: skip
    windows = text.count("\r\n")
    if windows and windows != text.count("\n"):
        findings.append(Finding("warning", source, say("mixes line ends of Windows ({windows}) and Unix ({unix}).",
                                                       windows=windows, unix=text.count("\n") - windows)))  # fmt: skip
    if not any(finding.level == "error" for finding in findings):
        findings.append(Finding("note", source, say("{characters:,} characters, {kinds} different ones, {lines:,} lines.",
                                                    characters=len(text), kinds=len(set(text)),
                                                    lines=text.count("\n") + 1)))  # fmt: skip
    return findings


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
                say("has {count:,} characters only; a model will learn it by heart.", count=len(text)),
            )
        ]
    return []
