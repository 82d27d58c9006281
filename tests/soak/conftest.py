"""The same homes and terminals as in the smoke tests."""

from __future__ import annotations

from tests.smoke.conftest import home, start

__all__ = ["home", "start"]
