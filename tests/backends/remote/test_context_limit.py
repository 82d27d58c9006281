"""How much a model sees, where its server tells that only by refusing a text that is too long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from llterm.backends.remote import server_connection
from llterm.backends.remote.context_limit import ContextLimit, context_limit
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.server_faults import refusal
from llterm.backends.remote.transport import RequestRefused
from llterm.config import Config
from llterm.config.server_settings import ServerSettings
from llterm.core.pieces import Run
from llterm.core.prompt import Prompt, draft_prompt
from llterm.core.query import Fact, Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.weave import sees_less
from llterm.jobs.request import Request
from llterm.jobs.sample import SampleOptions, sample
from llterm.jobs.score import ScoreOptions, score
from llterm.jobs.suggest import suggest
from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.fake_servers import CompletionsServer, EchoServer, MlxServer
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.foreign_servers import open_foreign
from tests.helpers.http_model import HttpModel
from tests.helpers.little_model import Server, cut

OPENAI = (
    "This model's maximum context length is {n} tokens, however you requested {sum} tokens ({m} in"
    " your prompt; {answer} for the completion). Please reduce your prompt; or completion length."
)
LLAMA = "request ({m} tokens) exceeds the available context size ({n} tokens), try increasing it"
LITELLM = (
    "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError:"
    ' Text-completion-openaiException - {{"error":{{"code":400,"message":"' + LLAMA + '"}}}}'
)
WORDINGS = {
    "OpenAI, llama-cpp-python": (OPENAI, True),
    "llama-cpp-python's chat": (
        "This model's maximum context length is {n} tokens. However, you requested {sum} tokens"
        " ({m} in the messages, {answer} in the completion). Please reduce the length of the"
        " messages or completion.",
        True,
    ),
    "OpenAI's chat": (
        "This model's maximum context length is {n} tokens. However, your messages resulted in {m}"
        " tokens. Please reduce the length of the messages.",
        True,
    ),
    "OpenRouter": (
        "This endpoint's maximum context length is {n} tokens. However, you requested about {sum}"
        " tokens ({m} of text input, {answer} in the output). Please reduce the length of either"
        " one.",
        True,
    ),
    "vLLM": (
        "You passed {m} input tokens and requested {answer} output tokens. However, the model's"
        " context length is only {n} tokens, resulting in a maximum input length of 2047 tokens."
        " Please reduce the length of the input prompt. (parameter=input_tokens, value={m})",
        True,
    ),
    "vLLM, 2025": (
        "This model's maximum context length is {n} tokens. However, your request has {m} input"
        " tokens. Please reduce the length of the input messages.",
        True,
    ),
    "vLLM, 2024": (
        "The decoder prompt (length {m}) is longer than the maximum model length of {n}. Make sure"
        " that `max_model_len` is no smaller than the number of text tokens.",
        True,
    ),
    "llama.cpp's server": (LLAMA, True),
    "LiteLLM": (LITELLM, True),
    "SGLang": (
        "The input ({m} tokens) is longer than the model's context length ({n} tokens).",
        True,
    ),
    "SGLang's sum": (
        "Requested token count exceeds the model's maximum context length of {n} tokens. You"
        " requested a total of {sum} tokens: {m} tokens from the input messages and {answer} tokens"
        " for the completion.",
        True,
    ),
    "text-generation-webui": (
        "The token count of your prompt ({m}) + max_tokens ({answer}) cannot exceed the model's"
        " context length ({n}).",
        True,
    ),
    "llama-cpp-python itself": ("Requested tokens ({m}) exceed context window of {n}", True),
    "TGI": ("Input validation error: `inputs` must have less than {n} tokens. Given: {m}", True),
    "TGI's sum": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= {n}. Given: {m}"
        " `inputs` tokens and {answer} `max_new_tokens`",
        True,
    ),
    "TabbyAPI": ("Prompt length {m} is greater than max_seq_len {n}", True),
    "Mistral": (
        "Prompt contains {m} tokens and 0 draft tokens, too large for model with {n} maximum"
        " context length",
        True,
    ),
    "Gemini": (
        "The input token count ({m}) exceeds the maximum number of tokens allowed ({n}).",
        True,
    ),
    "LM Studio": (
        "Trying to keep the first {m} tokens when context the overflows. However, the model is"
        " loaded with context length of only {n} tokens, which is not enough.",
        True,
    ),
    "Anthropic": ("prompt is too long: {m} tokens > {n} maximum", True),
    "no count": ("This model's maximum context length is {n} tokens.", False),
    "no count, either": ("Your prompt is longer than the model's context length of {n}.", False),
}
NUMBERS = {"n": 2048, "m": 3902, "sum": 3905, "answer": 3}
OTHERS = (
    "n is 99, at most 20",
    "Requested sample logprobs of 1000, which is greater than max allowed: 20",
    "logprobs must be of type bool",
    "max_tokens is too large: 9000. This model supports at most 4096 completion tokens.",
    "Token id 1048543 is out of vocabulary",
    "Rate limit reached for requests: 2048 tokens per min",
    "",
)


def refused(data: Any) -> RequestRefused:
    return refusal(400, data, "http://server", "")


@pytest.mark.parametrize(("wording", "counted"), WORDINGS.values(), ids=WORDINGS)
def test_every_servers_wording_is_understood(wording: str, counted: bool) -> None:
    words = wording.format(**NUMBERS)
    expected = ContextLimit(2048, 3902 if counted else None)
    # As OpenAI, FastAPI and Ollama wrap it.
    for data in ({"error": {"message": words}}, {"detail": [{"msg": words}]}, {"error": words}):
        assert context_limit(refused(data)) == expected
    grouped = wording.format(**{name: f"{value:,}" for name, value in NUMBERS.items()})
    assert context_limit(refused({"error": {"message": grouped}})) == expected


def test_llama_cpp_says_it_in_numbers_too() -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "message": "too long",
             "n_prompt_tokens": 3902, "n_ctx": 2048}  # fmt: skip
    assert context_limit(refused({"error": error})) == ContextLimit(2048, 3902)


@pytest.mark.parametrize("words", OTHERS)
def test_another_refusal_says_nothing_of_the_context(words: str) -> None:
    assert context_limit(refused({"error": {"message": words}})) is None


class Narrow(Server):
    """A model that sees 600 tokens, and says so only when it is asked for more."""

    sees: ClassVar[int] = 600
    words: ClassVar[str] = OPENAI
    counts: ClassVar[int] = 1
    """How many tokens the server makes of one of the little model's."""
    longest = 0
    refusals = 0

    def checked(self, body: Mapping[str, Any]) -> None:
        longest = max(len(one) for one in self.prompts_of(body["prompt"])) * self.counts
        answer = body["max_tokens"]
        if longest >= self.sees:
            self.refusals += 1
            words = self.words.format(n=self.sees, m=longest, sum=longest + answer, answer=answer)
            raise refused({"error": {"message": words}})
        self.longest = max(self.longest, longest)


class NarrowEcho(Narrow, EchoServer):
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if "prompt" in body:
            self.checked(body)
        return super().answer(path, body)


class NarrowCompletions(Narrow, CompletionsServer):
    words = LITELLM

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/completions":
            self.checked(body)
        return super().answer(path, body)


class FinerCompletions(NarrowCompletions):
    """Its tokens are smaller than those that llterm makes of a text."""

    counts = 2


class UncountedCompletions(NarrowCompletions):
    words = "This model's maximum context length is {n} tokens."
    counts = 3


KINDS = (NarrowEcho, NarrowCompletions, FinerCompletions, UncountedCompletions)
STORY = b"Once the fox slept." * 400
RULES = WeaveSettings(depth=3, cutoff=0.1, beams=3)


async def opened(server: Any) -> RemoteBackend:
    return await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)


def prompt_of(backend: RemoteBackend, story: bytes) -> Prompt:
    context = backend.capabilities.context
    prompt = draft_prompt([Run(story)], "", backend.vocabulary, RULES, context)
    known = prompt.known(backend.vocabulary)
    assert known is not None
    return known


@pytest.mark.parametrize("kind", KINDS)
async def test_the_story_is_cut_to_what_the_model_sees(kind: Any) -> None:
    server = kind()
    backend = await opened(server)
    guess = prompt_of(backend, STORY)
    prompt = guess
    while await sees_less(backend, prompt):
        prompt = prompt_of(backend, STORY)
    assert len(prompt.tokens) < len(guess.tokens)
    assert prompt.sight.dropped > guess.sight.dropped
    # Nothing is refused any more, and what fits was not cut too far.
    before = server.refusals
    (answer,) = [
        one async for one in backend.ask([Query(Path(Anchor(prompt.tokens), ()), ahead=2)])
    ]
    assert isinstance(answer, Fact), answer
    assert server.refusals == before
    assert server.longest >= server.sees / 3
    assert not await sees_less(backend, prompt)
    assert dict(backend.explained)["context"] == "600 tokens"
    assert backend.news.context == 600


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_in_the_middle_is_learned_from(kind: Any) -> None:
    """A story that grew past what fits: the branch fails once, and says what to do."""
    server = kind()
    backend = await opened(server)
    path = Path(Anchor(prompt_of(backend, STORY).tokens), ())
    (answer,) = [one async for one in backend.ask([Query(path)])]
    assert isinstance(answer, Failed)
    assert answer.error.title == "The story is longer than this model sees"
    assert "600 tokens" in answer.error.cause
    assert backend.capabilities.context <= server.sees


async def test_a_short_story_is_tried_by_nothing() -> None:
    server = NarrowCompletions()
    backend = await opened(server)
    asked = len(server.requests)
    assert not await sees_less(backend, prompt_of(backend, b"Once the fox slept."))
    assert len(server.requests) == asked


async def test_it_is_remembered(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path))
    server = NarrowCompletions()

    async def wire(*_: Any, **__: Any) -> Any:
        return server

    monkeypatch.setattr(server_connection, "open_transport", wire)
    settings = ServerSettings(("http://server",))
    first = await open_foreign("tiny", settings)
    assert await sees_less(first, prompt_of(first, STORY))
    await first.close()
    again = await open_foreign("tiny", settings)
    assert again.capabilities.context == server.sees
    assert dict(again.explained)["context"] == "600 tokens"


@pytest.mark.parametrize("kind", KINDS)
async def test_commands_go_on_from_the_end_and_say_so(kind: Any) -> None:
    model = kind()
    async with FaultyServer(HttpModel(model)) as server:
        # No path of these rules ends inside a character, which text could not say.
        request = Request(Config(), (server.url,), STORY, rules={"cutoff": 0.3})
        suggested = await suggest(request)
        assert suggested.view.suggestions
        assert suggested.sight.dropped
        told = suggested.sight.dropping(suggested.context)
        assert re.fullmatch(r"The model sees the last .* are beyond its context of \d+\.", told)
        drawn = await sample(request, SampleOptions(count=1, tokens=2))
        assert drawn.samples[0].tokens
        assert drawn.sight.dropped


@pytest.mark.parametrize("kind", KINDS)
async def test_the_app_weaves_and_samples_from_the_end(kind: Any) -> None:
    rules = WeaveSettings(depth=3, cutoff=0.3, beams=3)
    server = kind()
    session = Session(Document.scratch(STORY, rules))
    session.attach(await opened(server))
    session.weave()
    await session.wait()
    assert session.view is not None
    assert session.view.suggestions
    sight = session.figures.sight
    assert sight is not None
    assert sight.dropped
    assert session.figures.context <= server.sees
    assert session.status.error is None
    # From then on nothing is refused.
    refusals = server.refusals
    session.samples.start(1, 2, sentence=False)
    await session.samples.task.wait()
    session.stop()
    assert server.refusals == refusals


async def test_a_text_is_scored_in_windows_that_fit() -> None:
    model = NarrowEcho()
    async with FaultyServer(HttpModel(model)) as server:
        scored = await score(Request(Config(), (server.url,), STORY), ScoreOptions(top=1))
    assert scored.tokens == len(cut(STORY))
    assert len(scored.readings) == scored.tokens - 1
    assert scored.window < model.sees
    assert model.refusals == 1


async def test_a_server_without_a_limit_is_asked_as_before() -> None:
    server = MlxServer()
    backend = await opened(server)
    assert not await sees_less(backend, prompt_of(backend, STORY))
    assert "a guess" in dict(backend.explained)["context"]
