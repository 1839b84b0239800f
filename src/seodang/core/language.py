"""What a person reads, in Korean or English: one function, `say`, over a standard gettext catalogue.

`SEODANG_LANG` chooses (`ko` or `en`); without it the locale of the shell does.
"""

from __future__ import annotations

import gettext
import os
from functools import lru_cache
from pathlib import Path

CATALOGUES = Path(__file__).parent.parent / "locale"
LANGUAGES = ("en", "ko")


def language() -> str:
    """Return the language messages are in now: ``"en"`` or ``"ko"``."""
    for variable in ("SEODANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(name: str) -> gettext.NullTranslations:
    return gettext.translation("seodang", CATALOGUES, languages=[name], fallback=name == "en")


def say(message: str, /, **values: object) -> str:
    """Return `message` in the reader's language with `values` filled into its ``{placeholders}``."""
    text = _catalogue(language()).gettext(message) if message else message
    return text.format(**values) if values else text
