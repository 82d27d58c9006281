"""What is in force is said in the header, belongs to its loom, and comes back with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.llamacpp.kernel_switches import KernelSwitches
from llterm.constraints.spec import choices
from llterm.core.bans import Bans
from llterm.core.kernels import KernelDrift, Kernels
from llterm.core.query import Backend
from llterm.session.inspection import born_at
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.driven_app import Start

FAST = LlamaSettings(
    threads=1,
    switches=KernelSwitches(exact=False),
    kernels=Kernels("fast", KernelDrift(64, 0.001, 0.002), "no doubled rows"),
)
STORY = "Once upon a time there was a little fox."
CHOICES = choices([" sat by the lamp", " slept"])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_header_says_what_is_in_force(start: Start, size: tuple[int, int]) -> None:
    async with start(size=size) as at:
        bans = Bans(newline=True, phrases=("lamp",))
        at.session.set_sampling(replace(at.session.sampling, bans=bans))
        at.session.set_prefix("A tale of a cat.")
        await at.session.set_constraint(CHOICES)
        await at.press("ctrl+j")
        await at.until(lambda: not at.session.weaving and at.told)
        assert "2 bans · memory " in at.line("name")
        assert "· choice" in at.line("name")
        assert at.line("model").startswith("scripted")


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_fast_kernels_are_said_in_the_header_and_kept_with_what_they_made(
    start: Start, size: tuple[int, int]
) -> None:
    async def opening(_: Callable[[float], None]) -> Backend:
        return await open_llama(BUNDLED, FAST)

    start.opening = opening
    async with start(STORY, size=size) as at:
        await at.until(lambda: at.notices)
        assert "0.002 at worst" in at.notices[0].message
        await at.weave()
        assert "fast kernels" in at.line("name")
        await at.press("tab")
        document = at.session.document
        born = born_at(document, len(STORY))
        assert born is not None
        assert born.fast


async def test_a_constraint_is_the_looms_after_a_restart_and_undone_as_settings_are(
    start: Start,
) -> None:
    async with start() as at:
        await at.session.set_constraint(CHOICES)
    async with start() as at:
        assert at.session.constraint == CHOICES
        at.session.undo()
        assert at.session.constraint is None
        at.session.redo()
        assert at.session.constraint == CHOICES
        await at.weave()
        assert "choices" in at.line("found")
        at.session.undo()
        assert at.session.stale
        at.session.redo()
        assert not at.session.stale
