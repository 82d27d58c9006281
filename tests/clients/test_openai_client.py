"""OpenAI's own client against a real `llterm serve`: completions as programs use them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types import Completion
from openai.types.completion_choice import Logprobs

from tests.clients.served_names import ALIAS, KEY
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_program import ServedProgram, serving

pytestmark = pytest.mark.clients
PROMPT = "Once there was"
LONG: dict[str, Any] = {"max_tokens": 200, "extra_body": {"ignore_eos": True}}
"""Most of what a slot has room for."""


@pytest.fixture(scope="module")
def client(program: ServedProgram) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{program.address}/v1", api_key="none") as opened:
        yield opened


def logprobs_of(answer: Completion, index: int = 0) -> Logprobs:
    facts = answer.choices[index].logprobs
    assert facts is not None
    return facts


def test_a_stream_is_the_text_that_is_given_whole(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=12, seed=5)
    parts = list(
        client.completions.create(
            model=ALIAS, prompt=PROMPT, max_tokens=12, seed=5, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "".join(part.choices[0].text for part in parts if part.choices) == whole.choices[0].text
    assert len({part.id for part in parts}) == 1
    ends = [part.choices[0].finish_reason for part in parts if part.choices]
    assert [*filter(None, ends)] == [whole.choices[0].finish_reason]
    assert [part.usage for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert parts[-1].usage is not None
    assert whole.usage is not None
    assert parts[-1].usage.total_tokens == whole.usage.total_tokens


def test_usage_counts_each_prompt_once_and_what_was_cached(client: openai.OpenAI) -> None:
    prompt = "A lantern hung over the old bridge, and under it a heron slept."
    first, second = (
        client.completions.create(
            model=ALIAS, prompt=prompt, n=3, max_tokens=5, seed=2, extra_body={"ignore_eos": True}
        ).usage
        for _ in range(2)
    )
    assert first is not None
    assert second is not None
    assert (first.completion_tokens, second.completion_tokens) == (15, 15)
    assert first.total_tokens == first.prompt_tokens + 15
    assert second.prompt_tokens_details is not None
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1


def test_choices_come_by_prompt_and_number(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=ALIAS, prompt=[PROMPT, "The old man"], n=2, max_tokens=4, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    alone = client.completions.create(
        model=ALIAS, prompt="The old man", n=2, max_tokens=4, seed=1
    )  # fmt: skip
    assert [choice.text for choice in answer.choices[2:]] == [each.text for each in alone.choices]


def test_streamed_choices_are_told_apart_by_their_index(client: openai.OpenAI) -> None:
    body: dict[str, Any] = {"model": ALIAS, "prompt": PROMPT, "n": 3, "max_tokens": 8, "seed": 4}
    texts = ["", "", ""]
    for part in client.completions.create(**body, stream=True):
        texts[part.choices[0].index] += part.choices[0].text
    whole = client.completions.create(**body)
    assert texts == [choice.text for choice in whole.choices]
    assert len(set(texts)) == 3


def test_the_best_of_several_are_the_most_probable_a_token(client: openai.OpenAI) -> None:
    body: dict[str, Any] = {
        "model": ALIAS, "prompt": PROMPT, "max_tokens": 6, "seed": 9, "logprobs": 0,
        "extra_body": {"ignore_eos": True},
    }  # fmt: skip
    drawn = client.completions.create(**body, n=5)
    best = client.completions.create(**body, n=2, best_of=5)

    def worth(index: int) -> float:
        values = logprobs_of(drawn, index).token_logprobs
        assert values is not None
        return sum(float(value) for value in values if value is not None)

    ranked = sorted(range(5), key=worth, reverse=True)[:2]
    assert [choice.text for choice in best.choices] == [drawn.choices[at].text for at in ranked]
    with pytest.raises(openai.BadRequestError) as fewer:
        client.completions.create(**body, n=3, best_of=2)
    assert fewer.value.param == "best_of"


def test_a_prompt_is_scored_by_its_echo(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=ALIAS, prompt=PROMPT, echo=True, logprobs=3, max_tokens=0
    )
    facts = logprobs_of(answer)
    assert answer.choices[0].text == PROMPT
    assert facts.tokens is not None
    assert facts.token_logprobs is not None
    assert facts.text_offset is not None
    assert facts.token_logprobs[0] is None
    assert all(value <= 0 for value in facts.token_logprobs[1:])
    assert len(facts.tokens) == len(facts.token_logprobs) == len(facts.text_offset)


def test_the_echo_of_a_text_scores_it_as_it_was_drawn(client: openai.OpenAI) -> None:
    """Token by token, within what rounding does to a decode of many."""
    drawn = client.completions.create(
        model=ALIAS, prompt=PROMPT, max_tokens=10, logprobs=0, echo=True, temperature=0,
        extra_body={"ignore_eos": True, "return_token_ids": True},
    )  # fmt: skip
    choice: Any = drawn.choices[0].to_dict()
    ids = [*choice["prompt_token_ids"], *choice["token_ids"]]
    again = client.completions.create(
        model=ALIAS, prompt=ids, max_tokens=0, logprobs=0, echo=True
    )  # fmt: skip
    assert again.choices[0].text.endswith(drawn.choices[0].text)
    first, second = (logprobs_of(each).token_logprobs for each in (drawn, again))
    assert first is not None
    assert second is not None
    assert second[1:] == pytest.approx(first[1:], abs=2e-3)


def test_the_most_probable_are_listed_with_the_token_among_them(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=ALIAS, prompt=PROMPT, max_tokens=8, logprobs=5, temperature=0
    )
    facts = logprobs_of(answer)
    assert facts.tokens is not None
    assert facts.token_logprobs is not None
    assert facts.top_logprobs is not None
    for token, value, listed in zip(
        facts.tokens, facts.token_logprobs, facts.top_logprobs, strict=True
    ):
        assert len(listed) == 5
        assert listed[token] == value == max(listed.values()), "the greedy one is the same float"


def test_streamed_logprobs_are_those_of_the_whole(client: openai.OpenAI) -> None:
    body: dict[str, Any] = {
        "model": ALIAS, "prompt": PROMPT, "max_tokens": 8, "logprobs": 2, "seed": 6
    }  # fmt: skip
    parts = [part.choices[0].logprobs for part in client.completions.create(**body, stream=True)]
    whole = logprobs_of(client.completions.create(**body))
    assert [token for part in parts if part for token in part.tokens or ()] == whole.tokens
    assert [
        offset for part in parts if part for offset in part.text_offset or ()
    ] == whole.text_offset


def test_a_stop_ends_a_text_and_is_not_shown(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=30, temperature=0)
    stop = whole.choices[0].text.split()[3]
    ended = client.completions.create(
        model=ALIAS, prompt=PROMPT, max_tokens=30, temperature=0, stop=[stop, "never"]
    )
    assert ended.choices[0].finish_reason == "stop"
    assert ended.choices[0].text == whole.choices[0].text.partition(stop)[0]


def test_a_bias_makes_a_token_certain_or_impossible(client: openai.OpenAI) -> None:
    listed = client.completions.create(
        model=ALIAS, prompt=PROMPT, max_tokens=1, temperature=0,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    choice: Any = listed.choices[0].to_dict()
    (usual,) = choice["token_ids"]
    for bias, times in ((100, 4), (-100, 0)):
        answer = client.completions.create(
            model=ALIAS, prompt=PROMPT, max_tokens=4, logit_bias={str(usual): bias}, seed=1,
            extra_body={"return_token_ids": True},
        )  # fmt: skip
        drawn: Any = answer.choices[0].to_dict()["token_ids"]
        assert drawn.count(usual) == times


def test_models_are_listed_and_found_by_alias(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [ALIAS]
    assert client.models.retrieve("davinci-002").id == ALIAS


def test_what_is_wrong_is_raised_as_its_kind(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="no-such", prompt=PROMPT)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as high:
        client.completions.create(model=ALIAS, prompt=PROMPT, temperature=-1)
    assert high.value.param == "temperature"
    assert high.value.request_id
    with pytest.raises(openai.BadRequestError) as gap:
        client.completions.create(model=ALIAS, prompt=PROMPT, suffix="end")
    assert gap.value.param == "suffix"
    with pytest.raises(openai.BadRequestError) as misspelt:
        client.completions.create(model=ALIAS, prompt=PROMPT, extra_body={"temprature": 0})
    assert (misspelt.value.param, misspelt.value.code) == ("temprature", "unknown_parameter")


def test_a_prompt_that_does_not_fit_is_an_error_and_no_stream(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as long:
            client.completions.create(model=ALIAS, prompt=PROMPT * 500, stream=stream)
        assert long.value.code == "context_length_exceeded"


def test_a_wrong_key_is_raised_and_the_right_one_taken(locked: ServedProgram) -> None:
    with openai.OpenAI(base_url=f"{locked.address}/v1", api_key="wrong") as wrong:
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        right = wrong.with_options(api_key=KEY)
        assert right.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=1).choices


def test_a_stream_that_is_closed_leaves_the_server_to_others(client: openai.OpenAI) -> None:
    for _ in range(6):
        with client.completions.create(model=ALIAS, prompt=PROMPT, stream=True, **LONG) as stream:
            next(iter(stream))
    assert client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=2).choices


def test_a_client_that_gives_up_leaves_the_server_to_others(client: openai.OpenAI) -> None:
    hasty = client.with_options(timeout=0.02, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        hasty.completions.create(model=ALIAS, prompt=PROMPT, n=8, **LONG)
    assert client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=2).choices


async def test_a_full_queue_is_a_429_that_the_client_tries_again(tmp_path: Path) -> None:
    refused = asyncio.Event()

    async def seen(answer: httpx2.Response) -> None:
        if answer.status_code == 429:
            refused.set()

    with serving(tmp_path, "-m", str(BUNDLED), "--parallel", "1", "--queue", "0") as narrow:
        http = httpx2.AsyncClient(event_hooks={"response": [seen]})
        async with openai.AsyncOpenAI(
            base_url=f"{narrow.address}/v1", api_key="none", http_client=http
        ) as asked:
            holding = await asked.completions.create(
                model=BUNDLED.stem, prompt=PROMPT, max_tokens=1500, stream=True,
                extra_body={"ignore_eos": True},
            )  # fmt: skip
            async with holding:
                await anext(aiter(holding))
                with pytest.raises(openai.RateLimitError) as full:
                    await asked.with_options(max_retries=0).completions.create(
                        model=BUNDLED.stem, prompt=PROMPT
                    )
                assert full.value.code == "queue_full"
                assert full.value.response.headers["retry-after"] == "1"
                refused.clear()
                patient = asyncio.create_task(
                    asked.completions.create(model=BUNDLED.stem, prompt=PROMPT, max_tokens=3)
                )
                await refused.wait()
            assert (await patient).usage is not None


def test_a_stream_that_breaks_off_is_raised_and_the_next_one_is_whole(tmp_path: Path) -> None:
    body: dict[str, Any] = {"model": BUNDLED.stem, "prompt": PROMPT, "seed": 3}
    with (
        serving(tmp_path, "-m", str(BUNDLED)) as program,
        openai.OpenAI(base_url=f"{program.address}/v1", api_key="none") as asked,
    ):
        before = asked.completions.create(**body, max_tokens=8).choices[0].text
        with asked.completions.create(**body, stream=True, max_tokens=1500) as stream:
            next(stream)
            (model,) = program.children
            os.kill(model, signal.SIGKILL)
            with pytest.raises(openai.APIError, match="SIGKILL") as broken:
                for _ in stream:
                    pass
        assert broken.value.code == "model_unavailable"
        assert asked.completions.create(**body, max_tokens=8).choices[0].text == before


def test_a_server_that_ends_says_so_inside_the_stream(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/llterm.toml").write_text("[serve]\ndrain_seconds = 0\n")
    with serving(tmp_path, "-m", str(BUNDLED)) as program:
        address = f"{program.address}/v1"
        with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as asked:
            with asked.completions.create(
                model=BUNDLED.stem, prompt=PROMPT, stream=True, max_tokens=1500,
                extra_body={"ignore_eos": True},
            ) as stream:  # fmt: skip
                next(stream)
                program.process.terminate()
                with pytest.raises(openai.APIError) as ended:
                    for _ in stream:
                        pass
            assert ended.value.code == "server_ending"
            assert program.process.wait() == 0
            with pytest.raises(openai.APIConnectionError):
                asked.models.list()


async def test_many_at_once_have_each_its_own_text(
    program: ServedProgram, client: openai.OpenAI
) -> None:
    bodies: list[dict[str, Any]] = [
        {"model": ALIAS, "prompt": f"{number} hares", "max_tokens": 12, "seed": number}
        for number in range(16)
    ]
    alone = [client.completions.create(**body).choices[0].text for body in bodies]
    async with openai.AsyncOpenAI(base_url=f"{program.address}/v1", api_key="none") as asked:
        answers = await asyncio.gather(*(asked.completions.create(**body) for body in bodies))
    assert [answer.choices[0].text for answer in answers] == alone


async def test_streams_that_are_cancelled_leave_the_others_whole(program: ServedProgram) -> None:
    body: dict[str, Any] = {"model": ALIAS, "prompt": PROMPT, "stream": True}
    async with openai.AsyncOpenAI(base_url=f"{program.address}/v1", api_key="none") as asked:

        async def streamed(**fields: Any) -> str:
            stream = await asked.completions.create(**body, **fields)
            return "".join([part.choices[0].text async for part in stream])

        alone = await streamed(max_tokens=40, seed=8)
        unwanted = [asyncio.create_task(streamed(seed=number, **LONG)) for number in range(6)]
        kept = asyncio.create_task(streamed(max_tokens=40, seed=8))
        await streamed(max_tokens=1, seed=1)
        for task in unwanted:
            task.cancel()
        assert await kept == alone
