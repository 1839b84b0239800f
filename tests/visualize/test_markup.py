"""Nothing from outside becomes markup."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from seodang.visualize.markup import Markup, element, joined, safe


def test_text_and_attributes_are_escaped() -> None:
    found = element("text", "<b>&\"'", fill='"><script>', font_size=12)
    assert found == '<text fill="&quot;&gt;&lt;script&gt;" font-size="12">&lt;b&gt;&amp;&quot;&#x27;</text>'


def test_markup_stays_and_none_is_nothing() -> None:
    assert element("g", Markup("<path/>"), None, "a<", width=None, class_="x") == '<g class="x"><path/>a&lt;</g>'
    assert joined(None, Markup("<br/>"), "&") == "<br/>&amp;"
    assert element("line", x1=1.23456, x2=3.0) == '<line x1="1.23" x2="3"/>'


@given(st.text())
def test_every_text_can_be_read_back_as_xml(text: str) -> None:
    root = ElementTree.fromstring(element("t", text, a=text))
    wanted = "".join(letter if letter in safe(letter) or letter in "<>&\"'" else "\ufffd" for letter in text)
    assert (root.text or "").replace("\r\n", "\n") == wanted.replace("\r\n", "\n").replace("\r", "\n")
