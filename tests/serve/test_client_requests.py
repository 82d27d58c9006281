"""The very requests of programs that people have, read as those programs read the answers."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from llterm.serve.application import Access
from tests.helpers.served_api import ServedApi, served

pytestmark = pytest.mark.asyncio(loop_scope="module")
STORY = "The old"
PAGE = "https://example.org"
MIKUPAD_SAMPLERS: Mapping[str, Any] = {
    "temperature": 0.7, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.95, "top_k": 40,
    "min_p": 0,
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    """The scripted model, which a page of one origin may ask too."""
    async with served(access=Access(origins=(PAGE,))) as opened:
        yield opened


async def _model(api: ServedApi) -> str:
    return str((await api.client.get("/v1/models")).json()["data"][0]["id"])


async def test_lloom_gets_the_candidates_of_the_next_token_best_first(api: ServedApi) -> None:
    body: dict[str, Any] = {
        "prompt": STORY, "cache_prompt": True, "temperature": 1.0, "n_predict": 1, "top_k": 10,
        "top_p": 1.0, "n_probs": 10,
    }  # fmt: skip
    for sent in (body, {**body, "samplers": []}):
        answer = await api.ask("/completion", **sent)
        probs = answer["completion_probabilities"][0]["probs"]
        values = [each["prob"] for each in probs]
        assert len(values) == 10
        assert values == sorted(values, reverse=True), "it stops at the first below its cutoff"
        assert all(0 < value <= 1 for value in values)
        assert all(each["tok_str"] for each in probs)


async def test_lloom_gets_the_same_of_an_openai_server(api: ServedApi) -> None:
    for temperature in (0.0, 1.0):
        answer = await api.ask(
            "/v1/completions", prompt=STORY, n=1, temperature=temperature, max_tokens=1,
            stream=False, logprobs=5, model=await _model(api),
        )  # fmt: skip
        row = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        best = sorted((math.exp(value) for value in row.values()), reverse=True)
        assert 5 <= len(row) <= 6
        assert 0 < sum(best) <= 1 + 1e-6
        if not temperature:
            assert [math.exp(value) for value in row.values()] == best


async def test_mikupad_writes_and_colours_as_with_llama_cpp(api: ServedApi) -> None:
    body: dict[str, Any] = {
        "model": "", "prompt": STORY, "seed": 7, **MIKUPAD_SAMPLERS, "repeat_penalty": 1.1,
        "repeat_last_n": 256, "penalize_nl": False, "ignore_eos": False, "n_predict": 24,
        "n_probs": 10, "stream": True, "stop": ["\n\n"], "cache_prompt": True,
    }  # fmt: skip
    for after, listed, name in ((False, "probs", "tok_str"), (True, "top_probs", "token")):
        parts = await api.streamed("/completion", **body, post_sampling_probs=after)
        written = [part for part in parts if part["content"]]
        assert len(written) >= 20
        for part in written:
            (row,) = part["completion_probabilities"]
            probs = {each[name]: each["prob"] for each in row[listed]}
            assert 0 < sum(probs.values()) <= 1 + 1e-6
            assert part["content"] in probs or len(probs) == 10, "else it is shown without one"


async def test_mikupad_cuts_a_text_into_tokens(api: ServedApi) -> None:
    ids = (await api.ask("/tokenize", content=STORY))["tokens"]
    texts = [(await api.ask("/detokenize", tokens=[id]))["content"] for id in ids]
    assert "".join(texts) == STORY


async def test_mikupad_writes_and_colours_as_with_any_openai_server(api: ServedApi) -> None:
    others: Mapping[str, Any] = {
        "repetition_penalty": 1.1, "repetition_penalty_range": 256, "penalize_nl": False,
        "ban_eos_token": False, "max_tokens": 1024, "logprobs": 10, "seed": 7,
    }  # fmt: skip
    every: Mapping[str, Any] = {
        "dynamic_temperature": True, "dynatemp_low": 0.5, "dynatemp_high": 0.9,
        "dynatemp_range": 0.2, "dynatemp_exponent": 1, "typical_p": 1, "tfs": 1,
        "xtc_threshold": 0.1, "xtc_probability": 0, "dry_multiplier": 0.5, "dry_base": 1.75,
        "dry_allowed_length": 2, "dry_penalty_last_n": 1024,
        "dry_sequence_breakers": '["\\n", ":", "\\"", "*"]', "banned_tokens": [],
    }  # fmt: skip
    body: dict[str, Any] = {
        "model": await _model(api),
        "prompt": STORY,
        **MIKUPAD_SAMPLERS,
        **others,
    }
    for more in ({}, every, {"mirostat_mode": 2, "mirostat_tau": 5.0, "mirostat_eta": 0.1}):
        body |= {"max_tokens": 20, "stop": ["\n\n"]}
        whole = await api.ask("/v1/completions", **body, **more, stream=False)
        parts = await api.streamed("/v1/completions", **body, **more)
        choices = [part["choices"][0] for part in parts if part["choices"]]
        assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]
        rows = whole["choices"][0]["logprobs"]
        assert len(rows["tokens"]) == len(rows["top_logprobs"])
        for choice in choices:
            if choice["text"]:
                row = choice["logprobs"]["top_logprobs"][0]
                assert choice["text"] in row, "else it is shown without a probability"


async def test_mikupad_without_sampling_and_with_a_grammar(api: ServedApi) -> None:
    body: dict[str, Any] = {"prompt": STORY, "max_tokens": 8, "logprobs": 10}
    greedy = await api.ask("/v1/completions", **body, temperature=0, do_sample=False)
    assert greedy["choices"][0]["text"]
    fit = await api.ask("/v1/completions", **body, grammar_string='root ::= " the" " the"')
    assert fit["choices"][0]["text"] == " the the"
    for field, value in (("do_sample", False), ("tfs", 0.9), ("banned_tokens", ["x"]),
                         ("dry_sequence_breakers", "{"), ("dynatemp_low", 0.5)):  # fmt: skip
        status, error = await api.refused("/v1/completions", **body, **{field: value})
        assert (status, error["param"]) == (400, field)


async def test_logitloom_grows_its_tree_from_a_page(api: ServedApi) -> None:
    asked = "authorization,anthropic-dangerous-direct-browser-access,x-api-key,x-stainless-lang"
    preflight = await api.client.options(
        "/v1/completions",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Headers"] == asked
    listed = await api.client.get("/v1/models", headers={"Origin": PAGE})
    assert listed.headers["Access-Control-Allow-Origin"] == PAGE
    assert listed.json()["data"][0]["owned_by"] == "llterm", "no flags of others are sent then"
    depth, width = 5, 3
    answer = await api.ask(
        "/v1/completions", model=await _model(api), prompt=STORY, logprobs=width,
        max_tokens=depth, temperature=0.0,
    )  # fmt: skip
    choice = answer["choices"][0]
    rows = choice["logprobs"]
    grown = 0
    for chosen, row in zip(rows["tokens"], rows["top_logprobs"], strict=True):
        best = sorted(row.items(), key=lambda item: -item[1])[:width]
        assert chosen == best[0][0], "its branch goes on below the chosen token"
        grown += 1
    assert grown == depth
    assert choice["finish_reason"] == "length"


async def test_logitloom_grows_its_tree_of_a_chat(api: ServedApi) -> None:
    """The branch so far is the last message: where the server is none that it knows, it sends no
    more than that."""
    depth, width = 4, 3
    body: dict[str, Any] = {
        "model": await _model(api), "logprobs": True, "top_logprobs": width, "max_tokens": depth,
        "temperature": 0.0, "messages": [{"role": "user", "content": STORY}],
    }  # fmt: skip
    rows = (await api.ask("/v1/chat/completions", **body))["choices"][0]["logprobs"]["content"]
    assert len(rows) == depth
    for row in rows:
        assert len(row["top_logprobs"]) == width
        assert row["token"] == row["top_logprobs"][0]["token"], "its branch goes on below it"
    begun = {"role": "assistant", "content": rows[0]["token"] + rows[1]["token"]}
    further = {**body, "messages": [*body["messages"], begun]}
    vllm = {"continue_final_message": True, "add_generation_prompt": False}
    for more in ({}, vllm):
        answer = await api.ask("/v1/chat/completions", **further, **more)
        grown = answer["choices"][0]["logprobs"]["content"]
        assert [row["token"] for row in grown[:2]] == [row["token"] for row in rows[2:]]


async def test_logitloom_goes_on_from_a_branch(api: ServedApi) -> None:
    first = await api.ask(
        "/v1/completions", prompt=STORY, logprobs=3, max_tokens=2, temperature=0.0
    )
    tokens = first["choices"][0]["logprobs"]["tokens"]
    next = await api.ask(
        "/v1/completions", prompt=STORY + tokens[0], logprobs=3, max_tokens=1, temperature=0.0
    )
    assert next["choices"][0]["logprobs"]["tokens"] == tokens[1:]
