"""A file that would end the program is found before it is loaded, once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from llterm import child_processes, paths
from llterm.backends.llamacpp import model_trial
from llterm.backends.llamacpp.gguf_header import check_vocabulary
from llterm.backends.registry import BUNDLED, MODELS, open_model
from llterm.config import Config
from llterm.errors import ModelError, UsageError
from tests.helpers.mutated_models import Change, changed, equal_tokens, scores, shortened, value
from tests.helpers.tiny_models import tiny_llama

TYPES = "tokenizer.ggml.token_type"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial can be made here: each would end early."""
    monkeypatch.setattr(child_processes, "_PROGRAM", "raise SystemExit(1)")


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (equal_tokens, "Tokens 5 and 98 are both"),
        (shortened(TYPES, 3), "269 tokens and 3 types"),
        (scores(1), "269 tokens and 1 scores"),
    ],
)
async def test_a_broken_vocabulary_is_found_in_the_header(
    tmp_path: Path, change: Change, cause: str
) -> None:
    path = changed(tmp_path / "a.gguf", change)
    with pytest.raises(ModelError, match="broken vocabulary") as raised:
        await open_model(str(path), Config())
    assert cause in raised.value.cause
    assert raised.value.hint


async def test_what_ends_the_trial_is_said(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.gguf", value("llama.block_count", 0))
    with pytest.raises(ModelError, match=r"a.gguf cannot be opened") as raised:
        await open_model(str(path), Config())
    assert "SIGABRT" in raised.value.cause
    assert "GGML_ASSERT" in raised.value.cause
    assert not paths.tried_file().exists()


async def test_a_file_is_tried_once_and_again_when_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_llama(tmp_path / "a.gguf")
    await (await open_model(str(path), Config())).close()
    monkeypatch.setattr(child_processes, "_PROGRAM", "raise SystemExit(1)")
    await (await open_model(str(path), Config())).close()
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match="cannot be opened"):
        await open_model(str(path), Config())


@pytest.mark.usefixtures("untried")
async def test_bundled_models_are_not_tried() -> None:
    for file in BUNDLED.values():
        await model_trial.try_file(MODELS / file)


async def test_what_is_remembered_is_bounded_and_may_be_broken(tmp_path: Path) -> None:
    for number in range(model_trial.MOST + 5):
        model_trial.remember([number])
    assert len(model_trial.remembered()) == model_trial.MOST
    assert model_trial.remembered()[-1] == [model_trial.MOST + 4]
    paths.tried_file().write_bytes(b"\xff{")
    path = tiny_llama(tmp_path / "a.gguf")
    await model_trial.try_file(path)
    assert len(model_trial.remembered()) == 1


async def test_giving_up_ends_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    monkeypatch.setattr(child_processes, "_PROGRAM", f"open({str(fifo)!r}, 'w'); input()")
    trying = asyncio.create_task(model_trial.try_file(tiny_llama(tmp_path / "a.gguf")))
    with await asyncio.to_thread(fifo.open) as alive:
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        # It ends when no process holds its other end.
        assert await asyncio.to_thread(alive.read) == ""


async def test_empty_tokens_may_be_equal(tmp_path: Path) -> None:
    """llama.cpp gives them names of their own."""

    def change(fields: dict[str, list[object]]) -> None:
        tokens = fields["tokenizer.ggml.tokens"][2]
        assert isinstance(tokens, list)
        tokens[5] = tokens[6] = ""

    path = changed(tmp_path / "a.gguf", change)
    check_vocabulary(path)
    await (await open_model(str(path), Config())).close()


@pytest.mark.parametrize("length", [0, 2**32 - 1])
async def test_a_model_that_does_not_say_its_context_has_a_usual_one(
    tmp_path: Path, length: int
) -> None:
    path = changed(tmp_path / "a.gguf", value("llama.context_length", length))
    backend = await open_model(str(path), Config())
    assert backend.capabilities.context >= 512
    await backend.close()


@pytest.mark.parametrize(
    ("flag", "number", "error"),
    [("threads", 1024, UsageError), ("context", 2**31, ModelError)],
)
async def test_what_this_machine_has_not_is_refused_before_it_is_taken(
    tmp_path: Path, flag: str, number: int, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        await open_model(BUNDLED_NAME, Config(), {flag: number})
    assert getattr(raised.value, "cause", "")
    assert getattr(raised.value, "hint", "")


BUNDLED_NAME = next(iter(BUNDLED))
