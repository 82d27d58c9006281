"""A batch's model draws as many rows at once as memory has room for, and is known again."""

from __future__ import annotations

from typing import Any

import pytest

from llterm.config import Config
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.jobs.batch_answers import RowAnswers
from llterm.jobs.batch_models import SlotOptions, opened_answers
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE
from llterm.serve.batch_bodies import BodyAnswers
from llterm.serve.request_rules import RequestRules

ROOM = 512
"""Tokens of a slot. One takes 3 KiB in the bundled model's cache, of type f16."""


async def opened(slots: SlotOptions, **overrides: Any) -> tuple[int, dict[str, Any]]:
    """How many rows at once, and what the model is."""
    parallels: list[int] = []

    def answering(generator: Generator, backend: Backend, parallel: int) -> RowAnswers:
        parallels.append(parallel)
        return BodyAnswers(generator, backend, RequestRules(), parallel)

    request = Request(Config(), ("fable",), overrides=overrides)
    async with opened_answers(request, slots, answering, SILENCE) as model:
        return parallels[0], dict(model.facts)


@pytest.mark.parametrize(("mib", "parallel"), [(128, 64), (40, 16), (12, 4)])
async def test_as_many_rows_at_once_as_memory_has_room_for(mib: int, parallel: int) -> None:
    assert (await opened(SlotOptions(None, ROOM, mib << 20)))[0] == parallel


async def test_slots_share_a_cache_size_and_what_changes_figures_makes_another_model() -> None:
    usual = await opened(SlotOptions(None, ROOM), cache_size=20 * ROOM)
    quantised = await opened(SlotOptions(7, ROOM), kv_type="q8_0")
    assert (usual[0], quantised[0]) == (16, 7)
    changes = {name for name, value in usual[1].items() if quantised[1][name] != value}
    assert changes == {"kv_type"}
