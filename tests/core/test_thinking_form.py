"""What stands fast in an XML form, and what is open."""

from __future__ import annotations

import pytest

from llterm.core.thinking_form import FormRepeat, FormSlot, FormText, read_form


def test_texts_are_open_and_tags_stand_fast() -> None:
    form = read_form('\n<a b="fast">\n <c>{open}</c> words <d k="{open} x"/></a>\n')
    assert form.parts == (
        FormText('<a b="fast">\n <c>'), FormSlot(), FormText("</c>"), FormSlot(),
        FormText('<d k="'), FormSlot(quoted=True), FormText(' x">'), FormSlot(),
        FormText("</d></a>"),
    )  # fmt: skip
    assert (form.root, form.end) == ("a", "</a>")


def test_an_element_before_a_comment_may_repeat() -> None:
    form = read_form("<a>\n <b>1</b>\n <b>2</b>\n <!-- more --><c>3</c></a>")
    repeat = FormRepeat((FormText("<b>"), FormSlot(), FormText("</b>\n ")))
    assert form.parts == (
        FormText("<a>\n <b>"), FormSlot(), FormText("</b>\n "), repeat,
        FormText("<c>"), FormSlot(), FormText("</c></a>"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no element"),
        ("words", "syntax error"),
        ("<a/><b/>", "junk"),
        ("<a><b></a>", "mismatched"),
        ("<a><b><a>c</a></b></a>", "within itself"),
        ('<a xmlns="b"><c/></a>', "namespaces"),
        ('<?xml version="1.0"?><a/>', "declarations"),
        ("<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>", "declarations"),
        ("<r>" + "<a/>" * 300 + "</r>", "more than 256"),
        ("".join(f"<a{n}>" for n in range(40)) + "".join(f"</a{n}>" for n in range(39, -1, -1)),
         "deeper than 32"),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused_with_its_cause(text: str, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        read_form(text)
