"""Files of each other program, with a stranger's text in every part: none of it is obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.shapes import ALL
from tests.smoke.conftest import Start
from tests.smoke.test_strangers import look_everywhere

pytestmark = [pytest.mark.pty, pytest.mark.soak]


@pytest.mark.parametrize("format", sorted(set(ALL) - {"pyloom"}))
def test_a_strangers_text_never_reaches_the_terminal(start: Start, home: Path, format: str) -> None:
    look_everywhere(start, home, format, rows=3)
