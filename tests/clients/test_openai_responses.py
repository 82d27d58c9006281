"""Responses by OpenAI's own client against a real `llterm serve`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

import openai
import pytest
from pydantic import BaseModel

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def client(program: ServedProgram) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{program.address}/v1", api_key="none") as opened:
        yield opened


def test_a_response_is_read_and_its_stream_is_the_same(client: openai.OpenAI) -> None:
    whole = client.responses.create(
        model=ALIAS, input="Of a fox", instructions="Tell stories.", max_output_tokens=12,
        extra_body={"seed": 5}, include=["message.output_text.logprobs"], top_logprobs=2,
    )  # fmt: skip
    assert whole.output_text
    assert whole.usage is not None
    assert whole.usage.output_tokens == 12
    with client.responses.stream(
        model=ALIAS, input="Of a fox", instructions="Tell stories.", max_output_tokens=12,
        extra_body={"seed": 5},
    ) as stream:  # fmt: skip
        events = list(stream)
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == whole.output_text
    assert events[-1].type == "response.incomplete"


def test_the_clients_own_accumulator_takes_a_stream_that_ends(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model=ALIAS, input=[{"role": "user", "content": "Of a fox"}],
        extra_body={"regex_pattern": "A fox[.]"},
    ) as stream:  # fmt: skip
        final = stream.get_final_response()
    assert (final.status, final.output_text) == ("completed", "A fox.")


class Fox(BaseModel):
    """What a response is parsed into."""

    colour: Literal["red", "white"]
    tail: bool


def test_a_response_is_parsed_into_a_type(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model=ALIAS, input="A fox", text_format=Fox)
    assert isinstance(answer.output_parsed, Fox)


def test_an_answer_that_is_sent_back_is_taken(client: openai.OpenAI) -> None:
    first = client.responses.create(model=ALIAS, input="Of a fox", max_output_tokens=4)
    second = client.responses.create(
        model=ALIAS, max_output_tokens=4,
        input=[
            {"role": "user", "content": "Of a fox"},
            *(cast(Any, item.to_dict()) for item in first.output),
            {"role": "user", "content": "Go on"},
        ],
    )  # fmt: skip
    assert second.output_text


def test_memory_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=ALIAS, input="a", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
