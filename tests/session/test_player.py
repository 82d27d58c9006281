"""Step and play: the model writes on, by the chain; whoever acts last has the story."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.constraints.spec import choices
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.session.inspection import put_text
from llterm.session.session import Session
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.plain_decoder import counted
from tests.helpers.polling import until
from tests.helpers.sessions import GREEDY, TEXT, draw_by, greedy_session, stepped


async def played(begun: Session, tokens: int) -> Session:
    """Play, and pause from within when so many tokens have been put in."""
    landed = begun.player.drawn + tokens
    tell = begun.player.landed

    def count(change: object) -> None:
        if begun.player.drawn >= landed:
            begun.player.playing = False

    begun.player.landed = count
    begun.player.play()
    await begun.player.task.wait()
    begun.player.landed = tell
    return begun


async def test_a_greedy_step_writes_the_weaves_first_choice() -> None:
    begun = await stepped(greedy_session())
    text = begun.document.text
    other = greedy_session()
    other.weave()
    await other.wait()
    assert other.view is not None
    best = max(other.view.branches, key=lambda branch: branch.p)
    assert text == TEXT.decode() + best.steps[0].data.decode()


async def test_steps_that_were_asked_for_at_once_are_all_done_each_undone_alone() -> None:
    begun = await stepped(greedy_session(), 3)
    words = begun.document.text.removeprefix(TEXT.decode()).split()
    assert len(words) == 3
    begun.undo()
    assert begun.document.text.split() == [*TEXT.decode().split(), *words[:2]]
    begun.redo()
    assert begun.document.text.split()[-3:] == words


async def test_a_play_is_one_node_and_one_step() -> None:
    begun = await played(greedy_session(), 12)
    document = begun.document
    node = document.loom.path()[-1]
    piece = document.loom.pieces[node.piece]
    assert piece.ids is not None
    assert len(piece.ids) == len(piece.sizes) == len(piece.logprobs) == 12
    assert all(lp <= 0 for lp in piece.logprobs)
    assert len(document.loom.path()) == 2
    begun.undo()
    assert document.text == TEXT.decode()
    begun.redo()
    assert document.bytes_before(len(document.text)).endswith(piece.data)


async def test_a_long_play_is_undone_piece_by_piece() -> None:
    begun = await played(greedy_session(), 100)
    whole = begun.document.text
    assert len(begun.document.loom.path()) == 3
    begun.undo()
    half = begun.document.text
    assert TEXT.decode() < half < whole
    assert whole.startswith(half)
    begun.undo()
    assert begun.document.text == TEXT.decode()


async def test_playing_in_the_middle_writes_before_the_text_that_follows() -> None:
    begun = greedy_session(TEXT + b" house and slept.")
    begun.move(len(TEXT))
    await played(begun, 2)
    assert begun.document.text.endswith(" house and slept.")
    assert len(begun.document.text) > len(TEXT + b" house and slept.")
    begun.undo()
    assert begun.document.text == (TEXT + b" house and slept.").decode()


async def test_an_edit_ends_the_play() -> None:
    begun = greedy_session()

    def write(change: object) -> None:
        end = len(begun.document.text)
        if begun.player.drawn == 2:
            begun.edit(end, end, "!")

    begun.player.landed = write
    begun.player.play()
    await begun.player.task.wait()
    assert not begun.player.playing
    assert begun.document.text.endswith("!")
    assert begun.player.drawn == 2


async def test_a_weave_ends_the_play_and_a_play_the_weave() -> None:
    begun = greedy_session()
    begun.player.play()
    begun.weave()
    assert not begun.player.playing
    assert begun.weaving
    begun.player.play()
    assert not begun.weaving
    begun.player.pause()


async def test_the_same_seed_writes_the_same_from_anywhere() -> None:
    settings = replace(PRESETS["creative"], seed=7)
    texts = []
    for parts in ([8], [3, 5]):
        begun = greedy_session()
        draw_by(begun, settings)
        for tokens in parts:
            await played(begun, tokens)
        texts.append(begun.document.text)
    assert texts[0] == texts[1]
    begun = greedy_session()
    draw_by(begun, replace(settings, seed=8))
    assert (await played(begun, 8)).document.text != texts[0]


async def test_a_half_word_is_finished_first() -> None:
    begun = greedy_session(b"The maker went to the ri")
    await stepped(begun)
    assert begun.document.text == "The maker went to the river"
    begun.undo()
    assert begun.document.text == "The maker went to the ri"


async def test_a_constraint_holds_and_its_end_ends_the_play() -> None:
    said: list[object] = []
    begun = greedy_session()
    begun.player.ended = said.append
    await begun.set_constraint(choices([" river and the sea"]))
    begun.player.play()
    await begun.player.task.wait()
    assert begun.document.text == "The maker went to the river and the sea"
    assert said == ["the model ends the text here"]


async def test_a_resting_model_draws_nothing() -> None:
    begun = greedy_session()
    begun.set_resting(True)
    with pytest.raises(UsageError, match="rests"):
        begun.player.step()
    with pytest.raises(UsageError, match="rests"):
        begun.weave()
    assert begun.backend is None
    begun.set_resting(False)
    await stepped(begun)
    assert begun.document.text > TEXT.decode()


async def test_a_model_that_fails_ends_the_play_with_its_error() -> None:
    async def fails() -> None:
        raise LltermError("The model fell over", "", "")

    said: list[object] = []
    begun = Session(Document.scratch(TEXT))
    begun.attach(ScriptedBackend(fails))
    begun.player.ended = said.append
    begun.player.play()
    await begun.player.task.wait()
    assert not begun.player.playing
    assert isinstance(said[0], LltermError)
    assert said[0].title == "The model fell over"
    assert begun.document.text == TEXT.decode()


async def test_a_played_token_costs_two_tokens_at_most(backend: LlamaBackend) -> None:
    begun = Session(Document.scratch(STORIES[1].text.encode()))
    begun.attach(backend)
    draw_by(begun, GREEDY)
    begun.player.speed = math.inf
    await stepped(begun)
    with counted() as decodes:
        await played(begun, 20)
    assert decodes.tokens <= 40
    assert len(decodes.sizes) == 20


async def test_a_play_past_the_context_goes_on(backend: LlamaBackend) -> None:
    rules = WeaveSettings(depth=8, beams=5)
    context = 256
    small = await open_llama(BUNDLED, LlamaSettings(threads=1, context=context))
    try:
        text = STORIES[1].text.encode()
        begun = Session(Document.scratch(text, rules))
        begun.attach(small)
        draw_by(begun, replace(PRESETS["creative"], seed=1))
        begun.player.speed = math.inf
        ended: list[object] = []
        begun.player.ended = ended.append
        await played(begun, context + 20)
        assert begun.player.drawn >= context or ended == ["the model ends the text here"]
        begun.weave()
        await begun.wait()
        assert begun.view is not None
        assert begun.figures.mark > 0
        assert begun.view.suggestions
    finally:
        await small.close()


async def test_a_text_put_in_place_of_a_token_leaves_the_old_one_as_a_branch() -> None:
    begun = greedy_session(TEXT + b" river and waited.")
    begun.reader.start()
    await until(lambda: begun.reader.places and not begun.reader.waiting)
    number = next(n for n, one in enumerate(begun.reader.places) if one.data == b" river")
    put_text(begun, number, " house")
    assert begun.document.text == "The maker went to the house"
    begun.undo()
    assert begun.document.text.endswith("waited.")
    begun.reader.stop()


async def test_a_play_writes_nothing_banned_and_remembers_where_it_began() -> None:
    begun = greedy_session()
    bans = Bans(newline=True, phrases=("the river", "lamp"))
    settings = replace(PRESETS["neutral"], seed=3)
    begun.set_sampling(replace(begun.sampling, settings=settings, preset=None, bans=bans))
    await played(begun, 60)
    written = begun.document.text.removeprefix(TEXT.decode())
    assert len(written) > 100
    assert "lamp" not in written.lower()
    assert "the river" not in begun.document.text.lower()
    assert "\n" not in written


async def test_an_ideal_length_counts_from_where_the_play_began() -> None:
    begun = greedy_session(b"and the cat went to sleep by the lamp")
    ended: list[object] = []
    begun.player.ended = ended.append
    settings = replace(PRESETS["neutral"], seed=5)
    wanted = replace(begun.sampling, settings=settings, preset=None, ideal_length=20)
    begun.set_sampling(wanted)
    await played(begun, 200)
    assert ended == ["the model ends the text here"]
    assert 8 <= begun.player.drawn <= 60
