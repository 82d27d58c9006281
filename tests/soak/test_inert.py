"""Every parameter that takes what a person types."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command_lines import furnish, least, text_parameters
from tests.helpers.inert_output import HOSTILE, walk

pytestmark = pytest.mark.soak


def test_all_that_is_typed_comes_back_inert(tmp_path: Path) -> None:
    furnish(tmp_path)
    walk(tmp_path, [least(command, **{name: HOSTILE}) for command, name in text_parameters()])
