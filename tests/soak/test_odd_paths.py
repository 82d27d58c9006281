"""Every odd kind of path in every parameter that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.odd_paths import ODD, SUFFIXES, WALKED, walk

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("command", WALKED)
def test_all_odd_paths(tmp_path: Path, command: str) -> None:
    walk(tmp_path, [command], ODD, SUFFIXES)
