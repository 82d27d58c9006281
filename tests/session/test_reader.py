"""The story read in the background: what changed, what is looked at first, never in the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.scripted import ScriptedBackend
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.session.inspection import Inspection, force, in_story, parse_chain
from llterm.session.session import Session
from llterm.session.stories import STORIES
from tests.helpers.plain_decoder import counted
from tests.helpers.polling import until
from tests.helpers.sessions import all_read

TEXT = STORIES[1].text * 6


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)


async def reading(backend: LlamaBackend, text: str = TEXT) -> Session:
    session = Session(Document.scratch(text.encode(), WeaveSettings(depth=4, beams=5)))
    session.document.cursor = len(text)
    session.attach(backend)
    session.reader.start()
    await until(lambda: all_read(session))
    return session


async def test_every_token_is_read_once_as_scoring_says(backend: LlamaBackend) -> None:
    session = await reading(backend)
    reader = session.reader
    assert reader.scored == len(reader.places)
    ids = backend.vocabulary.prefix + tuple(place.id for place in reader.places)
    scored = [first async for first in backend.score(ids)]
    for first, other in zip(reader.readings, scored, strict=True):
        assert first is not None
        assert first.token.id == other.id
        assert abs(first.logprob - other.logprob) < 0.01
    await session.close()


async def test_an_edit_reads_again_only_from_the_edit_on(backend: LlamaBackend) -> None:
    session = await reading(backend)
    reader, before = session.reader, session.reader.scored
    count = len(reader.places)
    at = len(session.document.text) - 40
    session.edit(at, at, " suddenly")
    await until(lambda: all_read(session))
    after = sum(place.start >= at - 12 for place in reader.places)
    assert 0 < reader.scored - before <= after < count / 4
    session.undo()
    await until(lambda: all_read(session))
    await session.close()


async def test_the_part_at_the_cursor_comes_first(backend: LlamaBackend) -> None:
    session = Session(Document.scratch((TEXT * 4).encode()))
    session.document.cursor = len(session.document.text)
    session.attach(backend)
    first: list[int] = []

    def note() -> None:
        numbers = [n for n, one in enumerate(session.reader.readings) if one is not None]
        if numbers and not first:
            first.extend(numbers)

    session.listen(note)
    session.reader.start()
    await until(lambda: first)
    assert first[-1] == len(session.reader.places) - 1
    assert first[0] > len(session.reader.places) // 2
    await session.close()


async def test_a_weave_goes_first_and_finds_its_cache_untouched(backend: LlamaBackend) -> None:
    session = await reading(backend)
    session.weave()
    await session.wait()
    assert session.view is not None
    tail = session.view.suggestions[0].tail
    session.accept(tail)
    await until(lambda: all_read(session))
    with counted() as seen:
        session.weave()
        await session.wait()
    assert session.figures.prompt_tokens <= 2, seen.sizes
    session.edit(0, 0, "x")
    session.weave()
    assert session.weaving
    scored = session.reader.scored
    while session.weaving:
        assert session.reader.scored == scored
        await asyncio.sleep(0)
    await until(lambda: all_read(session))
    await session.close()


async def test_nothing_is_read_while_nobody_looks(backend: LlamaBackend) -> None:
    session = await reading(backend)
    scored = session.reader.scored
    session.reader.stop()
    session.edit(0, 0, "x")
    session.weave()
    await session.wait()
    assert session.reader.scored == scored
    session.reader.start()
    await until(lambda: all_read(session))
    assert session.reader.scored > scored
    await session.close()


async def test_past_the_context_it_says_what_is_not_seen(backend: LlamaBackend) -> None:
    session = Session(Document.scratch((STORIES[0].text * 80).encode()))
    session.attach(backend)
    reader = session.reader
    reader.start()
    await until(lambda: reader.places and not reader.waiting)
    assert reader.places[0].start == reader.sight.start > 0
    seen = b"".join(place.data for place in reader.places)
    assert session.document.text.encode()[reader.sight.start :] == seen
    await session.close()


async def test_forcing_a_token_keeps_the_old_tail_as_a_branch(backend: LlamaBackend) -> None:
    session = await reading(backend)
    reader, old = session.reader, session.document.text
    number = len(reader.places) - 9
    reading_ = reader.readings[number]
    assert reading_ is not None
    other = next(one for one in reading_.top if one.token != reading_.token)
    place = reader.places[number]
    force(session, place.start, other.token.id, other.logprob)
    assert session.document.text == old[: place.start] + other.token.data.decode()
    session.undo()
    assert session.document.text == old
    session.redo()
    texts = {session.document.text}
    for node in list(session.document.loom.nodes):
        session.document.choose(node)
        texts.add(session.document.text)
    assert old in texts
    await session.close()


async def test_what_if_costs_no_inference_and_names_the_stage(backend: LlamaBackend) -> None:
    session = await reading(backend)
    number = len(session.reader.places) - 5
    spot = in_story(session, number)
    _, scored = await session.reader.candidates(spot.at.context, spot.stands)
    assert len(scored.distribution.ids) == backend.vocabulary.size
    inspection = Inspection(backend.vocabulary, spot, scored.distribution)
    with counted() as seen:
        plain = inspection.table("", 50)
        assert plain.kept == backend.vocabulary.size
        assert [row.rank for row in plain.rows] == list(range(1, 51))
        inspection.under(parse_chain("top_k=3 temperature=0.5"))
        cut = inspection.table("", 50)
        assert cut.kept == 3
        assert {row.dropped_by for row in cut.rows[3:]} == {"top_k"}
        assert sum(row.p_final for row in cut.rows) == pytest.approx(1)
        way = inspection.climb(1)
        assert [stage for stage, _ in way] == ["model", "top_k", "temperature"]
        assert way[0][1] < way[1][1] < way[2][1] == pytest.approx(cut.rows[0].p_final)
        assert inspection.told(" the").startswith("␣the: rank")
        for name in PRESETS:
            inspection.under(parse_chain(name))
        held = inspection.table("/^ [a-c]/", 20)
        assert all(row.token.data[1:2] in b"abc" for row in held.rows)
    assert not seen.sizes
    await session.close()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("balancd", "balancd"),
        ("top_q=3", "top_q"),
        ("top_k=many", "top_k=many"),
        ("temperature=-1", "temperature"),
        ("order=top_k,top_k", "order"),
    ],
)
def test_a_wrong_chain_names_the_word(text: str, wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_chain(text)
    assert wrong in caught.value.title + caught.value.cause


async def test_a_scripted_model_is_read_too(tmp_path: Path) -> None:
    session = Session(Document.scratch(b"Every evening the cat and the lamp."))
    session.attach(ScriptedBackend())
    session.reader.start()
    await until(lambda: all_read(session))
    assert session.reader.scored == len(session.reader.places)
    await session.close()


async def test_futures_cost_a_token_for_each_way_and_leave_the_story_in_the_cache(
    backend: LlamaBackend,
) -> None:
    session = await reading(backend, STORIES[1].text)
    session.weave()
    await session.wait()
    reader = session.reader
    number = max(
        range(1, len(reader.places)),
        key=lambda n: one.entropy if (one := reader.readings[n]) else 0.0,
    )
    with counted() as decodes:
        ways = await reader.futures(number)
    assert decodes.tokens <= len(ways.ways) + 2
    assert len(ways.ways) >= 2
    assert 0 < ways.divergence < ways.most
    await session.close()


async def test_where_the_model_sees_one_way_there_is_no_fork() -> None:
    session = Session(Document.scratch(b"The maker went"))
    session.attach(ScriptedBackend())
    session.reader.start()
    await until(lambda: session.reader.places and not session.reader.waiting)
    session.set_resting(True)
    with pytest.raises(LltermError, match="no fork"):
        await session.reader.futures(1)
    await session.close()
