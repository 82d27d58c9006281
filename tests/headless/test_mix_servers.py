"""`llterm mix` with a model on a real server: recorded, replayed without it, and gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.headless.job import ProgressLine, absences
from tests.backends.remote.process import Process
from tests.program import run


@pytest.mark.server
def test_what_a_server_said_is_replayed_without_it(tmp_path: Path, process: Process) -> None:
    toml, tape = tmp_path / "near.toml", tmp_path / "near.cassette"
    toml.write_text(f'[models.near]\nbase_url = "{process.address}"\n')
    asked = ("mix", "-m", "fable", "-m", "near", "--prompt", "The king had three", "--tokens", "6",
             "--format", "json")  # fmt: skip
    told = run(tmp_path, *asked, "--config", toml, "--record", tape)
    assert told.code == 0, told.err
    process.kill()
    gone = run(tmp_path, *asked, "--config", toml)
    assert gone.code == 3
    assert "No connection" in gone.err
    again = run(tmp_path, *asked, "--replay", tape)
    assert again.code == 0, again.err
    first, second = json.loads(told.out), json.loads(again.out)
    assert second["tokens"] == first["tokens"]
    assert len(second["tokens"]) == 6


def test_a_server_that_is_away_is_told_once_and_that_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = absences(ProgressLine())
    tell("")
    for line in ("Connection refused; asking again for 30 s: http://a",) * 3:
        tell(line)
    tell("No route to host; asking again for 30 s: http://b")
    tell("")
    tell("")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Connection refused; asking again for 30 s: http://a",
        "No route to host; asking again for 30 s: http://b",
        "http://a, http://b answered again",
    ]
