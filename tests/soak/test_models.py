"""Files as strangers write them: whatever is wrong with one is a titled error, never an abort."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.mutated_models import changed, changes, noisy
from tests.helpers.program import folders
from tests.helpers.soak_rounds import rounds

OPENING = """
import asyncio, sys
from llterm.backends.registry import open_model
from llterm.config import Config
from llterm.core.query import Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import LltermError

async def opened(path):
    backend = await open_model(path, Config(), {"context": 64, "threads": 1})
    vocabulary = backend.vocabulary
    tokens = (vocabulary.prefix + vocabulary.encode(b"A cat sat there."))[:32] or (0,)
    try:
        async for _ in backend.ask([Query(Path(Anchor(tokens)))]): pass
    finally:
        await backend.close()

for path in sys.argv[1:]:
    print(path, flush=True)
    try:
        asyncio.run(opened(path))
    except LltermError as error:
        assert error.title and error.hint, error
"""
ABREAST = 20
"""Files of one process."""


@pytest.mark.soak
def test_no_file_ends_the_program(tmp_path: Path) -> None:
    files = [changed(tmp_path / f"{n}.gguf", one) for n, (_, one) in enumerate(changes())]
    files += [noisy(tmp_path / f"noisy-{seed}.gguf", seed) for seed in range(rounds(40))]
    assert len(files) >= 100
    for first in range(0, len(files), ABREAST):
        done = subprocess.run(
            [sys.executable, "-c", OPENING, *map(str, files[first : first + ABREAST])],
            capture_output=True,
            text=True,
            env={**folders(tmp_path), "PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-2000:])
