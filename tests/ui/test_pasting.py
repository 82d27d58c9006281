"""What a terminal sends around and inside a paste, in reads of any length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual import events

from llterm.ui.job_driver import PasteParser

pasted = st.text(st.sampled_from("ab\x1b[201;m\x11\r\n~漢é"), max_size=30).filter(
    lambda text: "\x1b[201~" not in text
)


def read(reads: list[str]) -> list[str]:
    """The keys, and the pastes in quotes."""
    parser = PasteParser()
    sent = [event for data in [*filter(None, reads), ""] for event in parser.feed(data)]
    return [
        event.key if isinstance(event, events.Key) else f'"{event.text}"'
        for event in sent
        if isinstance(event, events.Key | events.Paste)
    ]


@given(pasted, pasted, st.lists(st.integers(1, 9), max_size=20))
def test_a_paste_is_one_text_however_it_is_read(first: str, second: str, cuts: list[int]) -> None:
    sent = f"x\x1b[200~{first}\x1b[201~y\x1b[A\x1b[200~{second}\x1b[201~\x07"
    reads: list[str] = []
    for size in cuts:
        reads, sent = [*reads, sent[:size]], sent[size:]
    reads = [*reads, sent]
    whole = [f'"{text}"'.replace("\x1b", "␛") for text in (first, second)]
    assert read(reads) == ["x", whole[0], "y", "up", whole[1], "ctrl+g"]


def test_keys_are_as_ever() -> None:
    assert read(["\x1b[", "A", "\x0a", "\x1b[20", "~"]) == ["up", "ctrl+j", "f9"]
