"""What configured servers offer: all asked at once, and none waited for long."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llterm.backends.inventory import take_inventory
from llterm.backends.remote import server_connection
from llterm.backends.remote.server_connection import server_models
from llterm.config import Config
from llterm.config.server_settings import ServerSettings
from llterm.errors import UsageError
from llterm.reports.models_json import list_json
from tests.helpers.faulty_server import FaultyServer, hang, reply, status


def settings(**urls: str) -> dict[str, ServerSettings]:
    return {name: ServerSettings((url,)) for name, url in urls.items()}


async def test_models_are_told_and_gaps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connection, "LIST_PATIENCE", 0.5)
    names = [{"id": f"m{number}"} for number in range(5)]
    async with (
        FaultyServer(reply({"data": names})) as many,
        FaultyServer(status(404)) as silent,
        FaultyServer(status(401)) as locked,
        FaultyServer(hang()) as hanging,
    ):
        offers = await server_models(
            settings(many=many.url, silent=silent.url, locked=locked.url, hanging=hanging.url)
        )
        assert offers == {
            "many": "has m0, m1, m2 and 2 more",
            "silent": "reached; it lists no models",
            "locked": f"{locked.url} asks for a key",
            "hanging": "no answer in 0.5 s",
        }
        assert [len(one.requests) for one in (many, silent, locked, hanging)] == [1, 1, 1, 1]


async def test_no_program_is_run_for_a_list(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    own = ServerSettings(("http://127.0.0.1:9",), key_command=("touch", str(mark)))
    told = await server_models({"own": own})
    assert told["own"].startswith("not asked")
    assert not mark.exists()


async def test_bare_addresses_are_models_too() -> None:
    """Those that are named, and the one that is opened without -m."""
    async with (
        FaultyServer(reply({"data": [{"id": "some-70b"}]})) as first,
        FaultyServer(reply({"data": [{"id": "other-8b"}]})) as second,
    ):
        config = Config(model=first.url)
        entries = await asyncio.to_thread(take_inventory, config, [second.url, first.url])
        text = list_json(entries, [], config.model)
        rows = {one["name"]: one for one in json.loads(text)["models"]}
        assert rows[first.url]["offers"] == "has some-70b"
        assert rows[first.url]["default"]
        assert rows[second.url]["offers"] == "has other-8b"
    with pytest.raises(UsageError) as raised:
        take_inventory(Config(), ["http://me:secret@host"])
    assert "secret" not in str(raised.value)
