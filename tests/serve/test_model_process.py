"""A served model's process: what ends it, and what its clients see of that."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llterm import child_processes
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.cli.serve import status_line
from llterm.config import Config
from llterm.core.distribution import Mask
from llterm.core.query import Fact, Failed, Query
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Anchor, text_bytes
from llterm.core.tokens import Path as TokenPath
from llterm.engine.generation import GenerationRequest
from llterm.errors import BackendUnavailable, LltermError, ModelError, UsageError
from llterm.jobs.request import Request
from llterm.jobs.suggest import SuggestResult, suggest
from llterm.serve.model_frames import FromModel, ModelOpened, WriteChat, frame, read_answers
from llterm.serve.model_process import ModelProcess, open_process
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.server_status import StatusLooks
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.model_processes import kill_at_any_moment, model_process, opening
from tests.helpers.polling import until
from tests.helpers.served_api import events, served
from tests.helpers.served_program import serving
from tests.helpers.tiny_models import tiny_llama

PATH = "/v1/completions"
STORY = b"The forest seemed darker than usual, but"
LONG = {"max_tokens": 450, "ignore_eos": True}
SAMPLING = Sampling()


async def test_a_crash_ends_streams_with_an_error_and_the_next_request_is_answered() -> None:
    async with model_process() as model, served(model) as api:

        async def stream(seed: int) -> list[Any]:
            body = {**LONG, "prompt": "Once upon a time", "seed": seed, "stream": True}
            async with api.client.stream("POST", PATH, json=body) as answer:
                return events((await answer.aread()).decode())

        first = model.pid
        asked = [asyncio.create_task(stream(seed)) for seed in range(2)]
        await until(lambda: model.running == 2)
        os.kill(first, signal.SIGABRT)
        for parts in asked:
            error = (await parts)[-1]["error"]
            assert error["code"] == "model_unavailable"
            assert "SIGABRT" in error["message"]
        health = await api.client.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "loading", "loading": 1})
        answer = await api.ask(PATH, prompt="Once upon a time", max_tokens=3)
        assert answer["usage"]["completion_tokens"] == 3
        assert (await api.client.get("/health")).json() == {"status": "ok"}
        assert model.pid != first


async def test_no_text_crosses_where_the_process_is_killed_at_any_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Ends with answers between them are none in a row.
    monkeypatch.setattr("llterm.serve.model_process.MOST_ENDS", 2)
    await kill_at_any_moment(kills=2, requests=4)


async def test_a_killed_server_leaves_no_process(tmp_path: Path) -> None:
    with serving(tmp_path, "-m", "fable") as program:
        (child,) = program.children
        program.process.kill()
        await until(lambda: not alive(child))


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(state.stdout.strip()) and "Z" not in state.stdout


def test_a_process_ends_with_its_pipe() -> None:
    """Also where the system does not end it with its parent."""
    with subprocess.Popen(
        child_processes.command("llterm.serve.model_child"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame([opening()]))
        process.stdin.flush()
        parts: list[FromModel] = []
        while not any(isinstance(part, ModelOpened) for part in parts):
            size = int.from_bytes(process.stdout.read(4), "big")
            parts += read_answers(process.stdout.read(size))
        process.stdin.close()
        assert not process.stdout.read()


async def test_ctrl_c_ends_the_server_and_its_process(tmp_path: Path) -> None:
    with serving(tmp_path, "-m", "fable") as program:
        (child,) = program.children
        assert os.getpgid(child) != os.getpgid(program.process.pid)
        program.end(signal.SIGINT)
        await until(lambda: not alive(child))


async def test_what_a_draft_wrote_ahead_is_counted() -> None:
    body = {"prompt": "Once upon a time", "seed": 3, "max_tokens": 24, "n": 2}
    async with model_process(draft="fable-q8_0") as model, served(model) as api:
        first, second = [await api.ask(PATH, **body) for _ in range(2)]
        assert second["choices"] == first["choices"]
        told = [answer["usage"]["completion_tokens_details"] for answer in (first, second)]
        assert all(details["accepted_prediction_tokens"] > 0 for details in told)
        assert all(details["rejected_prediction_tokens"] >= 0 for details in told)
        accepted = sum(details["accepted_prediction_tokens"] for details in told)
        assert api.state.counts.accepted_tokens == accepted
        status = StatusLooks(api.state).look(0.0)
        assert f"{status.accepted_tokens / status.proposed_tokens:.0%} of drafts" in status_line(
            status, 200
        )


async def test_a_draft_that_cannot_be_one_is_told_before_anything_is_served(
    tmp_path: Path,
) -> None:
    other = tiny_llama(tmp_path / "other.gguf")
    with pytest.raises(UsageError, match="other tokens than fable"):
        await open_process(opening(draft=str(other)))


async def test_a_file_that_is_no_model_is_told_as_in_process(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(BUNDLED.read_bytes()[:5000])
    with pytest.raises(ModelError) as here:
        await open_llama(file)
    with pytest.raises(ModelError) as there:
        await open_process(opening(file))
    assert str(there.value) == str(here.value)


def ended(model: ModelProcess, pid: int) -> bool:
    """Whether this process is followed by another, or by none."""
    return model.pid != pid or model.state == "failed"


async def test_a_model_whose_process_ends_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llterm.serve.model_process.MOST_ENDS", 2)
    async with model_process() as model:
        for _ in range(2):
            await until(lambda: model.state == "ok")
            pid = model.pid
            os.kill(pid, signal.SIGKILL)
            await until(partial(ended, model, pid))
        assert model.state == "failed"
        with pytest.raises(BackendUnavailable, match="cannot be kept alive"):
            await model.vocabulary.tokenize(b"text")


async def test_a_fault_in_it_is_in_the_servers_log_without_anybodys_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with model_process() as model:
        with pytest.raises(LltermError, match="The model failed") as fault:
            await model.one_part(lambda number: WriteChat(number, '{"secret'))
        assert "JSONDecodeError" in fault.value.cause
    (line,) = [each for each in caplog.messages if "The model failed" in each]
    assert "in the process of fable: " in line
    assert "read_conversation" in line
    assert "secret" not in line


async def test_who_leaves_frees_what_was_drawn_for_him() -> None:
    async with model_process() as model:
        tokens = await model.vocabulary.tokenize(b"Once upon a time")
        request = GenerationRequest((*model.vocabulary.prefix, *tokens), SAMPLING, most=400)
        async with aclosing(model.generate(request)) as drawn:
            async for _ in drawn:
                break
        before = model.spent.tokens
        answers = await all_of(model.ask([Query(TokenPath(Anchor(request.prompt)))]))
        assert len(answers) == 1
        assert model.spent.tokens - before < 100
        assert model.running == 0


async def all_of(answers: Any) -> list[Any]:
    async with aclosing(answers) as given:
        return [answer async for answer in given]


async def asked_everything(backend: LlamaBackend | ModelProcess) -> list[object]:
    """What a backend with all of a model says to one question of each kind, in plain values."""
    tokens = (*backend.vocabulary.prefix, *await backend.vocabulary.tokenize(b"The old forest was"))
    anchor = Anchor(tokens)
    allowed = np.zeros(backend.vocabulary.size, bool)
    allowed[100:200] = True
    queries = [
        Query(TokenPath(anchor), keep=8, full=True),
        Query(TokenPath(anchor, (300,)), keep=8, mask=Mask(allowed)),
        Query(TokenPath(anchor, (301,) * 20_000)),
    ]
    said: list[object] = []
    for ask, asked in ((backend.ask, queries), (backend.ask_beside, queries[1:2])):
        for answer in sorted(await all_of(ask(asked)), key=lambda one: len(one.path.tail)):
            assert any(answer.path is query.path for query in queries)
            if isinstance(answer, Failed):
                said.append(str(answer.error))
            else:
                assert isinstance(answer, Fact)
                said.append(plain(answer.distribution))
    said += [plain(one.distribution) for one in await all_of(backend.score(tokens, 2, 5))]
    said += [plain(one) for one in await all_of(backend.score_columns(tokens))]
    said += [plain(one) for one in await all_of(backend.rows(tokens))]
    said.append(plain(await backend.attention(tokens, 2, 3)))
    return said


def plain(value: Any) -> list[object]:
    """Its fields, but for costs, which depend on what was asked before."""
    names = [name for name in value.__slots__ if name != "cost"]
    fields = [getattr(value, name) for name in names]
    return [one.tolist() if isinstance(one, np.ndarray) else one for one in fields]


async def test_every_question_has_the_answer_that_it_has_in_process() -> None:
    async with model_process() as model:
        there = await asked_everything(model)
    here_model = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    try:
        here = await asked_everything(here_model)
        assert model.capabilities == here_model.capabilities
        assert model.vocabulary.fingerprint == here_model.vocabulary.fingerprint
    finally:
        await here_model.close()
    assert there == here


@pytest.mark.parametrize(
    "ask", [lambda model: model.rows((1, 2)), lambda model: model.score((1, 2))]
)
async def test_questions_end_where_the_process_does(ask: Callable[[ModelProcess], Any]) -> None:
    async with model_process() as model:
        os.kill(model.pid, signal.SIGSTOP)
        asked = asyncio.create_task(all_of(ask(model)))
        await asyncio.sleep(0)
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(LltermError, match="ended"):
            await asked


async def test_another_llterm_weaves_on_it_as_in_process() -> None:
    alone = await suggest(Request(Config(), ("fable",), STORY))
    limits = ServeLimits(drain_seconds=0)
    async with model_process(limits) as model, served(model, limits=limits) as api:
        over = await suggest(Request(Config(), (api.address,), STORY))
    assert texts(over) == texts(alone)


def texts(result: SuggestResult) -> dict[bytes, float]:
    """Joint natural logprob by text."""
    return {
        text_bytes(result.vocabulary, each.tail): each.logprob for each in result.view.suggestions
    }
