"""A key that the whole test run works with, and that must be found nowhere afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

KEY = "sk-planted-4b0fe7c1d2/95a3-never-written"
VARIABLE = "PLANTED_TEST_KEY"
"""Set to the key during every test run."""
SOURCE = "some.key"
"""Files of this name are where tests keep it on purpose."""


def found_in(folder: Path) -> Iterator[Path]:
    """Files under a folder that hold the key, in their name, or as JSON writes it."""
    forms = [KEY.encode(), KEY.replace("/", "\\/").encode(), KEY.partition("/")[0].encode()]
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.name == SOURCE:
            continue
        data = path.read_bytes() + os.fsencode(path)
        if any(form in data for form in forms):
            yield path
