"""What is typed or handed over is obeyed nowhere: hostile texts, odd paths, others' files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import inert_output, odd_paths
from tests.helpers.command_lines import furnish, least, text_parameters
from tests.helpers.foreign_files import ALL
from tests.helpers.program_home import Start
from tests.helpers.stranger_walk import look_everywhere

pytestmark = pytest.mark.soak


def test_all_that_is_typed_comes_back_inert(tmp_path: Path) -> None:
    furnish(tmp_path)
    hostile = inert_output.HOSTILE
    lines = [least(command, **{name: hostile}) for command, name in text_parameters()]
    inert_output.walk(tmp_path, lines)


@pytest.mark.parametrize("command", odd_paths.WALKED)
def test_all_odd_paths(tmp_path: Path, command: str) -> None:
    odd_paths.walk(tmp_path, [command], odd_paths.ODD, odd_paths.SUFFIXES)


@pytest.mark.pty
@pytest.mark.parametrize("format", sorted(set(ALL) - {"pyloom"}))
def test_a_strangers_text_never_reaches_the_terminal(start: Start, home: Path, format: str) -> None:
    look_everywhere(start, home, format, rows=3)
