"""Answers that no server should give: redirects to nowhere, cookies, packings, numbers, names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.remote import discovery
from llterm.backends.remote.answer import LARGEST, AnswerValue, parse
from llterm.backends.remote.cassette import read_cassette
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.steps import ServerTraits
from llterm.backends.remote.transport import BadAnswer, RequestRefused
from llterm.config.server_settings import ServerSettings
from llterm.core.json_text import DEEPEST
from llterm.errors import BackendUnavailable, LltermError, UsageError
from tests.helpers.fake_servers import LlamaServer
from tests.helpers.faulty_server import (
    FaultyServer,
    MakeWire,
    Step,
    hang,
    redirect,
    reply,
    status,
    whole,
)

NUMBERS: tuple[Any, ...] = (3_000_000_000, -1, 10**39, 1.5, True, None, "7", [], {})


@pytest.mark.parametrize("value", [*NUMBERS, [-1], [256], [0.5], [True], ["a"], [0] * 100_000])
def test_only_a_list_of_bytes_is_a_tokens_bytes(value: Any) -> None:
    if value == []:
        assert AnswerValue(value).exact() == b""
        return
    with pytest.raises(BadAnswer):
        AnswerValue(value, "bytes").exact()


@pytest.mark.parametrize("value", NUMBERS)
def test_a_whole_number_has_a_range(value: Any) -> None:
    with pytest.raises(BadAnswer):
        AnswerValue(value, "id").whole()
    assert AnswerValue(LARGEST).whole() == LARGEST


def test_lists_in_lists_have_an_end() -> None:
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST)
    for deep in (DEEPEST + 5, 5000):
        with pytest.raises(BadAnswer, match="too deep"):
            parse(b'[1, {"a": ' * deep + b"1" + b"}]" * deep)


@pytest.mark.parametrize("name", ["bytes", "id", "logprob", "index", "tokens_predicted"])
@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_of_a_candidate_are_what_they_should_be_or_a_bad_answer(
    name: str, value: Any
) -> None:
    server = LlamaServer()
    body = {"prompt": [1], "n_predict": 1, "n_probs": 3}
    answer = json.loads(json.dumps(server.answer("/completion", body)))
    place = answer if name in answer else answer["completion_probabilities"][0]["top_logprobs"][0]
    place[name] = value
    llama = _llama()
    try:
        steps = list(llama.read(answer))
    except BadAnswer:
        return
    for step in steps:
        for candidate in step.listed:
            assert isinstance(candidate.id, int)
            assert 0 <= candidate.id <= LARGEST
            assert candidate.data is None or len(candidate.data) < 100


def _llama() -> Any:
    from llterm.backends.remote.dialects.llama import LlamaDialect

    return LlamaDialect(ServerTraits("llama.cpp", "tiny", 512))


@pytest.mark.parametrize("target", ["", "http://[broken", "http://127.0.0.1:x/", "//127.0.0.1:1/"])
async def test_a_redirect_to_nowhere_is_an_error_in_words(wire: MakeWire, target: str) -> None:
    step = redirect(target) if target else whole(b"", 307)
    async with FaultyServer(step) as server:
        with pytest.raises(RequestRefused, match="elsewhere"):
            await wire(server.url).post("/completion", {})


async def test_cookies_are_not_sent_back(wire: MakeWire) -> None:
    async with FaultyServer(reply({}, Set_Cookie="taste=sweet; Path=/")) as server:
        transport = wire(server.url)
        for _ in range(3):
            await transport.get("/props")
        assert not any("cookie" in request.headers for request in server.requests)


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd", "\x07odd"])
async def test_what_was_not_offered_is_not_unpacked(wire: MakeWire, packing: str) -> None:
    async with FaultyServer(whole(b"{}", Content_Encoding=packing)) as server:
        with pytest.raises(LltermError) as caught:
            await wire(server.url).get("/props")
        assert "\x07" not in str(caught.value)


MODELS = reply({"data": [{"id": "tiny", "owned_by": "someone"}]})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (whole(b'{"choices": [-Infinity]}'), "-Infinity"),
        (status(422, "logprobs must be a boolean"), "logprobs must be a boolean"),
        (whole(b"<html>Sign in</html>"), "<html>Sign in"),
        (reply({"error": {"code": 400, "message": "no model is loaded"}}), "no model is loaded"),
    ],
)
async def test_the_most_telling_fault_is_shown(wire: MakeWire, fault: Step, words: str) -> None:
    """Of completions and chat, whose address is missing."""

    async def step(request: Any, writer: Any) -> None:
        found = {"/v1/models": MODELS, "/v1/completions": fault}.get(request.path, status(404))
        await found(request, writer)

    async with FaultyServer(step) as server:
        with pytest.raises(LltermError) as caught:
            await connect("tiny", wire(server.url), ServerSettings((server.url,)), fresh=True)
    assert words in str(caught.value)
    assert "/v1/completions" in caught.value.cause
    assert server.url in str(caught.value)


async def test_a_server_that_never_answers_is_told_as_slow(
    wire: MakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as none: something took the connection."""
    monkeypatch.setattr(discovery, "PATIENCE", 0.05)
    async with FaultyServer(hang()) as server:
        with pytest.raises(BackendUnavailable) as caught:
            await connect("tiny", wire(server.url), ServerSettings((server.url,)), fresh=True)
    assert "takes too long" in caught.value.title
    assert "/v1/models" in caught.value.cause
    assert "No answer within" in caught.value.cause
    assert "timeout" not in caught.value.hint, "that setting has no part in a first look"


async def test_a_missing_address_that_is_slow_hides_no_fault(
    wire: MakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 0.2)
    fault = whole(b"<html>Sign in</html>")

    async def step(request: Any, writer: Any) -> None:
        found = {"/v1/models": MODELS, "/v1/completions": fault, "/props": hang()}
        await found.get(request.path, status(404))(request, writer)

    async with FaultyServer(step) as server:
        with pytest.raises(LltermError, match="cannot be read") as caught:
            await connect("tiny", wire(server.url), ServerSettings((server.url,)), fresh=True)
    assert "<html>Sign in" in caught.value.cause


def test_names_that_a_server_says_are_inert() -> None:
    traits = ServerTraits("srv\x1b[2J", "m\x07\x9b" + "x" * 5000, 512)
    assert (traits.server + traits.model).isprintable()
    assert len(traits.model) <= 200
    with pytest.raises(BadAnswer) as caught:
        _ = AnswerValue({"\x1b[31m": 1})["\x1b[31m"]["x"]
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "head", [{"dialect": "klingon\x1b[2J"}, {"parallel": 0}, {"parallel": 10**12}, {"dialect": 7}]
)
def test_a_recording_with_odd_settings_is_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    file = tmp_path / "some.cassette"
    good = {"llterm_cassette": 1, "dialect": "auto", "model": None, "parallel": 4}
    file.write_text(json.dumps(good | head), "utf-8")
    with pytest.raises(UsageError) as caught:
        read_cassette(file)
    assert "Line 1" in caught.value.cause
    assert "\x1b" not in str(caught.value)
