"""Files of each other program, with a stranger's text in every part: none of it is obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.foreign_files import ALL
from tests.helpers.program_home import Start
from tests.helpers.stranger_walk import look_everywhere

pytestmark = [pytest.mark.pty, pytest.mark.soak]


@pytest.mark.parametrize("format", sorted(set(ALL) - {"pyloom"}))
def test_a_strangers_text_never_reaches_the_terminal(start: Start, home: Path, format: str) -> None:
    look_everywhere(start, home, format, rows=3)
