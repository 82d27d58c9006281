"""Trials of models' files: each is opened once in another process before it is in this one.

What was found is remembered by path, size and time of change, so that later starts pay nothing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llterm import child_processes, paths
from llterm.backends.llamacpp.gguf_header import check_gguf, check_vocabulary
from llterm.backends.llamacpp.trial_child import REFUSED
from llterm.errors import ModelError
from llterm.json_file import keep_json, read_json

_MOST_BYTES = 1 << 20
MOST = 256
"""Files that are remembered."""
_BUNDLED = Path(__file__).parents[2] / "models"
_ASSERTED = re.compile(r"GGML_ASSERT\(.*\) failed.*")
_PACKAGE = "llama-cpp-python"


async def try_file(path: Path) -> None:
    """Raise ModelError where llama.cpp would end the program with this file.

    A file that it refuses in good order passes: opening it says why. Cancelling ends the trial.
    """
    if path.parent == _BUNDLED:
        return
    try:
        mark = _mark(path)
    except OSError:
        return  # Opening it says why.
    if mark in _remembered():
        return
    await asyncio.to_thread(check_gguf, path)
    await asyncio.to_thread(check_vocabulary, path)
    with tempfile.TemporaryFile() as said:
        code = await _tried(str(mark[0]), said)
        said.seek(0)
        words = said.read().decode("utf-8", "replace").splitlines()
    if code == 0:
        _remember(mark)
    elif code != REFUSED:
        raise ModelError(
            f"{path.name} cannot be opened",
            f"A trial of it in another process ended {_ending(code, words)}.",
            "The file may be damaged or badly converted: look for another one of this model.",
        )


async def _tried(path: str, said: Any) -> int:
    process = await asyncio.create_subprocess_exec(
        *child_processes.command(f"{__package__}.trial_child", path),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        # ctrl+c comes to the parent alone, which ends the child.
        start_new_session=True,
    )
    try:
        return await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ending(code: int, words: Sequence[str]) -> str:
    """How it ended, in the words of llama.cpp's check where there are such."""
    text = [line.strip() for line in words if line.strip()]
    asserted = [found[0] for found in map(_ASSERTED.search, text) if found]
    how = f"with {signal.Signals(-code).name}" if code < 0 else "early"
    last = (asserted or text or [""])[-1][:200]
    return f"{how}; its last words: {last}" if last else how


def _mark(path: Path) -> list[object]:
    """What tells this very file, for this very llama.cpp."""
    facts = path.stat()
    version = importlib.metadata.version(_PACKAGE)
    return [str(path.absolute()), facts.st_size, facts.st_mtime_ns, version]


def _remembered() -> list[object]:
    try:
        marks = read_json(paths.tried_file(), _MOST_BYTES)
    except (OSError, ValueError):
        return []
    return marks if isinstance(marks, list) else []


def _remember(mark: list[object]) -> None:
    """Put it last; the oldest are forgotten. Where that fails, it is tried again next time."""
    keep_json(paths.tried_file(), [*_remembered(), mark][-MOST:])
