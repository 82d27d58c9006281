"""What went over the wire, told by the commands that ask a server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server import server
from llterm.backends.registry import open_model
from llterm.backends.remote.server_usage import server_of
from llterm.config import load_config
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.json_schema import faults, schema
from tests.helpers.terminal import llterm

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a real server, with prices."""
    with server(BUNDLED, 1) as (host, port):
        path = tmp_path_factory.mktemp("counter") / "llterm.toml"
        path.write_text(
            f'[models.near]\nbase_url = "http://{host}:{port}"\n'
            "price_prompt = 1000.0\nprice_answer = 2000.0\n"
        )
        yield path


def done(config: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    command = [*llterm(*typed, "--config", str(config), "--prompt", "The little fox")]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "typed",
    [
        ("suggest", "-m", "near", "--depth", "3"),
        ("sample", "-m", "near", "-n", "2", "--tokens", "3"),
        ("score", "-m", "near"),
        ("mix", "-m", "near", "-m", "fable", "--tokens", "3"),
    ],
)
def test_requests_tokens_and_cost_are_told(config: Path, typed: tuple[str, ...]) -> None:
    (summary,) = [
        line for line in done(config, *typed).stderr.splitlines() if line.startswith("near: ")
        and " requests" in line
    ]  # fmt: skip
    assert "tokens of prompts" in summary
    assert "by your prices" in summary


def test_the_json_of_suggest_has_it(config: Path) -> None:
    printed = json.loads(done(config, "suggest", "-m", "near", "--format", "json").stdout)
    root = schema("suggest")
    assert not faults(printed, root, root)
    (counted,) = printed["stats"]["servers"]
    assert counted["model"] == "near"
    assert counted["requests"] >= printed["stats"]["requests"] > 0
    cost = (1000 * counted["prompt_tokens"] + 2000 * counted["answer_tokens"]) / 1e6
    assert counted["cost"] == pytest.approx(cost)


async def test_a_typed_limit_of_requests_reaches_the_wire(config: Path) -> None:
    backend = await open_model("near", load_config(file=config), {"parallel": 7, "threads": 1})
    try:
        wire = server_of(backend)
        assert wire is not None
        assert wire.transport.parallel == 7
    finally:
        await backend.close()


def test_kernels_are_the_servers_own(config: Path) -> None:
    said = done(config, "suggest", "-m", "near", "--depth", "1", "--kernels", "fast").stderr
    assert said.count("--kernels does not apply to near") == 1
