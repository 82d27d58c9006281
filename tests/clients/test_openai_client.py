"""OpenAI's own client against a real `llterm serve`."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.clients.served_names import ALIAS, KEY
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
PROMPT = "Once there was"


@pytest.fixture(scope="module")
def client(program: ServedProgram) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{program.address}/v1", api_key="none") as opened:
        yield opened


def test_a_stream_is_the_text_that_is_given_whole(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=12, seed=5)
    parts = list(
        client.completions.create(
            model=ALIAS, prompt=PROMPT, max_tokens=12, seed=5, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "".join(part.choices[0].text for part in parts if part.choices) == whole.choices[0].text
    assert parts[-1].usage is not None
    assert whole.usage is not None
    assert parts[-1].usage.total_tokens == whole.usage.total_tokens


def test_choices_come_by_prompt_and_number(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=ALIAS, prompt=[PROMPT, "The old man"], n=2, max_tokens=4, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_a_prompt_is_scored_by_its_echo(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=ALIAS, prompt=PROMPT, echo=True, logprobs=3, max_tokens=0
    )
    facts = answer.choices[0].logprobs
    assert answer.choices[0].text == PROMPT
    assert facts is not None
    assert facts.tokens is not None
    assert facts.token_logprobs is not None
    assert facts.text_offset is not None
    assert facts.token_logprobs[0] is None
    assert all(value <= 0 for value in facts.token_logprobs[1:])
    assert len(facts.tokens) == len(facts.token_logprobs) == len(facts.text_offset)


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
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=ALIAS, prompt=PROMPT * 500)
    with pytest.raises(openai.BadRequestError) as gap:
        client.completions.create(model=ALIAS, prompt=PROMPT, suffix="end")
    assert gap.value.param == "suffix"


def test_a_wrong_key_is_raised_and_the_right_one_taken(locked: ServedProgram) -> None:
    with openai.OpenAI(base_url=f"{locked.address}/v1", api_key="wrong") as wrong:
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        right = wrong.with_options(api_key=KEY)
        assert right.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=1).choices


def test_a_stream_that_is_closed_leaves_the_server_to_others(client: openai.OpenAI) -> None:
    for _ in range(6):
        with client.completions.create(
            model=ALIAS, prompt=PROMPT, max_tokens=200, stream=True, extra_body={"ignore_eos": True}
        ) as stream:
            next(iter(stream))
    assert client.completions.create(model=ALIAS, prompt=PROMPT, max_tokens=2).choices
