"""Where things are kept."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from llterm import logbook, paths
from llterm.errors import UsageError

NOW = datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.delenv(f"LLTERM_{kind}_DIR", raising=False)
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    return tmp_path


def test_folders_are_made_on_use_only(home: Path) -> None:
    asked = (paths.config_dir(), paths.data_dir(), paths.state_dir(), paths.looms_dir())
    assert asked[0].name == "llterm"
    assert not any(home.iterdir())
    assert paths.new_loom(NOW).parent == paths.looms_dir()
    assert paths.looms_dir().is_dir()


def test_nameless_looms_never_meet(home: Path) -> None:
    first = paths.new_loom(NOW)
    assert first.name == "2026-01-02 03.04.05.loom"
    first.touch()
    assert paths.new_loom(NOW).name == "2026-01-02 03.04.05 2.loom"


def test_own_folders_by_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(home / "elsewhere"))
    assert paths.looms_dir() == home / "elsewhere" / "looms"


def test_a_folder_that_cannot_be_made_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("LLTERM_DATA_DIR", str(home / "file"))
    with pytest.raises(UsageError) as caught:
        paths.new_loom(NOW)
    assert "LLTERM_DATA_DIR" in caught.value.hint


def test_a_long_log_begins_anew() -> None:
    log = paths.log_file()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"x" * (logbook.MOST + 1))
    os.close(logbook.open_log(log))
    assert not log.read_bytes()
    assert log.with_suffix(".log.1").exists()
    assert log.stat().st_mode & 0o777 == 0o600
