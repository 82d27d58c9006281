"""What is shown of any bytes: inert, one stand-in for each unsafe thing, and the way back."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.display_text import (
    DisplayText,
    display_text,
    label_text,
    open_end,
    visible,
    whole_after,
)

PIECES = st.sampled_from(
    [b"a", b" ", b"\n", b"\t", b"\r\n", b"\x1b[31m", b"\x85", b"\xff", b"\xe2", b"\x80", b"\x94",
     b"\xf0\x9f", b"\xa7", b"\x91", "é".encode(), "日本".encode(), "👩‍🚀".encode(),
     "a\u0301".encode(), "\u202e".encode(), "\u2028".encode(), "\ue000".encode(),
     "\u0378".encode(), b"\xed\xa0\x80", b"\xc0\x80", b"\0"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map(b"".join)


def plain(data: bytes) -> list[bytes]:
    """The bytes of each code point shown: a slow second opinion, one decode a step."""
    parts = []
    while data:
        for size in range(1, 5):
            try:
                data[:size].decode()
            except UnicodeDecodeError:
                continue
            break
        else:
            size = 1
        parts.append(data[:size])
        data = data[size:]
    return parts


@settings(max_examples=300)
@given(TEXTS)
def test_one_code_point_for_each_character_or_broken_byte(data: bytes) -> None:
    display = DisplayText.of(data)
    characters = plain(data)
    assert len(display.text) == len(characters)
    size = 0
    for offset, one in enumerate(characters):
        assert display.byte_offset(offset) == size
        assert display.offset_of(size) == offset
        for inside in range(1, len(one)):
            assert display.offset_of(size + inside) == offset + 1
        size += len(one)
    assert display.byte_offset(len(characters)) == display.size == size


@settings(max_examples=400)
@given(TEXTS, TEXTS, st.floats(0, 1), st.floats(0, 0.5))
def test_a_changed_display_is_that_of_the_changed_bytes(
    data: bytes, put: bytes, where: float, share: float
) -> None:
    old = DisplayText.of(data)
    start = int(where * len(old.text))
    stop = min(start + int(share * len(old.text)), len(old.text))
    new = data[: old.byte_offset(start)] + put + data[old.byte_offset(stop) :]
    shown, low, high = old.replaced(start, stop, put, new)
    whole = DisplayText.of(new)
    assert shown.text == whole.text
    assert shown.size == len(new)
    for offset in range(len(whole.text) + 1):
        assert shown.byte_offset(offset) == whole.byte_offset(offset)
    longer = len(shown.text) - len(old.text)
    assert shown.text[:low] == old.text[:low]
    assert shown.text[high + longer :] == old.text[high:]


def test_no_code_point_can_command_or_hide() -> None:
    """All 1.1 million: nothing but line break, tab and joiners stays of what shows nothing."""
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))))
    shown = display_text(everything.encode())
    assert len(shown) == len(everything)
    left = {one for one in shown if unicodedata.category(one)[0] == "C" or one in "\u2028\u2029"}
    assert left == set("\n\t\u200c\u200d")
    label = visible(everything.encode())
    assert label.replace("\u200c", "").replace("\u200d", "").isprintable()


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b" the", "␣the"),
        (b"a  b ", "a␣␣b␣"),
        (b"  ", "␣␣"),
        (b"\n\n", "⏎⏎"),
        (b"\tx", "⇥x"),
        (b"\x1b[31m", "␛[31m"),
        (b"\x00\x7f", "␀␡"),
        (b"\xe2\x80", "⟨e2 80⟩"),
        (b" caf\xc3\n", "␣caf⟨c3⟩⏎"),
        (b"\xed\xa0\x80", "⟨ed a0 80⟩"),
        ("\u202eabc".encode(), "\ufffdabc"),
        ("\u200d".encode(), "\ufffd"),
        ("a\u200db".encode(), "a\ufffdb"),
        ("👩‍🚀".encode(), "👩‍🚀"),
        ("\u0301x".encode(), "◌\u0301x"),
        ("\u00a0x".encode(), "␣x"),
        ("\ufe0f".encode(), "\ufffd"),
        (b"[bold]x[/]", "[bold]x[/]"),
        (b"", ""),
    ],
)
def test_labels_show_what_is_there(data: bytes, label: str) -> None:
    assert visible(data) == label


@given(st.text(st.characters()))
def test_any_string_has_a_label(text: str) -> None:
    """Halves of UTF-16, as JSON holds them, and bytes of paths among them."""
    assert label_text(text) == visible(label_text(text).encode())
    assert label_text("a\ud83d\udcff") == "a�⟨ff⟩"


@pytest.mark.parametrize("character", ["é", "森", "🦊"])
def test_a_character_stands_whole_where_it_ends(character: str) -> None:
    data = character.encode()
    for size in range(1, len(data)):
        before, rest = b"ab" + data[:size], data[size:] + b" c"
        assert open_end(before) == data[:size]
        assert whole_after(before, rest) == data + b" c"
        assert whole_after(b"ab", rest) == rest
        assert whole_after(before, b"c" + rest) == b"c" + rest
        assert whole_after(before, rest[: len(data) - size - 1]) == rest[: len(data) - size - 1]
    assert open_end(b"ab" + data) == b""
    assert whole_after(data, data) == data


@settings(max_examples=300)
@given(TEXTS, TEXTS)
def test_what_stands_whole_is_one_character_of_both(before: bytes, data: bytes) -> None:
    whole = whole_after(before, data)
    assert whole.endswith(data)
    start = whole[: len(whole) - len(data)]
    assert before.endswith(start)
    if start:
        head = plain(whole)[0]
        assert len(head) > len(start)
        assert head.decode()


def test_a_character_in_two_tokens_is_seen_in_parts_and_then_whole() -> None:
    first = DisplayText.of(b"caf\xc3")
    assert first.text == "caf\ufffd"
    shown, _, _ = first.replaced(4, 4, b"\xa9!", b"caf\xc3\xa9!")
    assert shown.text == "café!"
