"""Autopilot: rounds of weaving and accepting that can be stopped."""

from __future__ import annotations

import asyncio

from llterm.core.weave_settings import WeaveSettings
from llterm.session.session import Session
from tests.helpers.sessions import TEXT, Gate, session

SHORT = WeaveSettings(depth=4, beams=5)


async def flown(begun: Session, rounds: int) -> Session:
    begun.autopilot.start(rounds)
    await begun.autopilot.task.wait()
    return begun


async def test_it_takes_the_best_suggestion_of_each_round() -> None:
    by_hand = session(rules=SHORT)
    for _ in range(3):
        by_hand.weave()
        await by_hand.wait()
        assert by_hand.view is not None
        by_hand.accept(by_hand.view.suggestions[0].tail)
    begun = await flown(session(rules=SHORT), 3)
    assert begun.document.text == by_hand.document.text
    assert begun.autopilot.left == 0
    begun.undo()
    begun.undo()
    begun.undo()
    assert begun.document.text == TEXT.decode()


async def test_a_stop_keeps_what_was_taken() -> None:
    gate = Gate(1)
    begun = session(gate=gate, rules=SHORT)
    begun.autopilot.start(50)
    await gate.reached.wait()
    begun.autopilot.stop()
    gate.opened.set()
    assert not begun.autopilot.running
    assert not begun.weaving
    text = begun.document.text
    begun.weave()
    await begun.wait()
    assert begun.document.text == text


async def test_an_edit_ends_it() -> None:
    gate = Gate(1)
    said: list[object] = []
    begun = session(gate=gate, rules=SHORT)
    begun.autopilot.ended = said.append
    begun.autopilot.start(50)
    await gate.reached.wait()
    end = len(begun.document.text)
    begun.edit(end, end, "!")
    gate.opened.set()
    await asyncio.wait_for(begun.autopilot.task.wait(), 60)
    assert begun.document.text.endswith("!")
    assert said == ["the autopilot gave way to you"]
