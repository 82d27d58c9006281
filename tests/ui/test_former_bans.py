"""What an older llterm banned in every loom is offered to the open one, once, and never lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from llterm import paths
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import Sampling
from llterm.session import looms
from llterm.session.document import Document
from llterm.session.former_bans import NAMES, ban_lines, former_bans, with_bans
from llterm.state import read_state
from llterm.store.stored_settings import read_sampling
from llterm.ui.dialogs.former_bans_dialog import FormerBansDialog
from llterm.ui.dialogs.looms_dialog import LoomsDialog
from tests.helpers.driven_app import STORY, Driven, Start, drawn

OLD = """
model = "scripted"
[weave]
depth = 3
[sampling]
ban = ["lamp", "river"]
ban_newline = true
bias = [" cat=-5"]
[ui]
theme = "paper"
"""
NO_BANS = 'model = "scripted"\n[weave]\ndepth = 3\n'


def write_state(text: str) -> None:
    paths.made(paths.state_dir())
    paths.state_file().write_text(text, encoding="utf-8")


def own(at: Driven) -> Sampling:
    """What the loom holds."""
    return read_sampling(at.session.document.sampling) or Sampling()


async def test_taken_they_are_in_the_loom_and_one_undo_takes_them_back(start: Start) -> None:
    write_state(OLD)
    async with start() as at:
        await at.opened(FormerBansDialog)
        shown = "\n".join(drawn(at.app.screen))
        for said in ("ban 'lamp'", "ban 'river'", "ban_newline", "bias ' cat=-5'"):
            assert said in shown
        assert not at.session.sampling.bans
        await at.press("y")
        taken = own(at)
        assert taken.bans == Bans(newline=True, phrases=("lamp", "river"))
        assert taken.bias == ((" cat", -5.0),)
        assert "3 bans · 1 bias" in at.line("name")
        assert "model, weave.depth" in at.notices[0].message
        await at.press("ctrl+z")
        assert not at.session.sampling.bans
        assert not at.session.sampling.bias
    assert set(read_state().values) == {"ui.theme"}
    async with start() as at:
        assert at.app.screen is at.main, "it is asked once"
        assert not at.notices


@pytest.mark.parametrize("key", ["n", "escape"])
async def test_dropped_they_are_nowhere(start: Start, key: str) -> None:
    write_state(OLD)
    async with start() as at:
        await at.opened(FormerBansDialog)
        await at.press(key)
        assert own(at) == Sampling()
    assert not read_state().former


async def test_who_leaves_without_an_answer_is_asked_again(start: Start) -> None:
    write_state(OLD)
    async with start() as at:
        await at.opened(FormerBansDialog)
        await at.press("enter", "x", "ctrl+q")
        assert at.app.screen is at.main
        assert at.story == STORY
    assert paths.state_file().read_text(encoding="utf-8") == OLD


async def test_who_is_offered_looms_first_is_asked_about_the_one_that_is_gone_on_with(
    start: Start, tmp_path: Path
) -> None:
    Document.create(tmp_path / "boat.loom", b"A boat").close()
    looms.remember(tmp_path / "boat.loom")
    write_state(OLD)
    start.offer = True
    async with start("") as at:
        dialog = await at.opened(LoomsDialog)
        await at.until(lambda: dialog.options.option_count)
        await at.press("escape")
        await at.opened(FormerBansDialog)


async def test_a_loom_that_cannot_be_written_is_not_asked_about(
    start: Start, tmp_path: Path
) -> None:
    write_state(OLD)
    path = tmp_path / "cat.loom"
    holder = Document.create(path, b"The cat")
    document = looms.open_loom(path, 0)
    assert document.read_only
    document.close()
    async with start() as at:
        assert at.session.document.read_only
        assert at.app.screen is at.main
    holder.close()
    assert read_state().former


async def test_without_bans_the_rest_is_said_once(start: Start) -> None:
    write_state(NO_BANS)
    async with start() as at:
        await at.until(lambda: at.notices)
        assert at.app.screen is at.main
        assert "model, weave.depth" in at.notices[0].message
    assert not read_state().former


async def test_a_broken_state_file_is_set_aside_and_offers_nothing(start: Start) -> None:
    write_state("[sampling")
    async with start() as at:
        await at.press("!")
        assert at.app.screen is at.main
        assert at.story.endswith("!")


@pytest.mark.parametrize(
    ("written", "offered"),
    [
        ("sampling = 3", []),
        ('[sampling]\nban = 3\nbias = ["x"]\nban_newline = "no"', []),
        ('[sampling]\nban = ["lamp", ""]\nban_capitals = true', ["ban_capitals"]),
        ('[sampling]\nban = ["lamp"]\nbias = ["a=nan"]', ["ban 'lamp'"]),
        ('[sampling.ban]\nban = ["lamp"]', []),
    ],
)
def test_of_a_state_file_that_is_wrong_what_can_be_read_is_offered(
    written: str, offered: list[str]
) -> None:
    write_state(written)
    assert ban_lines(former_bans(read_state().former)) == offered


def test_they_join_those_of_the_loom() -> None:
    own = Sampling(bans=Bans(capitals=True, phrases=("river", "boat")), bias=((" cat", 2.0),))
    added = Sampling(
        bans=Bans(newline=True, phrases=("lamp", "river")), bias=((" cat", -5.0), ("a", 1.0))
    )
    assert with_bans(own, added) == Sampling(
        bans=Bans(newline=True, capitals=True, phrases=("river", "boat", "lamp")),
        bias=((" cat", 2.0), ("a", 1.0)),
    )


def test_every_ban_there_is_can_be_offered() -> None:
    """A new kind of ban in `llterm.toml` is one that an older state file may hold some day."""
    every = Sampling(
        bans=Bans(newline=True, capitals=True, refusals=True, phrases=("a",)), bias=(("b", 1.0),)
    )
    assert len(dataclasses.fields(Bans)) + 1 == len(NAMES) == len(ban_lines(every))
    former = {
        "sampling.ban": ["a"], "sampling.bias": ["b=1"], "sampling.ban_newline": True,
        "sampling.ban_capitals": True, "sampling.ban_refusals": True,
    }  # fmt: skip
    assert former_bans(former) == every
    assert with_bans(Sampling(), every) == every
