"""Coroutines run to their end from code that is not asynchronous."""

from __future__ import annotations

import asyncio
import signal

import pytest

from llterm.event_loop import run_coroutine


class LongResult:
    """A result that notes each time its text is asked for."""

    def __init__(self) -> None:
        self.written_out = 0

    def __repr__(self) -> str:
        self.written_out += 1
        return "long"


def test_a_result_is_handed_over_and_never_written_out() -> None:
    made = LongResult()

    async def job() -> LongResult:
        return made

    assert run_coroutine(job()) is made
    assert made.written_out == 0


def test_an_error_comes_out_as_it_was_raised() -> None:
    error = ValueError("of the job")

    async def job() -> None:
        raise error

    with pytest.raises(ValueError, match="of the job") as raised:
        run_coroutine(job())
    assert raised.value is error


def test_an_interrupt_cancels_the_job_which_ends_first() -> None:
    ended = []

    async def job() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run_coroutine(job())
    assert ended == ["closed"]
