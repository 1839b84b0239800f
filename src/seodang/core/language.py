"""What a person reads, in Korean or English: one function, `say`, over a standard gettext catalogue.

`SEODANG_LANG` chooses (`ko` or `en`); without it the locale of the shell does. Korean particles depend on
the sound before them, which for a filled-in value is known only now: the catalogue writes them as
``을(를)``, ``(으)로``…, and where the value ends in Hangul or a digit the right one is chosen.
"""

from __future__ import annotations

import gettext
import os
import re
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
    spoken = language()
    text = _catalogue(spoken).gettext(message) if message else message
    if not values:
        return text
    return with_particles(text.format(**values)) if spoken == "ko" else text.format(**values)


def translated(text: str) -> str:
    """Return a sentence written elsewhere (a recipe's `about`, a docstring, a field's description) in the reader's language.

    Line breaks do not count. A sentence the catalogue does not know, such as one of a plug-in, stays as it is.
    """
    return say(" ".join(text.split()))


PARTICLE = re.compile(
    r"([가-힣0-9])(['\"’”)\]}]*)(은\(는\)|이\(가\)|을\(를\)|과\(와\)|\(으\)로|\(이\)라|\(이\)나|\(이\)며|\(이\)고)"
)
FORMS = {
    "은(는)": ("은", "는"),
    "이(가)": ("이", "가"),
    "을(를)": ("을", "를"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)라": ("이라", "라"),
    "(이)나": ("이나", "나"),
    "(이)며": ("이며", "며"),
    "(이)고": ("이고", "고"),
}
FINALS_OF_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
"""Final consonants of 영, 일, 삼, 육, 칠, 팔; the other digits end in a vowel."""


def with_particles(text: str) -> str:
    """Choose between the two forms of a particle after Hangul or a digit; after other letters both stay."""
    return PARTICLE.sub(_choose, text)


def _choose(found: re.Match[str]) -> str:
    letter, closing, particle = found.groups()
    final = (ord(letter) - 0xAC00) % 28 if letter >= "가" else FINALS_OF_DIGITS.get(letter, 0)
    after_consonant, after_vowel = FORMS[particle]
    if particle == "(으)로" and final in (8, "ㄹ"):  # 로 follows ㄹ as it does a vowel: 서울로
        final = 0
    return letter + closing + (after_consonant if final else after_vowel)
