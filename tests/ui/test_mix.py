"""The mix screen by keys: models side by side, on real sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.weave_settings import WeaveSettings
from llterm.engine import ensemble
from llterm.engine.mixture import Mix
from llterm.errors import BackendUnavailable, UsageError
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.mix.mix_screen import MixScreen
from llterm.ui.mix.mix_view import MEASURES
from llterm.ui.mix.model_columns import ModelCharts, ModelColumns
from tests.helpers.driven_app import Driven, Progress, Start, drawn
from tests.helpers.known_tokens import tokens_of
from tests.helpers.mix_models import STORY, Endless, Few, Hanging, Mortal

SIZES = [(80, 24), (120, 40), (60, 15)]


@asynccontextmanager
async def side_by_side(
    start: Start,
    models: Sequence[Endless],
    mode: Mode = "democratic",
    size: tuple[int, int] = (80, 24),
) -> AsyncIterator[tuple[Driven, MixScreen]]:
    async def mixed(progress: Progress) -> Backend:
        return Mix(models, Recipe(mode, OpinionPool((1.0,) * len(models))), forgiving=True)

    start.opening, start.rules = mixed, WeaveSettings(heal=False)
    async with start(STORY, size=size) as at:
        at.session.set_sampling(at.session.sampling.under("greedy", PRESETS))
        await at.press("alt+x")
        screen = await at.opened(MixScreen)
        await read(at, screen)
        yield at, screen


async def stepped(at: Driven, screen: MixScreen, count: int) -> None:
    """Step so many times, each on screen before the next."""
    for _ in range(count):
        size = len(screen.mixing.pieces) + 1
        await at.press("full_stop")
        await at.until(partial(_holds, screen, size))


def _holds(screen: MixScreen, size: int) -> bool:
    return len(screen.mixing.pieces) == size


async def read(at: Driven, screen: MixScreen) -> None:
    await at.until(lambda: screen.mixing.looked and not screen.mixing.waiting)
    await at.until(lambda: screen.begun)


def marks(screen: MixScreen) -> list[str]:
    return [word.mark for word in screen.story.words]


def shown(screen: MixScreen) -> str:
    """Everything that stands on the screen."""
    return "\n".join(drawn(screen))


@pytest.mark.parametrize("size", SIZES)
async def test_steps_are_marked_by_model_and_can_be_undone(
    start: Start, size: tuple[int, int]
) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)], "round-robin", size) as (at, screen):
        before, count = at.story, len(screen.mixing.pieces)
        await stepped(at, screen, 3)
        await read(at, screen)
        assert [piece.by for piece in screen.mixing.pieces[count:]] == [0, 1, 0]
        await at.until(lambda: screen.number == len(screen.mixing.pieces))
        await at.until(lambda: ["A", "B", "A"] in map(str.split, shown(screen).splitlines()))
        assert "that of random-1, random-2 in turn" in shown(screen)
        await at.press("u", "u", "u")
        assert at.story == before
        assert at.main.editor.text == before


async def test_play_writes_on_until_it_is_paused(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, screen):
        at.session.player.speed = 50.0
        await at.press("p")
        await at.until(lambda: at.session.player.drawn >= 5)
        await at.until(lambda: "playing, 50 tokens a second" in shown(screen))
        await at.press("p")
        assert not at.session.player.playing
        assert at.main.editor.text == at.story


async def test_mode_pool_weights_and_turn_by_keys(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, screen):
        mix = screen.mix
        await at.press("o", "tab", "tab", "minus", "minus", "minus", "minus", "minus")
        assert mix.recipe.pool == OpinionPool((1.0, -0.25), "log")
        await at.until(lambda: "random-2(x)^-0.3333" in shown(screen))
        await at.press("minus", "minus", "minus")
        await at.until(lambda: "The weights do not add up to more than 0" in shown(screen))
        assert mix.recipe.pool.weights == (1.0, -0.75)
        await at.press("x")
        assert mix.recipe.pool.weights == (1.0, 0.0)
        await at.until(lambda: "left out" in shown(screen))
        await at.press("x", "m", "minus")
        await at.until(lambda: "weight 0.75: counts in the democratic mode" in shown(screen))
        await at.press("t")
        assert (mix.recipe.mode, mix.recipe.turn) == ("round-robin", 2)
        await at.press("R")
        assert (mix.recipe.mode, mix.recipe.reference) == ("reference", 1)


async def test_the_plausibility_cutoff_by_key(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, screen):
        await at.press("P")
        assert screen.mix.recipe.pool.plausible == 0.2
        await at.until(lambda: "counts where a weight is below 0" in shown(screen))
        await at.press("tab", "tab", *["minus"] * 6)
        await at.until(lambda: "≥ 0.2·max random-1" in " ".join(shown(screen).split()))
        assert "plausible from 0.2" in shown(screen)
        await at.press("P", "P")
        await at.until(lambda: "plausible from 0.01" in shown(screen))


async def test_a_candidate_is_put_in_place_and_the_old_text_is_a_branch(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, screen):
        old = at.story
        await at.press("left", "left", "down")
        chosen, number = screen.candidate, screen.number
        assert chosen is not None
        await at.press("enter")
        await at.until(lambda: len(screen.mixing.pieces) == number + 1)
        assert at.story != old
        assert at.session.document.runs_before(len(at.story))[-1].ids == (chosen,)
        await at.press("left", "b")
        assert at.story == old
        await at.press("end", "backspace")
        assert old.startswith(at.story)
        assert at.story != old
        assert at.main.editor.text == at.story


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_difference_is_one_key_away(start: Start, size: tuple[int, int]) -> None:
    models = [Endless(1), Endless(1, 2.5)]
    async with side_by_side(start, models, "reference", size) as (at, screen):
        assert screen.number == 0
        tokens = models[0].vocabulary.prefix + tokens_of(models[0].vocabulary, STORY)
        firsts = [[int(model.logprobs(tokens[:n]).argmax()) for model in models]
                  for n in range(1, len(tokens) + 1)]  # fmt: skip
        differing = [n for n, (first, other) in enumerate(firsts) if first != other]
        await at.press("n")
        expected = next((n for n in differing if n > 0), 0)
        assert screen.number == expected
        await at.until(lambda: "would say" in shown(screen))
        await at.press("v", "v", "N", "w")
        assert "reference" in shown(screen)


async def test_a_model_that_dies_is_a_row_and_can_be_tried_again(start: Start) -> None:
    mortal = Mortal(1)
    async with side_by_side(start, [mortal, Endless(2)]) as (at, screen):
        mortal.dead = True
        await stepped(at, screen, 2)
        await read(at, screen)
        await at.until(lambda: "! A random-1 silent since" in shown(screen))
        assert "the mix goes on without it" in " ".join(shown(screen).split())
        assert "It refused the connection." in shown(screen)
        assert "p(x) = 1·random-2(x)" in shown(screen)
        assert not at.notices
        mortal.dead = False
        await at.press("r")
        await at.until(lambda: "silent" not in shown(screen))
        await at.until(lambda: "0.5·random-1(x)" in shown(screen))


async def test_a_silent_model_is_switched_off_by_a_key_and_nothing_hangs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "SLOW", 0.0)
    hanging = Hanging(1)
    async with side_by_side(start, [hanging, Endless(2)]) as (at, screen):
        hanging.here.clear()
        # What follows the story is at hand; what follows that token has to be asked for.
        await stepped(at, screen, 1)
        count = len(screen.mixing.pieces)
        await at.press("full_stop")
        await at.until(lambda: "! A random-1 silent since" in shown(screen))
        assert "the mix waits (x: no more)" in " ".join(shown(screen).split())
        assert len(screen.mixing.pieces) == count
        await at.press("x")
        await at.until(lambda: "silent" not in shown(screen))
        await read(at, screen)
        await stepped(at, screen, 1)
        assert screen.mixing.pieces[-1].by == 1


async def test_when_nobody_is_left_a_row_says_why_and_the_play_ends(start: Start) -> None:
    models = [Mortal(1), Mortal(2)]
    async with side_by_side(start, models) as (at, screen):
        for model in models:
            model.dead = True
        await at.press("p")
        await at.until(lambda: "B random-2 silent since" in shown(screen))
        told = " ".join(shown(screen).split())
        assert "the mix stands still and asks again" in told
        assert not at.session.player.playing
        assert not at.notices
        for model in models:
            model.dead = False
        await at.press("r")
        await at.until(lambda: "silent" not in shown(screen))
        assert screen.trouble is None
        await stepped(at, screen, 1)


async def test_what_a_play_cannot_do_is_a_row_with_its_hint(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, screen):
        at.session.player.ended(UsageError("Nothing may stand here", "All is barred.", "Loosen."))
        await at.until(lambda: "! Nothing may stand here. All is barred. Loosen." in shown(screen))
        assert not at.notices
        await at.press("right")
        await at.until(lambda: "barred" not in shown(screen))
        await at.press("escape")
        at.session.player.ended(UsageError("Nothing may stand here"))
        await at.until(lambda: at.notices)


async def test_a_comparison_begins_at_the_top_and_writes_on_at_the_end(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)], "reference") as (at, screen):
        before = at.story
        assert screen.number == 0
        await stepped(at, screen, 1)
        assert at.story.startswith(before)
        await at.until(lambda: screen.number == len(screen.mixing.pieces))
        await at.press("home", "full_stop")
        await at.until(lambda: len(screen.mixing.pieces) == 1)


async def test_eight_models_are_told_apart_without_colours(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    models = [Endless(n) for n in range(8)]
    async with side_by_side(start, models, "round-robin", (120, 40)) as (at, screen):
        count = len(screen.mixing.pieces)
        await stepped(at, screen, 8)
        await read(at, screen)
        await at.until(lambda: marks(screen)[count:] == list("ABCDEFGH"))
        for _ in range(8):
            await at.press("tab")
        assert "H random-7" in shown(screen)
        assert screen.query_one(ModelCharts).size.height
        assert screen.query_one(ModelColumns).rows


async def test_help_names_the_keys_and_escape_goes_back_to_the_story(start: Start) -> None:
    async with side_by_side(start, [Endless(1), Endless(2)]) as (at, _):
        await at.press("question_mark")
        await at.opened(HelpDialog)
        await at.press("escape", "escape")
        assert at.app.screen is at.main
        await at.press("Q")
        assert at.story.endswith("Q")


async def test_models_that_could_not_be_opened_are_opened_by_the_key(start: Start) -> None:
    reached: list[bool] = []

    async def opening(progress: Progress) -> Backend:
        reached.append(len(reached) > 0)
        if not reached[-1]:
            raise BackendUnavailable("No connection to http://near", "Connection refused.")
        return Mix([Endless(1), Endless(2)], Recipe("democratic", OpinionPool((1.0, 1.0))))

    start.opening = opening
    async with start(STORY, ready=False) as at:
        await at.press("alt+x")
        screen = await at.opened(MixScreen)
        await at.until(lambda: "No connection to http://near" in shown(screen))
        assert "r tries again" in " ".join(shown(screen).split())
        await at.press("full_stop")
        assert not at.notices
        await at.press("r")
        await at.until(lambda: "0.5·random-1(x)" in shown(screen))
        assert reached == [False, True]


async def test_with_one_model_it_says_how_to_have_several(start: Start) -> None:
    async with start() as at:
        await at.press("alt+x")
        screen = await at.opened(MixScreen)
        await at.until(lambda: "llterm mix -m A -m B" in shown(screen))
        await at.press("m", "tab", "n", "enter", "backspace", "escape")
        assert at.app.screen is at.main


async def test_what_a_server_does_not_tell_is_nowhere_on_the_screen(start: Start) -> None:
    models = [Endless(1), Few(2, top=4)]
    async with side_by_side(start, models, "reference") as (at, screen):
        for table in ("", "v"):
            if table:
                await at.press(table)
            for _ in MEASURES:
                await at.press("c")
                assert "nan" not in shown(screen)
                assert "KLD not told" in shown(screen)
                assert "PPL not told" in shown(screen)
                assert "approximate" not in shown(screen)
