"""Bursts of keys in the real app: every byte of one in a single write to its terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.session.document import Document
from tests.helpers.bursts import pasted, written
from tests.helpers.program_home import Start

pytestmark = pytest.mark.pty

PROMPT = "The little fox lived at the edge of"


def test_keys_of_one_write_act_in_the_order_pressed(start: Start, home: Path) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(written("f7", *"WORD", "ctrl+j"))
    terminal.send(written("ctrl+f", *"fox", "escape", *"red ", "ctrl+end"))
    terminal.send(pasted(" the\nforest") + written(*" with", "alt+l", "o", *"hello", "ctrl+j"))
    terminal.wait_for("hello")
    terminal.send(written("escape", *" quick", "ctrl+j"))
    terminal.wait_for(lambda text: "quick" in text and "⇥ accept" in text)
    terminal.send(written("tab", "ctrl+q"))
    assert terminal.wait() == 0
    document = Document.open(home / "fox.loom")
    marks = list(document.loom.marks.values())
    text, prefix = document.text, document.prefix
    document.close()
    assert prefix == "WORD"
    assert [one.note for one in marks] == ["hello"]
    woven = "The little red fox lived at the edge of the\nforest with quick"
    assert text.startswith(woven)
    assert len(text) > len(woven)
