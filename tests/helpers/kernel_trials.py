"""Trials of fast kernels that find what a test says."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from llterm import child_processes

KNOWN = {"repack": False, "flash": False, "tokens": 64, "mean": 0.001, "worst": 0.002}


def trials_end(monkeypatch: pytest.MonkeyPatch, program: str = "import os; os.abort()") -> None:
    """Whatever is tried from now on is this program."""
    inserted = program.replace("{", "{{").replace("}", "}}")
    monkeypatch.setattr(child_processes, "_PROGRAM", inserted)


def trials_find(monkeypatch: pytest.MonkeyPatch, trial: Mapping[str, object] = KNOWN) -> None:
    """Whatever is tried from now on finds this."""
    trials_end(monkeypatch, f"print({json.dumps(trial)!r})")
