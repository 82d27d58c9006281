"""A file of another program's, with a stranger's text in every part: no key that shows or edits
one of them sends it to the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.program_home import Start
from tests.helpers.stranger_walk import look_everywhere

pytestmark = pytest.mark.pty


def test_a_strangers_text_never_reaches_the_terminal(start: Start, home: Path) -> None:
    """pyloom's, which has most parts; those of the others in `tests/soak/test_hostile_input.py`."""
    look_everywhere(start, home, "pyloom", rows=1)
