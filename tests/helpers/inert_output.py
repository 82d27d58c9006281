"""What a terminal would obey in the output of commands."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from tests.helpers.program import Ran
from tests.helpers.program_batch import Batch, run

HOSTILE = "x\x1b]52;c;aGk=\x07\x9b31m\u202e\udcff"
NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}


def obeyed(ran: Ran) -> set[str]:
    """Characters that a terminal would obey, in all that was printed."""
    return {
        one
        for one in (ran.out + ran.err).replace("\n", "").replace("\t", "")
        if unicodedata.category(one) in ("Cc", "Cf", "Cs")
    }


def walk(home: Path, lines: list[list[str]]) -> None:
    for line, ran in zip(lines, run(Batch(home, lines, environment=NOWHERE)), strict=True):
        assert not obeyed(ran), (line, ran)
        assert not ran.faulty, ran.err
