"""Where things are kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from llterm import paths
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
    log.write_bytes(b"x" * (paths.MOST_LOG + 1))
    assert not paths.log_file().stat().st_size
    assert log.with_suffix(".log.1").exists()
