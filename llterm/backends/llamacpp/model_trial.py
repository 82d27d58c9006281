"""Trials of models' files: each is opened once in another process before it is in this one.

llama.cpp ends a program where a file breaks a promise that it relies on; in a process of its own
that is harmless. What was found is remembered by path, size and time of change, so that later
starts pay nothing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

from llterm import child_processes, paths
from llterm.backends.llamacpp.gguf_header import check_gguf, check_vocabulary
from llterm.backends.llamacpp.llama_backend import open_llama
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.core.query import Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import LltermError, ModelError
from llterm.json_file import keep_json, read_json

_MOST_BYTES = 1 << 20
REFUSED = 3
"""How the child ends where a file is refused in good order; with 0 where all went well."""
SECONDS = 900
"""Processor time of a trial: far more than any sound file takes."""
MOST = 256
"""Files that are remembered."""
_BUNDLED = FilePath(__file__).parents[2] / "models"
_ASSERTED = re.compile(r"GGML_ASSERT\(.*\) failed.*")
_PACKAGE = "llama-cpp-python"


async def try_file(path: FilePath) -> None:
    """Raise ModelError where llama.cpp would end the program with this file.

    A file that it refuses in good order passes: opening it says why. Cancelling ends the trial.
    """
    if path.parent == _BUNDLED:
        return
    try:
        mark = _mark(path)
    except OSError:
        return  # Opening it says why.
    if mark in remembered():
        return
    await asyncio.to_thread(check_gguf, path)
    await asyncio.to_thread(check_vocabulary, path)
    with tempfile.TemporaryFile() as said:
        code = await _tried(str(mark[0]), said)
        said.seek(0)
        words = said.read().decode("utf-8", "replace").splitlines()
    if code == 0:
        remember(mark)
    elif code != REFUSED:
        raise ModelError(
            f"{path.name} cannot be opened",
            f"A trial of it in another process ended {_ending(code, words)}.",
            "The file may be damaged or badly converted: look for another one of this model.",
        )


async def _tried(path: str, said: Any) -> int:
    process = await asyncio.create_subprocess_exec(
        *child_processes.command(__name__, path),
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


def _mark(path: FilePath) -> list[object]:
    """What tells this very file, for this very llama.cpp."""
    facts = path.stat()
    version = importlib.metadata.version(_PACKAGE)
    return [str(path.absolute()), facts.st_size, facts.st_mtime_ns, version]


def remembered() -> list[object]:
    """The marks of files that went through a trial, the last one last."""
    try:
        marks = read_json(paths.tried_file(), _MOST_BYTES)
    except (OSError, ValueError):
        return []
    return marks if isinstance(marks, list) else []


def remember(mark: list[object]) -> None:
    """Put it last; the oldest are forgotten. Where that fails, it is tried again next time."""
    keep_json(paths.tried_file(), [*remembered(), mark][-MOST:])


def main() -> None:
    """The child: try the file that is the one argument. Its last words go to stderr."""
    child_processes.end_with_the_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        asyncio.run(_try(FilePath(sys.argv[1])))
    except LltermError:
        sys.exit(REFUSED)


async def _try(file: FilePath) -> None:
    """Open it as the app would, and ask it one thing."""
    backend = await open_llama(file, LlamaSettings(context=64, threads=1))
    vocabulary = backend.vocabulary
    tokens = (vocabulary.prefix + vocabulary.encode("One dæ, 1.\n".encode()))[:32] or (0,)
    async for answer in backend.ask([Query(Path(Anchor(tokens)))]):
        if isinstance(answer, Failed):
            raise answer.error
    await backend.close()
