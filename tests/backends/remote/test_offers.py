"""What configured servers offer: all asked at once, and none waited for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.backends.remote import offers
from llterm.backends.remote.offers import ask_servers
from llterm.config import Config, ModelConfig
from llterm.config.server import ServerSettings
from tests.backends.remote.server import FaultyServer, hang, reply, status


def configured(**urls: str) -> Config:
    servers = {name: ModelConfig(server=ServerSettings((url,))) for name, url in urls.items()}
    return Config(models={**servers, "file": ModelConfig(path=Path("x.gguf"))})


async def test_models_are_told_and_gaps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PATIENCE", 0.5)
    names = [{"id": f"m{number}"} for number in range(5)]
    async with (
        FaultyServer(reply({"data": names})) as many,
        FaultyServer(status(404)) as silent,
        FaultyServer(status(401)) as locked,
        FaultyServer(hang()) as hanging,
    ):
        told = await ask_servers(
            configured(many=many.url, silent=silent.url, locked=locked.url, hanging=hanging.url)
        )
        assert told == {
            "many": "has m0, m1, m2 and 2 more",
            "silent": "reached; it lists no models",
            "locked": f"{locked.url} asks for a key",
            "hanging": "no answer in 0.5 s",
        }
        assert [len(one.requests) for one in (many, silent, locked, hanging)] == [1, 1, 1, 1]


async def test_no_program_is_run_for_a_list(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    settings = ServerSettings(("http://127.0.0.1:9",), key_command=("touch", str(mark)))
    told = await ask_servers(Config(models={"own": ModelConfig(server=settings)}))
    assert told["own"].startswith("not asked")
    assert not mark.exists()
