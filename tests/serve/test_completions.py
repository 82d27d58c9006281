"""`/v1/completions` over a real socket: what OpenAI's and vLLM's clients rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.config import Config
from llterm.jobs.request import Request
from llterm.jobs.sample import SampleOptions, sample
from llterm.serve.body_reader import HARMLESS
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import ServedApi, events, served, told

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/completions"
OLD = "The old"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    """The scripted model under an alias, and the bundled one."""
    bundled = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    async with served(ScriptedBackend(), bundled, aliases={"gpt": "scripted"}) as opened:
        yield opened
    await bundled.close()


async def test_a_seed_gives_the_texts_of_llterm_sample_choice_by_choice(api: ServedApi) -> None:
    request = Request(
        Config(), ("scripted",), OLD.encode(), sampling={"seed": 7, "preset": "neutral"}
    )
    drawn = await sample(request, SampleOptions(count=3, tokens=9, heal=False))
    answer = await api.ask(PATH, prompt=OLD, max_tokens=9, seed=7, n=3)
    assert [choice["text"] for choice in answer["choices"]] == [
        each.sample.data.decode("utf-8", "replace") for each in drawn.samples
    ]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    sevens = await api.ask(PATH, prompt=OLD, max_tokens=9, seed=7, n=3, preset="neutral")
    assert sevens["choices"] == answer["choices"]


SEVERAL = {"prompt": [OLD, "Every evening"], "n": 2, "seed": 3}


@pytest.mark.parametrize(
    "asked",
    [{"model": "scripted", **SEVERAL}, {"model": "fable", "prompt": OLD, "temperature": 0}],
)
async def test_a_stream_adds_up_to_the_whole_answer(api: ServedApi, asked: dict[str, Any]) -> None:
    body: dict[str, Any] = {
        **asked, "max_tokens": 12, "stop": ["e w", "river "], "echo": True, "logprobs": 2,
        "return_token_ids": True,
    }  # fmt: skip
    whole = await api.ask(PATH, **body)
    *chunks, last = await api.streamed(PATH, **body, stream_options={"include_usage": True})
    assert {chunk["id"] for chunk in chunks} == {last["id"]}
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    for choice in whole["choices"]:
        parts = [
            part
            for chunk in chunks
            for part in chunk["choices"]
            if part["index"] == choice["index"]
        ]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert [id for part in parts for id in part["token_ids"]] == choice["token_ids"]
        reasons = [part["finish_reason"] for part in parts]
        assert reasons[-1] == choice["finish_reason"]
        assert not any(reasons[:-1])
        for name in ("tokens", "text_offset", "ids"):
            lists = [part["logprobs"][name] for part in parts if part["logprobs"]]
            assert [each for values in lists for each in values] == choice["logprobs"][name]


async def test_prompts_of_every_kind_are_the_same_prompt(api: ServedApi) -> None:
    ids = (await api.ask("/tokenize", prompt=OLD))["tokens"]
    same: dict[str, Any] = {"max_tokens": 5, "seed": 2}
    text = (await api.ask(PATH, prompt=OLD, **same))["choices"][0]["text"]
    for prompt in ([OLD], ids, [ids]):
        (choice,) = (await api.ask(PATH, prompt=prompt, **same))["choices"]
        assert choice["text"] == text
    two = await api.ask(PATH, prompt=[OLD, "Once"], n=2, **same)
    assert [choice["index"] for choice in two["choices"]] == [0, 1, 2, 3]
    assert two["choices"][0]["text"] == text


async def test_an_echo_has_the_legacy_shape_with_a_first_entry_of_null(api: ServedApi) -> None:
    answer = await api.ask(PATH, model="fable", prompt=OLD, echo=True, max_tokens=0, logprobs=3)
    (choice,) = answer["choices"]
    lists = choice["logprobs"]
    assert choice["text"] == OLD
    assert choice["finish_reason"] == "length"
    assert lists["token_logprobs"][0] is None
    assert lists["top_logprobs"][0] is None
    assert len({len(each) for each in lists.values()}) == 1
    texts = zip(lists["tokens"], lists["text_offset"], strict=True)
    assert all(OLD[offset:].startswith(text) for text, offset in texts if "<|" not in text)
    for text, logprob, top in zip(*list(lists.values())[:3], strict=True):
        assert logprob is None or (top[text] == logprob and len(top) in (3, 4))


async def test_lm_evals_request_finds_one_float_in_both_places(api: ServedApi) -> None:
    ids = (await api.ask("/tokenize", model="fable", prompt="The cat sat by the fire"))["tokens"]
    answer = await api.ask(PATH, model="fable", prompt=[ids], temperature=0, max_tokens=1,
                           logprobs=1, echo=True, seed=1234)  # fmt: skip
    lists = answer["choices"][0]["logprobs"]
    assert len(lists["tokens"]) == len(ids) + 1
    greedy = lists["token_logprobs"][-1]
    assert greedy == max(lists["top_logprobs"][-1].values())
    assert answer["usage"]["prompt_tokens"] == len(ids)


async def test_prompt_logprobs_have_a_rank_and_always_the_true_token(api: ServedApi) -> None:
    answer = await api.ask(PATH, prompt=OLD, max_tokens=1, prompt_logprobs=1, return_token_ids=True)
    (choice,) = answer["choices"]
    first, *rows = choice["prompt_logprobs"]
    assert first is None
    for id, row in zip(choice["prompt_token_ids"][1:], rows, strict=True):
        assert row[str(id)]["rank"] >= 1
        assert min(entry["rank"] for entry in row.values()) == 1


async def test_the_best_of_several_are_the_most_probable(api: ServedApi) -> None:
    every = await api.ask(PATH, prompt=OLD, max_tokens=6, seed=5, n=6, logprobs=0)
    best = await api.ask(PATH, prompt=OLD, max_tokens=6, seed=5, n=2, best_of=6, logprobs=0)

    def mean(choice: Any) -> float:
        logprobs = choice["logprobs"]["token_logprobs"]
        return float(sum(logprobs) / len(logprobs))

    wanted = sorted(map(mean, every["choices"]), reverse=True)[:2]
    assert list(map(mean, best["choices"])) == wanted
    assert best["usage"]["completion_tokens"] == every["usage"]["completion_tokens"]


async def test_extras_of_vllm_hold(api: ServedApi) -> None:
    words = (await api.ask("/tokenize", content=" the cat"))["tokens"]
    answer = await api.ask(
        PATH, prompt=OLD, max_tokens=8, seed=1, logprobs=0, allowed_token_ids=words,
        ignore_eos=True, min_tokens=8, logprob_token_ids=words[:1],
        return_tokens_as_token_ids=True, return_token_ids=True,
    )  # fmt: skip
    (choice,) = answer["choices"]
    assert set(choice["token_ids"]) <= set(words)
    assert len(choice["token_ids"]) == 8
    tops = choice["logprobs"]["top_logprobs"]
    assert all(f"token_id:{words[0]}" in top for top in tops)
    stopped = await api.ask(
        PATH, prompt=OLD, max_tokens=50, seed=1, allowed_token_ids=words, stop_token_ids=words[:1]
    )
    assert stopped["choices"][0]["stop_reason"] == words[0]
    assert " the" not in stopped["choices"][0]["text"]


@pytest.mark.parametrize(
    ("wanted", "begins"),
    [
        ({"structured_outputs": {"choice": ["red", "green"]}}, ("red", "green")),
        ({"structured_outputs": {"regex": "[0-9]{3}"}}, tuple("0123456789")),
        ({"structured_outputs": {"grammar": 'root ::= "yes" | "no"'}}, ("yes", "no")),
        ({"structured_outputs": {"json": {"type": "integer"}}}, tuple("-0123456789")),
        ({"response_format": {"type": "json_object"}}, ("{",)),
        ({"regex_pattern": "(ab)+"}, ("ab",)),
        ({"regex_prefix_pattern": "x[yz]"}, ("xy", "xz")),
        ({"prefix_strings": ["(well) ", "so? "]}, ("(well) ", "so? ")),
    ],
)
async def test_a_text_fits_what_it_must(
    api: ServedApi, wanted: dict[str, Any], begins: tuple[str, ...]
) -> None:
    for seed in range(3):
        answer = await api.ask(PATH, prompt=OLD, max_tokens=12, seed=seed, **wanted)
        assert answer["choices"][0]["text"].startswith(begins)


async def test_stop_words_of_gallama_are_returned_and_its_leading_prompt_is_not(
    api: ServedApi,
) -> None:
    same: dict[str, Any] = {"seed": 4, "max_tokens": 40}
    shown = await api.ask(PATH, prompt="The", leading_prompt=" old", stop_words=["e"], **same)
    hidden = await api.ask(PATH, prompt="The old", stop="e", **same)
    assert shown["choices"][0]["text"] == hidden["choices"][0]["text"] + "e"
    assert hidden["choices"][0]["stop_reason"] == "e"
    assert hidden["choices"][0]["finish_reason"] == "stop"


async def test_nothing_but_temperature_one_holds_where_a_request_says_nothing(
    api: ServedApi,
) -> None:
    plain = await api.ask(PATH, prompt=OLD, seed=11)
    said = await api.ask(PATH, prompt=OLD, seed=11, temperature=1, top_p=1, max_tokens=16)
    assert plain["choices"] == said["choices"]
    assert plain["usage"]["completion_tokens"] <= 16
    assert plain["model"] == "scripted"


async def test_models_are_listed_and_wrong_names_are_not_found(api: ServedApi) -> None:
    listed = (await api.client.get("/v1/models")).json()["data"]
    assert [each["id"] for each in listed] == ["scripted", "fable"]
    assert listed[0]["aliases"] == ["gpt"]
    assert (await api.client.get("/v1/models/gpt")).json() == listed[0]
    status, error = told(await api.client.get("/v1/models/nobody"))
    assert (status, error["code"]) == (404, "model_not_found")
    assert (await api.ask(PATH, prompt=OLD, model="gpt"))["model"] == "scripted"
    assert (await api.refused(PATH, prompt=OLD, model="x"))[1]["param"] == "model"


REFUSED: list[tuple[dict[str, Any], str | None]] = [
    ({"zz": 1}, "zz"),
    ({"messages": []}, "messages"),
    ({"suffix": "end"}, "suffix"),
    ({"stream_options": {}}, "stream_options"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
    ({"prompt": None}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [1, 9999]}, "prompt[1]"),
    ({"prompt": [-1]}, "prompt[0]"),
    ({"prompt": [1 << 70]}, "prompt[0]"),
    ({"prompt": "x" * 3000}, "prompt"),
    ({"prompt": ["a"] * 200, "n": 100}, "n"),
    ({"n": 0}, "n"),
    ({"n": 10**6}, "n"),
    ({"n": 3, "best_of": 2}, "best_of"),
    ({"stream": True, "best_of": 2}, "best_of"),
    ({"best_of": 10**9}, "best_of"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1 << 40}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
    ({"logprobs": 5000}, "logprobs"),
    ({"logprobs": 1000, "n": 1000, "max_tokens": 100}, "logprobs"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": "warm"}, "temperature"),
    ({"top_p": 2}, "top_p"),
    ({"top_k": 1.5}, "top_k"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"order": ["nothing"]}, "order"),
    ({"preset": "nothing"}, "preset"),
    ({"seed": 1 << 70}, "seed"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ["a" * 257]}, "stop[0]"),
    ({"stop": ""}, "stop"),
    ({"stop": "a", "stop_words": "b"}, "stop_words"),
    ({"logit_bias": {"9999": 1}}, "logit_bias[0]"),
    ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias"),
    ({"logit_bias": {"1": True}}, "logit_bias.1"),
    ({"stop_token_ids": [9999]}, "stop_token_ids[0]"),
    ({"min_tokens": 17}, "min_tokens"),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.choice"),
    ({"structured_outputs": {"grammar": "root ::= ("}}, "structured_outputs.grammar"),
    ({"structured_outputs": {"regex": "("}}, None),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_object"}, "regex_pattern": "a"}, "regex_pattern"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_is_refused_with_its_field_before_any_stream(
    api: ServedApi, stream: bool
) -> None:
    for body, param in REFUSED:
        streamed = {"stream": True} if stream and "stream_options" not in body else {}
        status, error = await api.refused(PATH, **{"prompt": OLD, **streamed, **body})
        assert (status, error["param"]) == (400, param), body


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"prompt": NaN}', b'{"prompt": "\xff"}', b"[" * 100_000,
             b'{"prompt": "a", "temperature": 1e999}', b'{"prompt": "a", "temperature": NaN}',
             b'{"prompt": "a", "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"],
)  # fmt: skip
async def test_a_body_that_is_no_json_is_an_error_of_the_client(
    api: ServedApi, data: bytes
) -> None:
    answer = await api.client.post(PATH, content=data, headers={"Content-Type": "application/json"})
    assert told(answer)[0] == 400


async def test_fields_that_change_nothing_are_passed_over(api: ServedApi) -> None:
    same: dict[str, Any] = {"prompt": OLD, "seed": 1, "max_tokens": 4}
    answer = await api.ask(PATH, **same, **dict.fromkeys(HARMLESS, "x"))
    assert answer["choices"] == (await api.ask(PATH, **same))["choices"]


async def test_a_stream_is_server_sent_events_to_the_letter(api: ServedApi) -> None:
    answer = await api.client.post(PATH, json={"prompt": OLD, "stream": True, "max_tokens": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer.text)[-1]["choices"][0]["finish_reason"] == "length"
