"""What was seen accepted is there after a kill at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.app_kills import kill_rounds


@pytest.mark.pty
def test_nothing_seen_accepted_is_lost_to_kills(tmp_path: Path) -> None:
    assert kill_rounds(tmp_path, rounds=10, seed=7) > 3
