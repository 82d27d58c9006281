"""A home of its own for every program that is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.terminal import Terminal, llterm

Start = Callable[..., Terminal]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Start `llterm …` in a pseudo-terminal; ended after the test."""
    started: list[Terminal] = []

    def begin(
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        command: list[str] | None = None,
        **env: str,
    ) -> Terminal:
        folders = {
            f"XDG_{name}_HOME": str(home / name.lower()) for name in ("DATA", "CONFIG", "STATE")
        }
        terminal = Terminal(
            command or llterm(*arguments),
            columns=columns,
            rows=rows,
            env={"HOME": str(home), **folders, **env},
            cwd=home,
        )
        started.append(terminal)
        return terminal

    yield begin
    for terminal in started:
        terminal.close()
