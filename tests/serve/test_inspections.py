"""`/v1/llterm/preview`, `/step`, `/attribution` and `/status`: a text, token by token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from importlib.util import find_spec
from typing import Any

import pytest
import pytest_asyncio

from llterm.core.attribution_methods import METHODS, SHARES
from tests.helpers.served_api import ServedApi, served_fable

pytestmark = pytest.mark.asyncio(loop_scope="module")
PREVIEW, STEP, ATTRIBUTION = (f"/v1/llterm/{name}" for name in ("preview", "step", "attribution"))
PROMPT = "Once upon a time there was a"
HERE = {"prompt": PROMPT}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    async with served_fable(256) as opened:
        yield opened


async def ids_of(api: ServedApi, text: str) -> list[int]:
    return list((await api.ask("/tokenize", content=text, add_special=False))["tokens"])


async def test_a_preview_tells_both_probabilities_of_every_candidate(api: ServedApi) -> None:
    answer = await api.ask(PREVIEW, **HERE, top=5, top_k=3, temperature=0.5)
    assert (
        "".join(each["text"] for each in answer["prompt_tokens"] if not each["special"]) == PROMPT
    )
    assert (answer["completion_tokens"], answer["finish"]) == ([], None)
    seen = answer["distribution"]
    whole = await api.ask("/v1/completions", **HERE, max_tokens=1, logprobs=5)
    expected = whole["choices"][0]["logprobs"]["top_logprobs"][0]
    for each in seen["tokens"]:
        assert each["logprob"] == pytest.approx(expected[each["text"]], abs=1e-3)
        assert each["display"] == each["text"].replace(" ", "␣")
    for name in ("p_base", "p_final"):
        assert sum(each[name] for each in seen["tokens"]) + seen["rest"][name] == pytest.approx(1)
    assert [each["kept"] for each in seen["tokens"]] == [True] * 3 + [False] * 2
    assert [each["dropped_by"] for each in seen["tokens"]] == [None] * 3 + ["top_k"] * 2
    assert seen["kept"] == 3
    assert seen["rest"]["count"] == seen["valid"] - 5
    assert 0 < seen["entropy"] < 20


async def test_steps_with_a_seed_are_the_text_that_is_drawn_with_it(api: ServedApi) -> None:
    settings = {"seed": 5, "temperature": 0.9, "repeat_penalty": 1.1, "xtc_probability": 0.5}
    whole = await api.ask("/v1/completions", **HERE, **settings, n=2, max_tokens=6,
                          return_token_ids=True)  # fmt: skip
    backend = api.state.models.loaded[0].backend
    for branch in (0, 1):
        written: list[int] = []
        spent = backend.spent.tokens
        for _ in range(6):
            answer = await api.ask(STEP, **HERE, **settings, branch=branch, completion_ids=written)
            written = answer["completion_ids"]
            (meta,) = answer["appended_meta"]
            assert (meta["how"], meta["token"]["id"]) == ("sampled", written[-1])
            assert meta["token"]["p_final"] > 0
        assert written == whole["choices"][branch]["token_ids"]
        assert answer["text"] == whole["choices"][branch]["text"]
        # The prompt once, then a token or two a step.
        assert backend.spent.tokens - spent <= len(whole["choices"][0]["token_ids"]) * 2 + 20


async def test_a_token_or_a_text_is_forced_and_what_was_expected_is_told(api: ServedApi) -> None:
    ids = await ids_of(api, " little dog")
    told = await api.ask(STEP, **HERE, force_text=" little dog", top=3)
    assert told["completion_ids"] == ids
    assert [each["how"] for each in told["appended_meta"]] == ["forced_text"] * len(ids)
    alone = await api.ask(STEP, **HERE, force_token_id=ids[0], top=3)
    (meta,) = alone["appended_meta"]
    assert meta["how"] == "forced_token"
    assert meta["token"]["rank"] >= 1
    first = told["appended_meta"][0]
    assert first["token"]["logprob"] == pytest.approx(meta["token"]["logprob"], abs=1e-3)
    greedy = await api.ask(STEP, **HERE, temperature=0)
    assert greedy["appended_meta"][0]["how"] == "greedy"
    assert greedy["appended_meta"][0]["token"]["rank"] == 1


async def test_a_constraint_marks_what_is_valid_and_forbids_the_rest(api: ServedApi) -> None:
    held = {**HERE, "structured_outputs": {"choice": [" dog", " cat"]}}
    seen = (await api.ask(PREVIEW, **held, top=200))["distribution"]
    valid = {each["text"] for each in seen["tokens"] if each["valid"]}
    assert valid
    assert all(" dog".startswith(text) or " cat".startswith(text) for text in valid)
    assert seen["valid"] < seen["rest"]["count"] + 200
    assert {each["p_final"] for each in seen["tokens"] if not each["valid"]} == {0}
    for forced in ({"force_text": " horse"}, {"force_token_id": (await ids_of(api, " horse"))[0]}):
        status, error = await api.refused(STEP, **held, **forced)
        assert (status, error["param"]) == (400, next(iter(forced)))
    written: list[int] = []
    finish = None
    while finish is None:
        answer = await api.ask(STEP, **held, completion_ids=written, seed=1)
        written, finish = answer["completion_ids"], answer["finish"]
        assert len(written) < 9
    assert answer["text"].startswith((" dog", " cat"))


async def test_an_ended_text_says_why_and_takes_no_step(api: ServedApi) -> None:
    vocabulary = api.state.models.loaded[0].vocabulary
    end = next(id for id in range(vocabulary.size) if vocabulary.token(id).end)
    dog = await ids_of(api, " little dog")
    for more, finish in (
        ({"completion_ids": [end]}, "end"),
        ({"completion_ids": dog, "stop": ["dog"]}, "stop"),
    ):
        answer = await api.ask(PREVIEW, **HERE, **more)
        assert (answer["finish"], answer["distribution"]) == (finish, None)
        status, error = await api.refused(STEP, **HERE, **more)
        assert (status, error["param"]) == (400, "completion_ids")
    forced = await api.ask(STEP, **HERE, force_token_id=end)
    assert forced["finish"] == "end"
    assert forced["appended_meta"][0]["token"]["special"]


async def test_a_chat_is_read_as_its_template_writes_it(api: ServedApi) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "A story"}]
    answer = await api.ask(PREVIEW, messages=messages)
    chat = await api.ask("/v1/chat/completions", messages=messages, max_tokens=0,
                         return_token_ids=True)  # fmt: skip
    assert [each["id"] for each in answer["prompt_tokens"]] == chat["prompt_token_ids"]


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_tells_what_led_to_a_token(api: ServedApi, method: str) -> None:
    ids = await ids_of(api, " little dog")
    body = {**HERE, "completion_ids": ids, "method": method}
    if METHODS[method] == "gradient" and find_spec("torch") is None:  # type: ignore[index]
        status, error = await api.refused(ATTRIBUTION, **body)
        assert (status, error["code"]) == (400, "unsupported_by_model")
        assert "llterm[gradients]" in error["message"]
        return
    answer = await api.ask(ATTRIBUTION, **body)
    assert answer["target"]["id"] == ids[-1]
    assert answer["tokens"][-1]["index"] == answer["target"]["index"] - 1
    assert max(abs(each["heat"]) for each in answer["tokens"]) == pytest.approx(1)
    if method in SHARES:
        total = sum(each["value"] for each in answer["tokens"]) + answer["elsewhere"]
        assert total == pytest.approx(1, abs=1e-3)


async def test_a_candidate_is_asked_about_in_a_tokens_place(api: ServedApi) -> None:
    ids = await ids_of(api, " little dog")
    (other,) = await ids_of(api, ".")
    for at in (0, len(ids)):
        body = {**HERE, "completion_ids": ids, "target_index": at, "target_token_id": other}
        answer = await api.ask(ATTRIBUTION, **body, method="leave-one-out", last=4)
        assert answer["target"]["id"] == other
        assert len(answer["tokens"]) == 4


async def test_the_status_tells_what_can_be_asked(api: ServedApi) -> None:
    told = (await api.client.get("/v1/llterm/status")).json()
    (model,) = told["models"]
    assert (model["name"], model["kind"]) == ("fable", "text")
    assert model["distributions"] is model["chat_template"] is model["embeddings"] is True
    assert {"attention", "rollout", "leave-one-out"} <= set(model["attribution"])
    assert "balanced" in told["presets"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (PREVIEW, {}, "prompt"),
        (PREVIEW, {**HERE, "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        (PREVIEW, {**HERE, "completion_ids": [1 << 30]}, "completion_ids[0]"),
        (PREVIEW, {**HERE, "completion_ids": [5] * 300}, "completion_ids"),
        (PREVIEW, {**HERE, "top": 0}, "top"),
        (PREVIEW, {**HERE, "mirostat": 2}, "mirostat"),
        (PREVIEW, {**HERE, "force_token_id": 1}, "force_token_id"),
        (STEP, {**HERE, "force_token_id": 1, "force_text": "a"}, "force_text"),
        (STEP, {**HERE, "force_token_id": 1 << 30}, "force_token_id[0]"),
        (STEP, {**HERE, "force_text": "a b" * 900}, "force_text"),
        (ATTRIBUTION, {**HERE, "target_index": 3, "target_token_id": 5}, "target_index"),
        (ATTRIBUTION, HERE, "target_token_id"),
        (ATTRIBUTION, {**HERE, "method": "magic"}, "method"),
        (ATTRIBUTION, {**HERE, "target_token_id": 5, "method": "attention-layer", "layer": 999},
         None),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(
    api: ServedApi, path: str, body: Mapping[str, Any], param: str | None
) -> None:
    status, error = await api.refused(path, **body)
    assert (status, error["param"]) == (400, param)
