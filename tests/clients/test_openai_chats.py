"""Chats by OpenAI's own client against a real `llterm serve`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
ASKED: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": "Of a fox"},
]


@pytest.fixture(scope="module")
def client(roomy: ServedProgram) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{roomy.address}/v1", api_key="none") as opened:
        yield opened


def test_a_streamed_reply_is_the_one_that_is_given_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=ALIAS, messages=ASKED, max_tokens=12, seed=5)
    parts = list(
        client.chat.completions.create(
            model=ALIAS, messages=ASKED, max_completion_tokens=12, seed=5, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert parts[0].choices[0].delta.role == "assistant"
    told = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert told == whole.choices[0].message.content
    assert whole.usage is not None
    assert parts[-1].usage is not None
    assert parts[-1].usage.total_tokens == whole.usage.total_tokens


def test_the_clients_own_accumulator_takes_the_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=ALIAS, messages=ASKED, seed=5, logprobs=True, top_logprobs=3,
        extra_body={"regex_pattern": "A fox[.]"},
    ) as stream:  # fmt: skip
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert final.choices[0].message.content == said == "A fox."
    logprobs = final.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert {len(token.top_logprobs) for token in logprobs.content} == {3}


class Fox(BaseModel):
    """What a reply is parsed into."""

    colour: Literal["red", "white"]
    tail: bool


def test_a_reply_is_parsed_into_a_type(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model=ALIAS, messages=ASKED, response_format=Fox, seed=1)
    assert isinstance(answer.choices[0].message.parsed, Fox)
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=ALIAS, messages=ASKED, response_format=Fox, max_tokens=2
        )


def test_calls_of_tools_are_parsed_and_answered(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Fox)
    answer = client.chat.completions.parse(
        model=ALIAS, messages=ASKED, tools=[tool], tool_choice="required", seed=1,
        parallel_tool_calls=False,
    )  # fmt: skip
    message = answer.choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert isinstance(call.function.parsed_arguments, Fox)
    answered: list[ChatCompletionMessageParam] = [
        *ASKED,
        {"role": "assistant", "tool_calls": [
            {"id": call.id, "type": "function",
             "function": {"name": call.function.name, "arguments": call.function.arguments}}
        ]},
        {"role": "tool", "tool_call_id": call.id, "content": "It ran."},
    ]  # fmt: skip
    told = client.chat.completions.create(
        model=ALIAS, messages=answered, tools=[tool], tool_choice="none", max_tokens=4
    )
    assert told.choices[0].message.content


def test_the_clients_own_accumulator_takes_streamed_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=ALIAS, messages=ASKED, tools=[openai.pydantic_function_tool(Fox)], seed=1,
        tool_choice={"type": "function", "function": {"name": "Fox"}},
    ) as stream:  # fmt: skip
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    assert final.choices[0].finish_reason == "tool_calls"
    (call,) = final.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Fox)


def test_what_is_wrong_with_a_chat_is_raised_by_its_place(client: openai.OpenAI) -> None:
    picture: ChatCompletionMessageParam = {
        "role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]
    }  # fmt: skip
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=ALIAS, messages=[picture])
    assert refused.value.param == "messages[0].content[0].image_url"
    with pytest.raises(openai.BadRequestError) as many:
        client.chat.completions.create(
            model=ALIAS, messages=ASKED, logprobs=True, top_logprobs=21, stream=True
        )
    assert many.value.param == "top_logprobs"
