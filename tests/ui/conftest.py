"""An app to drive in every test."""

from __future__ import annotations

from tests.helpers.driven_app import home, start

__all__ = ["home", "start"]
