"""Models on disk and open backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.bundled_model import BUNDLED
from tests.helpers.tiny_models import ARCHITECTURES


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model of each architecture, and the bundled one."""
    folder = tmp_path_factory.mktemp("models")
    made = {name: make(folder / f"{name}.gguf") for name, make in ARCHITECTURES.items()}
    return {**made, "bundled": BUNDLED}
