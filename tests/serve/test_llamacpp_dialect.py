"""llama.cpp's `/completion`, `/tokenize` and `/detokenize` over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.scripted import ScriptedBackend
from tests.helpers.served_api import ServedApi, served, told

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/completion"
OLD = "The old"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    """The scripted model."""
    async with served(metrics=True) as opened:
        yield opened


async def test_texts_ids_and_mixes_of_both_are_one_prompt(api: ServedApi) -> None:
    ids = (await api.ask("/tokenize", content=OLD, add_special=True))["tokens"]
    same: dict[str, Any] = {"n_predict": 6, "seed": 3}
    text = (await api.ask(PATH, prompt=OLD, **same))["content"]
    last = (await api.ask("/detokenize", tokens=ids[-1:]))["content"]
    for prompt in (ids, [*ids[:-1], last], [ids], [OLD]):
        assert (await api.ask(PATH, prompt=prompt, **same))["content"] == text
    several = await api.ask(PATH, prompt=[OLD, "Once", ids], **same)
    assert [each["index"] for each in several] == [0, 1, 2]
    assert several[0]["content"] == several[2]["content"] == text


async def test_a_prompt_may_be_an_object_and_pictures_in_it_are_refused(api: ServedApi) -> None:
    same: dict[str, Any] = {"n_predict": 6, "seed": 3}
    text = (await api.ask(PATH, prompt=OLD, **same))["content"]
    written = {"prompt_string": OLD}
    assert (await api.ask(PATH, prompt=written, **same))["content"] == text
    ids = (await api.ask("/tokenize", content=OLD, add_special=True))["tokens"]
    several = await api.ask(PATH, prompt=[written, ids, {**written, "multimodal_data": []}], **same)
    assert [each["content"] for each in several] == [text] * 3
    for prompt in ({**written, "multimodal_data": ["iVBO"]}, [{**written, "multimodal_data": "x"}]):
        status, error = await api.refused(PATH, prompt=prompt)
        assert (status, error["param"]) == (400, "multimodal_data")


async def test_a_stream_adds_up_with_the_probabilities_of_each_token(api: ServedApi) -> None:
    body: dict[str, Any] = {"prompt": OLD, "n_predict": 8, "seed": 5, "n_probs": 3}
    whole = await api.ask(PATH, **body)
    *parts, final = await api.streamed(PATH, **body)
    assert "".join(part["content"] for part in parts) == whole["content"]
    rows = [row for part in parts for row in part.get("completion_probabilities", ())]
    assert rows == whole["completion_probabilities"]
    assert final["stop"]
    assert final["stop_type"] == whole["stop_type"]
    for row in rows:
        assert bytes(row["bytes"]).decode("utf-8", "replace") == row["token"]
        assert len(row["top_logprobs"]) == 3
        assert len(row["probs"]) == 3, "the names of before 2025, for LLooM"


async def test_only_the_fields_that_are_asked_for_are_told(api: ServedApi) -> None:
    paths = ["content", "timings/prompt_n", "generation_settings/seed", "no/such", "content/x"]
    whole = await api.ask(PATH, prompt=OLD, n_predict=4, seed=5)
    assert await api.ask(PATH, prompt=OLD, n_predict=4, seed=5, response_fields=paths) == {
        "content": whole["content"],
        "timings/prompt_n": whole["timings"]["prompt_n"],
        "generation_settings/seed": 5,
    }
    *parts, final = await api.streamed(
        PATH, prompt=OLD, n_predict=4, seed=5, response_fields=["stop_type"]
    )
    assert "".join(part["content"] for part in parts) == whole["content"]
    assert final == {"stop_type": whole["stop_type"]}


async def test_what_the_chain_left_is_told_on_demand(api: ServedApi) -> None:
    answer = await api.ask(
        PATH, prompt=OLD, n_predict=4, seed=5, n_probs=10, top_k=2, post_sampling_probs=True
    )
    for row in answer["completion_probabilities"]:
        assert len(row["top_probs"]) == 2
        assert sum(each["prob"] for each in row["top_probs"]) == pytest.approx(1)
        assert row["prob"] in [each["prob"] for each in row["top_probs"]]


async def test_biases_are_taken_by_id_and_text_and_false_bans(api: ServedApi) -> None:
    the = (await api.ask("/tokenize", content=" the"))["tokens"][0]
    for bias in ([[" the", 100]], {" the": 100}, {str(the): 100}, [[the, 100]]):
        answer = await api.ask(PATH, prompt=OLD, n_predict=3, logit_bias=bias, return_tokens=True)
        assert answer["tokens"] == [the] * 3
    banned = await api.ask(
        PATH, prompt=OLD, n_predict=40, seed=1, logit_bias=[[the, False]], return_tokens=True
    )
    assert the not in banned["tokens"]


async def test_what_is_added_to_logits_is_told_by_token(api: ServedApi) -> None:
    the = (await api.ask("/tokenize", content=" the"))["tokens"][0]

    async def told_biases(**fields: Any) -> Any:
        answer = await api.ask(PATH, prompt=OLD, n_predict=1, **fields)
        return answer["generation_settings"]["logit_bias"]

    assert await told_biases() == []
    assert await told_biases(logit_bias={" the": 2, "#x": False}, bias=[" cat=1"]) == [
        {"token": the, "bias": 2.0},
        *(
            {"token": id, "bias": None}
            for id in (await api.ask("/tokenize", content="#x"))["tokens"]
        ),
    ]
    assert await told_biases(ignore_eos=True) == [{"token": 0, "bias": None}]


async def test_requests_that_give_no_seed_have_the_servers() -> None:
    async with served(seed=7) as api:
        assert (await api.client.get("/props")).json()["default_generation_settings"]["params"][
            "seed"
        ] == 7
        for path, field in ((PATH, "content"), ("/v1/completions", "choices")):
            body: dict[str, Any] = {"prompt": OLD, "max_tokens": 12}
            usual, same = await api.ask(path, **body), await api.ask(path, **body, seed=7)
            assert usual[field] == same[field]
            assert (await api.ask(path, **body, seed=8))[field] != usual[field]
        afresh = await api.ask(PATH, prompt=OLD, n_predict=1, seed=-1)
        assert afresh["generation_settings"]["seed"] == -1


async def test_as_many_tokens_are_drawn_as_there_is_room() -> None:
    small = ScriptedBackend()
    small.capabilities = replace(small.capabilities, context=48)
    async with served(small) as api:
        answer = await api.ask(PATH, prompt=OLD, n_predict=-1, ignore_eos=True, seed=1)
        assert answer["stop_type"] == "limit"
        assert answer["tokens_predicted"] + answer["tokens_evaluated"] == 48


async def test_what_is_not_obeyed_is_refused_by_name_unless_it_asks_for_nothing(
    api: ServedApi,
) -> None:
    for field, value in (
        ("t_max_predict_ms", 5), ("n_indent", 2), ("min_keep", 1), ("lora", [{"id": 0}]),
        ("image_data", [1]), ("n_discard", -1),
    ):  # fmt: skip
        status, error = await api.refused(PATH, prompt=OLD, **{field: value})
        assert (status, error["param"]) == (400, field)
    await api.ask(PATH, prompt=OLD, n_predict=1, t_max_predict_ms=0, n_indent=0, min_keep=0,
                  lora=[], cache_prompt=True, id_slot=-1, n_keep=0)  # fmt: skip


async def test_a_text_is_cut_in_both_dialects_by_key(api: ServedApi) -> None:
    bare = await api.ask("/tokenize", content=OLD)
    begun = await api.ask("/tokenize", prompt=OLD, return_token_strs=True)
    assert begun["tokens"][1:] == bare["tokens"]
    assert begun["count"] == len(begun["tokens"]) == len(begun["token_strs"])
    back = await api.ask("/detokenize", tokens=begun["tokens"])
    assert back == {"content": OLD, "prompt": OLD}
    pieces = await api.ask("/tokenize", content="a\xe9", with_pieces=True)
    assert [each["piece"] for each in pieces["tokens"]] == ["a", [0xC3], [0xA9]]
    special = await api.ask("/tokenize", content="a<|end|>b")
    plain = await api.ask("/tokenize", content="a<|end|>b", parse_special=False)
    named = await api.ask("/tokenize", prompt="<|end|>", add_special_tokens=False)
    assert 0 in special["tokens"]
    assert 0 not in plain["tokens"]
    assert named["tokens"] == [0], "lm-eval looks for the end of a text so"
    assert (await api.refused("/tokenize"))[1]["param"] == "content"
    assert (await api.refused("/detokenize", tokens=[9999]))[1]["param"] == "tokens[0]"


async def test_what_a_server_tells_of_itself(api: ServedApi) -> None:
    assert (await api.client.get("/health")).json() == {"status": "ok"}
    assert (await api.client.get("/props")).json()["default_generation_settings"]["n_ctx"] == 2048
    info = (await api.client.get("/tokenizer_info")).json()
    assert info["eos_token"] == "<|end|>"
    assert "version" in (await api.client.get("/version")).json()
    before = (await api.client.get("/metrics")).text
    await api.ask(PATH, prompt=OLD, n_predict=3, ignore_eos=True)
    after = (await api.client.get("/metrics")).text

    def count(text: str) -> int:
        return int(text.partition("\nllamacpp:tokens_predicted_total ")[2].split()[0])

    assert count(after) == count(before) + 3


async def test_the_openapi_document_has_every_route_and_field(api: ServedApi) -> None:
    document = (await api.client.get("/openapi.json")).json()
    fields = document["components"]["schemas"]["_CompletionFields"]["properties"]
    assert {"prompt", "temperature", "regex_pattern", "user"} <= set(fields)
    drawn = document["paths"][PATH]["post"]["responses"]["200"]["content"]
    assert set(drawn) == {"application/json", "text/event-stream"}
    for path, operations in document["paths"].items():
        answer = await api.client.request("DELETE", path.replace("{id}", "x"))
        assert told(answer)[0] == 405
        assert operations
