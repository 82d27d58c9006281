"""The same server behind `llterm serve`: `make test-address ADDRESS=http://…` runs this too.

What its server cannot do is refused in a sentence, with OpenAI's error object; all else has answers
as those of a model in a file, with a tree on top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from time import sleep
from typing import Any

import httpx2
import pytest

from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import INTERVAL
from tests.helpers.served_api import events
from tests.helpers.served_program import ServedProgram, serving
from tests.helpers.server_trial import LOCAL_ROUNDING, ROUNDING, ServerTrial, by_text, check_alike

pytestmark = pytest.mark.server

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
FAR, NEAR = "behind", "near"
STORY = "Once upon a time there was a little"
BODY: Mapping[str, Any] = {"model": FAR, "prompt": STORY, "max_tokens": 8, "temperature": 0}
CHAT: Mapping[str, Any] = {
    "model": FAR, "messages": [{"role": "user", "content": "Tell of a fox."}], "max_tokens": 12,
}  # fmt: skip
TOOL = {"type": "function", "function": {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}},
                   "required": ["city"], "additionalProperties": False},
}}  # fmt: skip
RULES = ("--depth", "4", "--beams", "6", "--cutoff", "0.01", "--split-limit", "0", "--no-heal")


@pytest.fixture(scope="module")
def program(trial: ServerTrial) -> Iterator[ServedProgram]:
    """`llterm serve` with the server's model, and one of a file."""
    config = () if trial.config is None else ("--config", str(trial.config))
    models = ("-m", f"{trial.name},alias={FAR}", "-m", f"{trial.local or BUNDLED},alias={NEAR}")
    with serving(trial.home, *config, *models, "--metrics") as served:
        yield served


@pytest.fixture
def client(program: ServedProgram) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=program.address, timeout=120) as opened:
        yield opened


def answered(client: httpx2.Client, path: str, body: Mapping[str, Any]) -> Any:
    """The answer; None where the server cannot do it, which is said."""
    answer = client.post(path, json=body)
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert error["code"] == "unsupported_by_model", error
        assert error["message"]
        return None
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(answer: Any) -> Sequence[str]:
    return [choice["text"] for choice in answer["choices"]]


def test_texts_are_gone_on_with(trial: ServerTrial, client: httpx2.Client) -> None:
    (text,) = told(answered(client, COMPLETIONS, BODY))
    assert text
    if trial.local is not None:
        assert told(answered(client, COMPLETIONS, {**BODY, "model": NEAR})) == [text]
    streamed = client.post(COMPLETIONS, json={**BODY, "stream": True})
    parts = [part["choices"][0] for part in events(streamed.text)]
    assert "".join(part["text"] for part in parts) == text
    drawn = {**BODY, "prompt": [STORY, "A cat"], "n": 2, "temperature": 1, "seed": 3}
    assert len(told(answered(client, COMPLETIONS, drawn))) == 4
    (logprobs,) = [
        choice["logprobs"]
        for choice in answered(client, COMPLETIONS, {**BODY, "logprobs": 3})["choices"]
    ]
    assert all(logprob <= 0 for logprob in logprobs["token_logprobs"])
    echoed = answered(client, COMPLETIONS, {**BODY, "echo": True, "logprobs": 1})
    if echoed is not None:
        (choice,) = echoed["choices"]
        assert choice["text"] == STORY + text
        own = choice["logprobs"]["token_logprobs"][-len(logprobs["tokens"]) :]
        assert own == pytest.approx(logprobs["token_logprobs"], abs=ROUNDING)


def test_chats_are_answered_and_tools_called_where_they_have_to_be(client: httpx2.Client) -> None:
    (choice,) = answered(client, CHATS, CHAT)["choices"]
    assert choice["message"]["content"]
    tools = {**CHAT, "tools": [TOOL], "max_tokens": 120, "parallel_tool_calls": False}
    for wanted in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = answered(client, CHATS, {**tools, "tool_choice": wanted})
        if answer is None:
            continue
        (choice,) = answer["choices"]
        if choice["finish_reason"] == "length":
            continue
        (call,) = choice["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Oslo")
    (choice,) = answered(client, CHATS, {**tools, "tool_choice": "none"})["choices"]
    assert not choice["message"].get("tool_calls")


def test_a_mix_of_it_and_a_model_of_a_file_writes(client: httpx2.Client) -> None:
    answer = answered(client, COMPLETIONS, {**BODY, "model": f"mix:{FAR}+{NEAR}"})
    assert told(answer)[0]


def test_a_tree_on_top_is_the_one_without_llterm_between(
    trial: ServerTrial, program: ServedProgram
) -> None:
    asked = (*RULES, "--prompt", STORY)
    direct = by_text(trial.ask("suggest", *asked))
    through = by_text(trial.ask("suggest", *asked, models=[f"{program.address}#{FAR}"]))
    check_alike(direct, through, ROUNDING + LOCAL_ROUNDING)


def test_who_leaves_has_nothing_drawn_any_more(client: httpx2.Client) -> None:
    asked = {**BODY, "max_tokens": 300, "stream": True}
    with client.stream("POST", COMPLETIONS, json=asked) as answer:
        next(answer.iter_lines())
    while "llamacpp:requests_processing 0\n" not in client.get("/metrics").text:
        sleep(INTERVAL)
    answered(client, COMPLETIONS, BODY)
