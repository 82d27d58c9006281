"""`/v1/embeddings` and `/embedding` over a real socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.serve.model_process import open_process
from llterm.serve.serve_limits import ServeLimits
from tests.helpers.model_processes import opening
from tests.helpers.served_api import ServedApi, served
from tests.helpers.tiny_models import WIDTH, tiny_encoder, tiny_llama

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/embeddings"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApi]:
    """A model for text generation, an encoder in its process, one that tells no embeddings."""
    folder = tmp_path_factory.mktemp("models")
    model = await open_llama(tiny_llama(folder / "tiny.gguf"), LlamaSettings(threads=1))
    encoder = await open_process(opening(tiny_encoder(folder / "bert.gguf")))
    limits = ServeLimits(choices=16, drain_seconds=0)
    async with served(model, encoder, ScriptedBackend(), limits=limits) as opened:
        yield opened
    await model.close()


@pytest.mark.parametrize("model", ["tiny", "bert"])
async def test_vectors_come_as_numbers_or_as_openais_base64(api: ServedApi, model: str) -> None:
    body = {"model": model, "input": ["the cat", "a mat"]}
    answer = await api.ask(PATH, **body)
    assert (answer["object"], answer["model"]) == ("list", model)
    told = [each["embedding"] for each in answer["data"]]
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert np.linalg.norm(told, axis=1) == pytest.approx([1, 1])
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 4
    coded = await api.ask(PATH, **body, encoding_format="base64")
    for each, floats in zip(coded["data"], told, strict=True):
        decoded = np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
        assert decoded.tolist() == floats


async def test_fewer_dimensions_are_the_first_ones_of_length_one(api: ServedApi) -> None:
    whole = (await api.ask(PATH, input="the cat"))["data"][0]["embedding"]
    cut = (await api.ask(PATH, input="the cat", dimensions=5))["data"][0]["embedding"]
    assert cut == pytest.approx(np.array(whole[:5]) / np.linalg.norm(whole[:5]), abs=1e-6)


async def test_texts_and_their_tokens_are_the_same(api: ServedApi) -> None:
    body = {"content": "the cat", "add_special": True}
    ids = (await api.ask("/tokenize", **body))["tokens"]
    answers = [
        await api.ask(PATH, input=given)
        for given in ("the cat", ids, ["the cat"], [ids, "the cat"])
    ]
    vectors = [each["embedding"] for answer in answers for each in answer["data"]]
    assert len(vectors) == 5
    for vector in vectors[1:]:
        assert vector == pytest.approx(vectors[0], abs=1e-5)


async def test_llamacpps_own_address_has_its_shape(api: ServedApi) -> None:
    expected = (await api.ask(PATH, input="the cat"))["data"][0]["embedding"]
    for body in ({"content": "the cat"}, {"input": ["the cat"], "embd_normalize": 2}):
        assert await api.ask("/embedding", **body) == [{"index": 0, "embedding": [expected]}]
    status, error = await api.refused("/embeddings", content="a", embd_normalize=-1)
    assert (status, error["param"]) == (400, "embd_normalize")
    status, error = await api.refused("/embedding", content="a", input="a")
    assert (status, error["param"]) == (400, "content")


async def test_an_encoder_is_listed_as_one_and_draws_nothing(api: ServedApi) -> None:
    listed = (await api.client.get("/v1/models")).json()["data"]
    assert {each["id"]: each["kind"] for each in listed} == {
        "tiny": "text", "bert": "embedding", "scripted": "text"
    }  # fmt: skip
    chat = [{"role": "user", "content": "a"}]
    for path, body in (
        ("/v1/completions", {"prompt": "the cat", "echo": True, "logprobs": 1}),
        ("/completion", {"prompt": "the cat"}),
        ("/v1/chat/completions", {"messages": chat}),
        ("/v1/responses", {"input": "the cat"}),
    ):
        for stream in (False, True):
            status, error = await api.refused(path, model="bert", stream=stream, **body)
            assert (status, error["type"]) == (400, "invalid_request_error")
            assert "predict" in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": [5, 1 << 30]}, "input[1]"),
        ({"input": [[5], [-1]]}, "input"),
        ({"input": "a " * 100_000}, "input"),
        ({"input": ["a"] * 17}, "input"),
        ({"input": "a", "dimensions": WIDTH + 1}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "pooling": "mean"}, "pooling"),
        ({"input": "x" * 600}, None),
        ({"input": "a", "model": "scripted"}, None),
        ({"input": "the cat " * 90, "model": "bert"}, None),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(
    api: ServedApi, body: Mapping[str, Any], param: str | None
) -> None:
    status, error = await api.refused(PATH, **body)
    assert status == 400
    assert param is None or str(error["param"]).startswith(param)


async def test_an_encoder_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    file = tiny_encoder(tmp_path / "bert.gguf", pooling=4)
    with pytest.raises(Exception, match="ranks pairs"):
        await open_process(opening(file))
