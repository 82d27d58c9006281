"""`llterm doctor URL`: what a server can do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.server import server
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.terminal import llterm

pytestmark = pytest.mark.server


def test_a_server_is_told_row_by_row(tmp_path: Path) -> None:
    with server(BUNDLED, 1) as (host, port):
        url = f"http://{host}:{port}"
        config = tmp_path / "llterm.toml"
        config.write_text(f'[models.near]\nbase_url = "{url}"\n')
        by_name = [*llterm("doctor", "-m", "near", "--config", str(config))]
        for command in ([*llterm("doctor", url)], by_name):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows = dict(line.split("  ", 1) for line in done.stdout.splitlines())
            told = {label.strip(): value.strip() for label, value in rows.items()}
            assert told["dialect"] == "llama"
            assert told["token ids"] == "in and out"
            assert told["vocabulary"] == "all 4,096 tokens"
            assert told["answers"].startswith("yes, with 64 candidates")
            assert told["cache is used"].startswith("yes")


def test_a_server_that_is_not_there_is_no_fault_of_the_installation() -> None:
    done = subprocess.run([*llterm("doctor", "http://127.0.0.1:9")], capture_output=True, text=True)
    assert done.returncode == 3
    assert "No connection to http://127.0.0.1:9" in done.stderr
