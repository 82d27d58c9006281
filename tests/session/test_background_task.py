"""One job at a time: it ends, fails, is stopped, is started again, fails while it is stopped."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llterm.errors import LltermError
from llterm.session.background_task import BackgroundTask, Reason


class Listener:
    """A task, and what was heard of its jobs."""

    def __init__(self) -> None:
        self.heard: list[Reason] = []
        self.begun = asyncio.Event()
        self.let_go = False
        self.task = BackgroundTask("The job failed", self.heard.append)

    async def forever(self) -> Reason:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.let_go = True
        return ""

    async def fails_when_stopped(self) -> Reason:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it was stopped")


async def done() -> Reason:
    return ""


async def gives_way() -> Reason:
    return "gave way"


async def refused() -> Reason:
    raise LltermError("No", "", "")


async def broken() -> Reason:
    raise ZeroDivisionError("by none")


async def test_the_end_of_a_job_is_heard_once_and_nothing_runs_then() -> None:
    at = Listener()
    for job in (done, gives_way):
        at.task.start(job)
        assert at.task.running
        await at.task.wait()
        assert not at.task.running
    assert at.heard == ["", "gave way"]
    await at.task.wait()
    assert not at.task.stop()


async def test_what_a_job_raises_is_its_reason() -> None:
    at = Listener()
    at.task.start(refused)
    await at.task.wait()
    (error,) = at.heard
    assert isinstance(error, LltermError)
    assert error.title == "No"


async def test_what_no_one_foresaw_is_an_error_with_a_title_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = Listener()
    at.task.start(broken)
    await at.task.wait()
    (error,) = at.heard
    assert isinstance(error, LltermError)
    assert (error.title, error.cause) == ("The job failed", "ZeroDivisionError: by none")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.levelno == logging.ERROR


async def test_a_stopped_job_is_heard_of_no_more() -> None:
    at = Listener()
    at.task.start(at.forever)
    await at.begun.wait()
    assert at.task.stop()
    assert not at.task.running
    assert not at.let_go
    await at.task.close()
    assert at.let_go
    assert at.heard == []


async def test_a_job_that_is_stopped_before_it_began_never_begins() -> None:
    at = Listener()
    at.task.start(at.forever)
    at.task.stop()
    await at.task.close()
    assert not at.begun.is_set()
    assert at.heard == []


async def test_a_job_in_the_place_of_another_is_not_ended_by_it() -> None:
    at = Listener()
    at.task.start(at.fails_when_stopped)
    await at.begun.wait()
    at.begun.clear()
    at.task.start(at.forever)
    await at.begun.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert at.task.running
    assert at.heard == []
    await at.task.close()


async def test_failing_while_it_is_stopped_goes_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = Listener()
    at.task.start(at.fails_when_stopped)
    await at.begun.wait()
    at.task.stop()
    await at.task.close()
    assert at.heard == []
    assert [record.getMessage() for record in caplog.records] == ["The job failed"]


async def test_who_hears_of_an_end_may_start_again() -> None:
    heard: list[Reason] = []

    def again(reason: Reason) -> None:
        heard.append(reason)
        if len(heard) < 3:
            task.start(gives_way)

    task = BackgroundTask("The job failed", again)
    task.start(gives_way)
    while task.running:
        await task.wait()
    assert heard == ["gave way"] * 3


async def test_a_job_may_stop_itself() -> None:
    at = Listener()

    async def stops() -> Reason:
        at.task.stop()
        return "not heard"

    at.task.start(stops)
    await at.task.wait()
    await at.task.close()
    assert not at.task.running
    assert at.heard == []
