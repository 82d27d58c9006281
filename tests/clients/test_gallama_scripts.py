"""The scripts of gallama's own document against `llterm serve`, word for word but for the address
and, where models are loaded, the operator's key: one for each of its sections that has one."""

# ruff: noqa: T201  (they print)

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as XML

import httpx2
import openai
import pytest

from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import until
from tests.helpers.served_program import ServedProgram, serving

pytestmark = pytest.mark.clients
EMBEDDER = "Alibaba-NLP/gte-large-en-v1.5"
LATER = ("qwen-2-72B", "gemma-2-9b", "multilingual-e5-large-instruct")
OPERATOR = "operators-key"
thinking_template = """
<chain_of_thought>
  <problem>{problem_statement}</problem>
  <initial_state>{initial_state}</initial_state>
  <steps>
    <step>{action1}</step>
    <step>{action2}</step>
    <!-- Add more steps as needed -->
  </steps>
  <answer>Provide the answer</answer>
  <final_answer>Only the final answer, no need to provide the step by step problem solving</final_answer>
</chain_of_thought>
"""  # noqa: E501
APPLES = (
    "I went to the market and bought 10 apples. I gave 2 apples to the neighbor and 2 to the "
    "repairman. I then went and bought 5 more apples and ate 1. How many apples did I remain with?"
)
QUICKSORT: Any = [
    {
        "role": "user",
        "content": "Explain in one liner what quicksort is and write me quicksort in python and "
        "Java",
    }
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """The models of the scripts: all of them are the bundled one."""
    home = tmp_path_factory.mktemp("gallama")
    (home / "later").mkdir()
    for name in LATER:
        (home / f"later/{name}.gguf").symlink_to(BUNDLED)
    for name in ("mistral", "codestral"):
        (home / f"{name}.gguf").symlink_to(BUNDLED)
    with serving(
        home, "-m", f"{home}/mistral.gguf,chat_template=chatml",
        "-m", f"{home}/codestral.gguf,chat_template=chatml", "--alias", f"{EMBEDDER}=mistral",
        "--model-folder", str(home / "later"), "--slot-context", "640", "--parallel", "2",
        "--seed", "1", "--admin-key-env", "OPERATOR", OPERATOR=OPERATOR,
    ) as opened:  # fmt: skip
        yield opened
        code, said = opened.end()
        assert code == 0, said


@pytest.fixture(scope="module")
def client(program: ServedProgram) -> Iterator[openai.OpenAI]:
    os.environ["OPENAI_API_KEY"] = "test"
    with openai.OpenAI(base_url=f"{program.address}/v1") as opened:
        yield opened
    del os.environ["OPENAI_API_KEY"]


def test_openai_compatible_server(client: openai.OpenAI) -> None:
    messages: Any = [
        {
            "role": "user",
            "content": "Which is faster in terms of reaction speed: a cat or a dog?",
        }
    ]

    completion = client.chat.completions.create(
        model="mistral", messages=messages, tool_choice="auto"
    )

    print(completion)
    assert completion.choices[0].message.content


@pytest.mark.parametrize("tool_choice", ["auto", "required"])
def test_function_calling(client: openai.OpenAI, tool_choice: Any) -> None:
    """With `auto` it is the model's choice, and the bundled one never calls."""
    tools: Any = [
        {
            "type": "function",
            "function": {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "location": {
                            "type": "string",
                            "description": "The city and state, e.g. San Francisco, CA",
                        },
                        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                    },
                    "required": ["location"],
                },
            },
        }
    ]

    messages: Any = [{"role": "user", "content": "What's the weather like in Boston today?"}]

    completion = client.chat.completions.create(
        model="mistral", messages=messages, tools=tools, tool_choice=tool_choice
    )

    message = completion.choices[0].message
    if tool_choice == "auto":
        assert message.content or message.tool_calls
        return
    assert message.tool_calls is not None
    call: Any = message.tool_calls[0]
    print(call.function)
    assert call.function.name == "get_current_weather"
    if completion.choices[0].finish_reason == "tool_calls":
        assert '"location"' in call.function.arguments


def test_artifacts(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="codestral",
        messages=QUICKSORT,
        extra_body={
            "artifact": "Fast",
        },
    )

    seen = []
    for choice in completion.choices:
        message: Any = choice.message
        print("-------------------------------\n")
        print(message.artifact_meta)
        print(message.content)
        seen.append(message.artifact_meta["tag_type"])
    assert set(seen) <= {"text", "artifact"}
    assert seen


def test_streamed_artifacts(client: openai.OpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    completion = client.chat.completions.create(
        model="codestral",
        messages=QUICKSORT,
        stream=True,
        extra_body={
            "artifact": "Fast",
        },
    )

    current_content_type = None
    chunk: Any
    for chunk in completion:
        if current_content_type != chunk.choices[0].delta.artifact_meta["tag_type"]:
            print("\n------------------------------")
            print(chunk.choices[0].delta.artifact_meta)
            print("\n------------------------------")
            current_content_type = chunk.choices[0].delta.artifact_meta["tag_type"]
        print(chunk.choices[0].delta.content, end="")
    assert current_content_type in ("text", "artifact")
    assert "None" not in capsys.readouterr().out


@pytest.mark.parametrize("shown", [None, "separate"])
def test_thinking_method(client: openai.OpenAI, shown: str | None) -> None:
    messages: Any = [{"role": "user", "content": APPLES}]

    completion = client.chat.completions.create(
        model="mistral",
        messages=messages,
        temperature=0.1,
        max_tokens=200 if shown is None else 480,
        extra_body={
            "thinking_template": thinking_template,
            **({} if shown is None else {"return_thinking": shown}),
        },
    )

    message: Any = completion.choices[0].message
    print(message.content)
    assert "<chain_of_thought>" not in message.content
    if shown is not None:
        assert message.thinking.startswith("<chain_of_thought>")
        if message.content:
            root = XML.fromstring(message.thinking)
            assert [part.tag for part in root] == [
                "problem", "initial_state", "steps", "answer", "final_answer"
            ]  # fmt: skip


def test_mixture_of_experts(client: openai.OpenAI) -> None:
    """Its section has no script: the fields are those that its server reads."""
    completion: Any = client.chat.completions.create(
        model="mistral",
        messages=[{"role": "user", "content": APPLES}],
        max_tokens=40,
        extra_body={
            "mixture_of_agents": {
                "agent_list": [
                    "codestral",
                    {"model": "mistral", "thinking_template": "<plan>{idea}</plan>"},
                ]
            }
        },
    )
    assert completion.choices[0].message.content
    assert [agent["model"] for agent in completion.mixture_of_agents] == ["codestral", "mistral"]


def test_embeddings(client: openai.OpenAI) -> None:
    response = client.embeddings.create(
        input="Your text string for embedding goes here", model="Alibaba-NLP/gte-large-en-v1.5"
    )

    print(response.data[0].embedding)
    assert sum(value**2 for value in response.data[0].embedding) == pytest.approx(1, abs=1e-5)


def test_legacy_completions(client: openai.OpenAI) -> None:
    completion = client.completions.create(
        model="mistral",
        prompt="Tell me a story about a Llama in 200 words",
        max_tokens=1000,
        temperature=0,
    )
    assert completion.choices[0].text


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"leading_prompt": "Answer: "}, ""),
        ({"regex_pattern": r"(Yes|No)\. It is [a-z]{3,9}\."}, r"(Yes|No)\. It is [a-z]{3,9}\."),
        ({"regex_prefix_pattern": r"(Yes|No)\."}, r"(?s)(Yes|No)\..*"),
        ({"prefix_strings": ["Yes,", "No,"]}, r"(?s)(Yes|No),.*"),
        ({"stop_words": [" the"]}, r"(?s).* the"),
    ],
)
def test_format_enforcement(client: openai.OpenAI, more: dict[str, Any], fits: str) -> None:
    completion = client.chat.completions.create(
        model="mistral",
        messages=[{"role": "user", "content": "Is smoking bad for health? Answer with Yes or No"}],
        temperature=0.1,
        max_tokens=200,
        extra_body=more,
    )
    content = completion.choices[0].message.content
    assert content is not None
    if fits and completion.choices[0].finish_reason == "stop":
        assert re.fullmatch(fits, content)
    assert "Answer: " not in content[:8]


def test_streaming(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Tell me a 200-word story about a Llama"}]

    completion = client.chat.completions.create(
        model="mistral",
        messages=messages,
        stream=True,
        temperature=0.1,
    )

    told = ""
    for chunk in completion:
        print(chunk.choices[0].delta.content, end="")
        told += chunk.choices[0].delta.content or ""
    assert told


@pytest.mark.parametrize("gpus", [False, True])
def test_remote_model_management(program: ServedProgram, client: openai.OpenAI, gpus: bool) -> None:
    """As written it asks for four GPUs: where there are none the load says so."""
    api_url = f"{program.address}/add_model"

    payload: list[dict[str, Any]] = [
        {
            "model_id": "qwen-2-72B",
            "gpus": [22, 22, 4, 0],
            "cache_size": 32768,
        },
        {
            "model_id": "gemma-2-9b",
            "gpus": [0, 0, 0, 12],
            "cache_size": 32768,
        },
        {
            "model_id": "multilingual-e5-large-instruct",
            "gpus": [0, 0, 0, 5],
        },
    ]
    if not gpus:
        for each in payload:
            del each["gpus"]

    key = {"Authorization": f"Bearer {OPERATOR}"}
    response = httpx2.post(api_url, json=payload, headers=key)
    assert response.status_code == 200, response.text
    task = f"{program.address}/task_status/{response.json()['task_id']}"

    def told() -> str:
        return str(httpx2.get(task, headers=key).json()["status"])

    asyncio.run(until(lambda: told() == "completed" or told().startswith("failed"), 5))
    if gpus and told() != "completed":
        assert "GPU" in told()
        return
    assert told() == "completed"
    for name in LATER:
        assert client.completions.create(model=name, prompt="A", max_tokens=1).choices
        removed = httpx2.post(
            f"{program.address}/remove_model", json={"model_id": name}, headers=key
        )
        assert removed.status_code == 200, removed.text
