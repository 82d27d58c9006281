"""What is answered while models are loaded."""

from __future__ import annotations

import httpx2

from llterm.serve.application import loading_application
from llterm.serve.http_server import answering, listening
from llterm.serve.serve_limits import ServeLimits
from tests.helpers.served_api import served, told


async def test_who_asks_while_a_model_is_loaded_is_told_so_and_its_socket_goes_on_listening() -> (
    None
):
    with listening("127.0.0.1", 0) as at:
        address = f"http://127.0.0.1:{at.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=address) as client:
            for _ in range(2):
                async with answering(loading_application(), at, ServeLimits()):
                    health = await client.get("/health")
                    refused = await client.post("/v1/completions", json={"prompt": "Once"})
                assert (health.status_code, health.json()) == (503, {"status": "loading"})
                status, error = told(refused)
                assert (status, error["code"]) == (503, "model_loading")
                assert refused.headers["retry-after"]


async def test_a_loaded_one_is_well() -> None:
    async with served() as api:
        assert (await api.client.get("/health")).json() == {"status": "ok"}
