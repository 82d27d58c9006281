"""A reply in the parts of a message: the same however its text is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.reasoning_markers import ReasoningMarkers
from llterm.serve.chat_deltas import ChatDeltas

MARKERS = ReasoningMarkers("<think>", "</think>")
PIECES = st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", " ", "\n", "a", "é"])


def told(
    pieces: Sequence[str], *, thinking: bool, markers: ReasoningMarkers | None = MARKERS
) -> Mapping[str, str]:
    """All that is told of a text that comes in these pieces, by field."""
    deltas = ChatDeltas(markers, thinking=thinking)
    parts = [*map(deltas.add, pieces), deltas.rest()]
    assert all(text for part in parts for text in part.values())
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: "".join(part.get(name, "") for part in parts) for name in names}


@given(st.lists(PIECES, max_size=12), st.booleans(), st.data())
def test_a_reply_is_the_same_however_it_is_cut(
    pieces: list[str], thinking: bool, data: st.DataObject
) -> None:
    text = "".join(pieces)
    whole = told([text], thinking=thinking)
    assert told(list(text), thinking=thinking) == whole
    at = data.draw(st.integers(0, len(text)))
    assert told([text[:at], text[at:]], thinking=thinking) == whole
    assert whole.get("reasoning") == whole.get("reasoning_content")


@pytest.mark.parametrize(
    ("text", "thinking", "thoughts", "content"),
    [
        ("<think>\nHm. \n</think>\n\nYes.", False, "Hm.", "Yes."),
        (" <think>Hm.</think>Yes.", False, "Hm.", "Yes."),
        ("\nHm.\n</think>\n\nYes.", True, "Hm.", "Yes."),
        ("Hm. And", True, "Hm. And", None),
        ("<think></think>Yes.", False, None, "Yes."),
        ("I <think> so</think>.", False, None, "I <think> so</think>."),
        ("<think>a</think>b<think>c</think>", False, "a", "b<think>c</think>"),
        (" Yes. ", False, None, " Yes. "),
        ("<thin", False, None, "<thin"),
        ("a </thin", True, "a </thin", None),
    ],
)
def test_thoughts_stand_at_the_beginning_alone(
    text: str, thinking: bool, thoughts: str | None, content: str | None
) -> None:
    whole = told([text], thinking=thinking)
    assert (whole.get("reasoning_content"), whole.get("content")) == (thoughts, content)


@given(st.lists(PIECES, max_size=12))
def test_without_markers_everything_is_said(pieces: list[str]) -> None:
    assert told(pieces, thinking=False, markers=None).get("content", "") == "".join(pieces)
