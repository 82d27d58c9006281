"""The child process that tries a model: opens it as the app would, and asks it one thing.

llama.cpp ends a program where a file breaks a promise that it relies on; in a process of its own
that is harmless. Its last words go to stderr. Ends with 0 where all went well, and with 3 where the
file is refused in good order.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from pathlib import Path as FilePath

from llterm.backends.llamacpp.llama_backend import open_llama
from llterm.backends.llamacpp.llama_settings import LlamaSettings
from llterm.child_processes import end_with_the_parent
from llterm.core.query import Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import LltermError

REFUSED = 3
SECONDS = 900
"""Processor time: far more than any sound file takes."""


def main() -> None:
    """Try the file that is the one argument."""
    end_with_the_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        asyncio.run(_try(FilePath(sys.argv[1])))
    except LltermError:
        sys.exit(REFUSED)


async def _try(file: FilePath) -> None:
    backend = await open_llama(file, LlamaSettings(context=64, threads=1))
    vocabulary = backend.vocabulary
    tokens = (vocabulary.prefix + vocabulary.encode("One dæ, 1.\n".encode()))[:32] or (0,)
    async for answer in backend.ask([Query(Path(Anchor(tokens)))]):
        if isinstance(answer, Failed):
            raise answer.error
    await backend.close()
