"""Reading a server's JSON: what is wrong is told with its place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.backends.remote.answer import AnswerValue, parse
from llterm.backends.remote.transport import BadAnswer, StreamTokenCount, tokens_of
from tests.helpers.faulty_server import FaultyServer, MakeWire, events, raw, reply

DATA = {"choices": [{"text": "a", "logprobs": [-1, -0.5], "end": None, "ok": True}]}


def test_parts_know_where_they_stand() -> None:
    choice = AnswerValue(DATA)["choices"][0]
    assert choice["text"].text() == "a"
    assert [one.number() for one in choice["logprobs"].items()] == [-1.0, -0.5]
    assert choice["logprobs"][-2].whole(-1) == -1
    assert choice.get("end") is None
    assert choice.get("nothing") is None
    assert choice["ok"].value is True
    assert AnswerValue("x\ud83d").text() == "x\ufffd"


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda top: top["choices"]["text"], "choices is a list, not an object"),
        (lambda top: top["choices"][0]["text"].number(), "choices[0].text is a text, not a number"),
        (lambda top: top["choices"][0]["ok"].number(), "choices[0].ok is true or false"),
        (lambda top: top["choices"][0]["ok"].whole(), "not a whole number"),
        (lambda top: top["choices"][0]["logprobs"][1].whole(), "logprobs[1] is a number, not a wh"),
        (lambda top: top["choices"][0]["end"].text(), "choices[0].end is null, not a text"),
        (lambda top: top["choices"][2], "choices has 1 entries, no 2"),
        (lambda top: top["usage"], "the answer has no usage"),
        (lambda top: top[0], "the answer is an object, not a list"),
        (lambda top: [*top.items()], "the answer is an object, not a list"),
        (lambda top: top["choices"].get("x"), "choices is a list, not an object"),
        (lambda top: AnswerValue(10**400, "n").number(), "n is too large"),
    ],
)
def test_wrong_types_are_told_with_their_place(read: Any, words: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read(AnswerValue(DATA))
    assert words in caught.value.cause


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20)
    | st.floats(allow_nan=True, allow_infinity=True),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=50)
@given(JSON)
def test_finite_json_is_read_and_no_other(data: Any) -> None:
    text = json.dumps(data)
    finite = all(math.isfinite(one) for one in _floats(data))
    if finite:
        assert parse(text.encode()) == data
    else:
        with pytest.raises(BadAnswer, match="not a finite number"):
            parse(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_bad_answer(data: bytes) -> None:
    problem = ""
    try:
        parse(data)
    except BadAnswer as error:
        problem = error.cause
    assert not problem or problem.isprintable()


def _floats(data: Any) -> list[float]:
    if isinstance(data, dict):
        return [number for value in data.values() for number in _floats(value)]
    if isinstance(data, list):
        return [number for value in data for number in _floats(value)]
    return [data] if isinstance(data, float) else []


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}, (9, 2)),
        ({"usage": {"input_tokens": 9, "output_tokens": 2}}, (9, 2)),
        ({"tokens_evaluated": 9, "tokens_predicted": 2, "content": "x"}, (9, 2)),
        ([{"tokens_evaluated": 9}, {"tokens_evaluated": 1, "tokens_predicted": 2}], (10, 2)),
        ({"prompt_eval_count": 9, "eval_count": 2}, (9, 2)),
        ([{"meta_info": {"prompt_tokens": 9, "completion_tokens": 2}}], (9, 2)),
        ({"usage": None}, (0, 0)),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": True}}, (0, 0)),
        ({"usage": {"usage": {"prompt_tokens": 3}}}, (0, 0)),
        ("text", (0, 0)),
        (None, (0, 0)),
    ],
)
def test_tokens_in_the_words_of_each_server(data: Any, tokens: tuple[int, int]) -> None:
    assert tokens_of(data) == tokens


async def test_the_counter(wire: MakeWire) -> None:
    answer = {"usage": {"prompt_tokens": 1_000_000, "completion_tokens": 500_000}}
    async with FaultyServer(reply(answer), raw(events({"a": 1}, answer))) as server:
        transport = wire(server.url, price_prompt=0.5, price_answer=2.0)
        free = wire(server.url)
        await transport.post("/v1/completions", {"n": 1})
        assert transport.spent.cost == pytest.approx(1.5)
        assert [event async for event in transport.stream("/v1/completions", {})]
        spent = transport.spent
        assert (spent.prompt_tokens, spent.answer_tokens) == (2_000_000, 1_000_000)
        assert (spent.requests, spent.retries, spent.bytes_sent) == (2, 0, 9)
        assert spent.cost == pytest.approx(3.0)
        assert spent.bytes_received > len(json.dumps(answer))
        assert spent.summary().startswith(
            "2 requests; 2,000,000 tokens of prompts and 1,000,000 of"
        )
        assert spent.summary().endswith("; 3.0000 by your prices")
        assert free.spent.cost is None


def test_sums_so_far_are_counted_once() -> None:
    """llama.cpp's parts of two lines, then their ends; OpenAI's usage in the last part alone."""

    def part(index: int, predicted: int) -> dict[str, Any]:
        return {"index": index, "tokens_evaluated": 9, "tokens_predicted": predicted}

    tally = StreamTokenCount()
    parts = [part(0, 1), part(1, 1), part(0, 2), part(0, 3), part(1, 2), part(0, 3), part(1, 2)]
    counts = [tally.new(one) for one in parts]
    assert tuple(map(sum, zip(*counts, strict=True))) == (18, 5)
    other = StreamTokenCount()
    last = {"usage": {"prompt_tokens": 7, "completion_tokens": 4}}
    answer: list[Any] = [{"choices": []}, last, None]
    assert [other.new(one) for one in answer] == [(0, 0), (7, 4), (0, 0)]
