"""Trials of models' files: each is opened once in another process before it is in this one.

llama.cpp ends a program where a file breaks a promise that it relies on; in a process of its own
that is harmless. What was found is remembered by path, size and time of change, so that later
starts pay nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path as FilePath

from llterm import paths
from llterm.backends.llamacpp.gguf_header import check_gguf, check_vocabulary
from llterm.backends.llamacpp.llama_backend import open_llama
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.backends.llamacpp.trial_process import begin_trial, mark_of, run_trial
from llterm.core.query import Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import LltermError, ModelError
from llterm.event_loop import run_coroutine
from llterm.json_file import keep_json, read_json

_MOST_BYTES = 1 << 20
REFUSED = 3
"""How the child ends where a file is refused in good order; with 0 where all went well."""
MOST = 256
"""Files that are remembered."""
_BUNDLED = FilePath(__file__).parents[2] / "models"


async def try_file(path: FilePath) -> None:
    """Raise ModelError where llama.cpp would end the program with this file.

    A file that it refuses in good order passes: opening it says why. Cancelling ends the trial.
    """
    if path.parent == _BUNDLED:
        return
    try:
        mark = mark_of(path)
    except OSError:
        return  # Opening it says why.
    if mark in remembered():
        return
    await asyncio.to_thread(check_gguf, path)
    await asyncio.to_thread(check_vocabulary, path)
    end = await run_trial(__name__, str(mark[0]))
    if end.code == 0:
        remember(mark)
    elif end.code != REFUSED:
        raise ModelError(
            f"{path.name} cannot be opened",
            f"A trial of it in another process ended {end.told}.",
            "The file may be damaged or badly converted: look for another one of this model.",
        )


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
    """The child: try the file that is the one argument."""
    begin_trial()
    try:
        run_coroutine(_try(FilePath(sys.argv[1])))
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
