"""A home of its own for every program that is started."""

from __future__ import annotations

from tests.helpers.program_home import home, start

__all__ = ["home", "start"]
