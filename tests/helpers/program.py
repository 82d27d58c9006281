"""Runs the real program without a terminal, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FAULTS = ("Traceback", "fault of llterm's own", "fault of its own")
"""What the interpreter says of a fault, a command, and the app."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def faulty(self) -> bool:
        """Whether llterm failed where it should not have, however that was told."""
        return any(one in self.err for one in FAULTS)


def folders(home: Path) -> dict[str, str]:
    """The variables that keep a program in this folder."""
    return {
        "HOME": str(home),
        **{f"LLTERM_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE")},
    }


def run(home: Path, *arguments: str | Path, stdin: bytes = b"", **environment: str) -> Ran:
    """`llterm …` with its exit code and both outputs; nothing of this machine's settings reaches
    it."""
    process = start(home, *arguments, **environment)
    out, err = process.communicate(stdin)
    return Ran(process.returncode, out.decode(), err.decode())


def start(home: Path, *arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
    """`llterm …` under way, with pipes to it and from it."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("LLTERM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "llterm", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env={**outside, **folders(home), **environment},
    )
