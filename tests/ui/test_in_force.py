"""What is in force is said in the header, belongs to its loom, and comes back with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llterm.constraints.spec import choices
from llterm.core.bans import Bans
from tests.helpers.driven_app import Start

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
