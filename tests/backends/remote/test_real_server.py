"""The wire against a real llama.cpp server: its key, its errors, and its death in the middle."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llterm.backends.registry import BUNDLED, MODELS
from llterm.backends.remote.server_connection import open_transport
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import ServerSettings
from tests.helpers import planted_key

pytestmark = pytest.mark.server

SERVE = """
import os, sys, time
import xllamacpp as xlc
p = xlc.CommonParams()
p.model.path = sys.argv[1]
p.hostnames = ["127.0.0.1"]; p.port = int(sys.argv[2])
p.n_parallel = 2; p.n_ctx = 1024; p.ui = False; p.warmup = False
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.api_keys = [os.environ[sys.argv[3]]]
server = xlc.Server(p)
print(server.listening_address, flush=True)
while True: time.sleep(1)
"""


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """The address of a server that asks for the planted key; killed afterwards."""
    model = MODELS / BUNDLED["fable"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model), str(port), planted_key.VARIABLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield next(line for line in process.stdout if line.startswith("http")).strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_real_server(capfd: pytest.CaptureFixture[str]) -> None:
    body = {"prompt": "The fox", "n_predict": 4, "temperature": 0, "n_probs": 3}
    with serving() as url:
        without = await open_transport(ServerSettings((url,)))
        with pytest.raises(RequestRefused, match="asks for a key") as refused:
            await without.post("/completion", body)
        assert refused.value.status == 401
        await without.close()
        away = asyncio.Event()
        settings = ServerSettings((f"{url}/v1",), key_env=planted_key.VARIABLE)
        wire = await open_transport(settings)
        wire.news.listen(away.set)
        first = (await wire.post("/completion", body)).data
        assert wire.spent.answer_tokens == 4
        assert wire.spent.prompt_tokens == first["tokens_evaluated"]
        events = [one async for one in wire.stream("/completion", body | {"stream": True})]
        assert "".join(one["content"] for one in events) == first["content"]
        with pytest.raises(RequestRefused, match="400"):
            await wire.post("/completion", {"prompt": [10**8]})
    # Nobody is there now; the answers come when somebody is again.
    asked = [asyncio.create_task(wire.post("/completion", body)) for _ in range(5)]
    await away.wait()
    assert not any(task.done() for task in asked)
    with serving(int(url.rpartition(":")[2])):
        for answer in await asyncio.gather(*asked):
            assert answer.data["content"] == first["content"]
    await wire.close()
    assert planted_key.KEY not in "".join(capfd.readouterr())
