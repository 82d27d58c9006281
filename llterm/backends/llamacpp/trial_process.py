"""Trials in a process of their own: what llama.cpp ends there by ending the program is harmless."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llterm import child_processes

SECONDS = 900
"""Processor time of a trial: far more than any sound file takes."""
_ASSERTED = re.compile(r"GGML_ASSERT\(.*\) failed.*")
_PACKAGE = "llama-cpp-python"


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """How a trial ended, and what it wrote."""

    code: int
    """Its exit code; −N where signal N ended it."""
    output: str
    words: Sequence[str]
    """The lines of its standard error."""

    @property
    def killed(self) -> bool:
        """Whether somebody else ended it: the person, or a system without memory."""
        return self.code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)

    @property
    def told(self) -> str:
        """How it ended, in the words of llama.cpp's check where there are such."""
        text = [line.strip() for line in self.words if line.strip()]
        asserted = [match[0] for match in map(_ASSERTED.search, text) if match]
        how = f"with {signal.Signals(-self.code).name}" if self.code < 0 else "early"
        last = (asserted or text or [""])[-1][:200]
        return f"{how}; its last words: {last}" if last else how


async def run_trial(module: str, *arguments: str) -> TrialEnd:
    """Run `main` of a module of llterm's in another process. Cancelling ends it."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *child_processes.command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=said,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            # ctrl+c comes to the parent alone, which ends the child.
            start_new_session=True,
        )
        try:
            code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return TrialEnd(code, _text(output), _text(said).splitlines())


def begin_trial() -> None:
    """Bind this process, a trial's, to its parent and its limits. Its last words go to stderr."""
    child_processes.end_with_the_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    logging.basicConfig(level=logging.ERROR, format="%(message)s")


def mark_of(path: Path) -> list[object]:
    """What tells this very file, for this very llama.cpp. Raises OSError."""
    facts = path.stat()
    version = importlib.metadata.version(_PACKAGE)
    return [str(path.absolute()), facts.st_size, facts.st_mtime_ns, version]


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
