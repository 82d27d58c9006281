"""Choices made in the app live in a file of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm import paths, state
from llterm.config import load_config


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    return tmp_path


def test_what_is_kept_is_read_again() -> None:
    state.keep({"ui.theme": "paper"})
    config = load_config(environment={}, state=state.read_state().values)
    assert config.ui.theme == "paper"
    assert str(config.origins["ui.theme"]) == "state"


@pytest.mark.parametrize("broken", [b"[weave\n", b"\xff\xfe", b"x = "])
def test_a_broken_file_is_set_aside_and_said(broken: bytes) -> None:
    paths.made(paths.state_dir())
    paths.state_file().write_bytes(broken)
    found = state.read_state()
    assert not found.values
    assert "state.broken.toml" in found.notice
    assert (paths.state_dir() / "state.broken.toml").read_bytes() == broken
    assert not state.read_state().notice


def test_a_choice_that_cannot_be_kept_stops_nobody(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "state").write_text("a file where the folder should be")
    state.keep({"ui.theme": "paper"})
    assert "could not be" in caplog.text
