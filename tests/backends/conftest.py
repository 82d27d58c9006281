"""Models on disk and open backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.bundled_model import BUNDLED
from tests.helpers.fake_hub import Hub, serve_hub
from tests.helpers.program import folders
from tests.helpers.tiny_models import ARCHITECTURES


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model of each architecture, and the bundled one."""
    folder = tmp_path_factory.mktemp("models")
    made = {name: make(folder / f"{name}.gguf") for name, make in ARCHITECTURES.items()}
    return {**made, "bundled": BUNDLED}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, and a home of its own."""
    with serve_hub() as served:
        for name, value in {**served.environment, **folders(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        for name in ("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        yield served
