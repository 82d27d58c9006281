"""The same homes and terminals as in the smoke tests."""

from __future__ import annotations

from tests.helpers.program_home import home, start

__all__ = ["home", "start"]
