"""All that writes in the middle of a story keeps what follows, and says whose each token is."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.weave_settings import WeaveSettings
from llterm.session.inspection import born_at
from tests.helpers.mid_story import HEAD, TAIL, WAYS, inserted, middle, story, walk
from tests.helpers.polling import until
from tests.helpers.sessions import all_read, greedy_session, session


@settings(max_examples=4)
@given(st.lists(st.sampled_from(WAYS), min_size=1, max_size=8))
def test_whatever_writes_in_the_middle_the_rest_is_there_to_the_byte(ways: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(walk(Path(folder) / "mid.loom", ways))


async def test_each_token_at_the_join_is_known_by_who_wrote_it() -> None:
    begun = middle()
    added = await inserted(begun)
    assert added
    document, end = begun.document, len(HEAD) + len(added)
    assert all(born_at(document, start) is None for start in range(len(HEAD)))
    assert all(born_at(document, start) is None for start in range(end, len(story(begun))))
    assert born_at(document, len(HEAD)) is not None
    by = [(run.data, run.ids is not None) for run in document.runs_before(len(document.text))]
    assert b"".join(data for data, _ in by) == HEAD + added + TAIL
    assert [data for data, made in by if made] == [added]


async def test_what_the_model_wrote_stays_the_models_on_both_sides_of_an_insertion() -> None:
    begun = greedy_session(HEAD)
    line = await inserted(begun)
    document = begun.document
    births = {at: born_at(document, at) for at in range(len(HEAD), len(HEAD + line))}
    starts = [at for at, birth in births.items() if birth is not None]
    assert len(starts) > 1
    cut = starts[1]
    begun.move(document.display_offset(cut))
    begun.edit(document.cursor, document.cursor, " now")
    moved = len(b" now")
    for start in starts:
        was, now = births[start], born_at(document, start + moved * (start >= cut))
        assert was is not None
        assert now is not None
        assert (now.model, now.logprob, now.arrival) == (was.model, was.logprob, was.arrival)
    assert born_at(document, cut) is None
    # In the middle of a token: what is left of it is no token of the model's any more.
    begun.undo()
    begun.move(document.display_offset(starts[0] + 2))
    begun.edit(document.cursor, document.cursor, "-")
    text = HEAD + line
    assert story(begun) == text[: starts[0] + 2] + b"-" + text[starts[0] + 2 :]
    assert not any(born_at(document, at) for at in range(starts[0], starts[1] + 1))
    assert born_at(document, starts[1] + 1) == births[starts[1]]


async def test_the_heat_of_what_follows_is_given_the_insertion() -> None:
    begun = middle(tail=b" river and slept.")
    added = await inserted(begun)
    begun.reader.start()
    await until(lambda: all_read(begun))
    places = begun.reader.places
    assert b"".join(place.data for place in places) == story(begun)
    last = [place.start for place in places if place.start >= len(HEAD) + len(added)]
    assert last, "the text that follows has tokens of its own"
    readings = {
        place.start: reading for place, reading in zip(places, begun.reader.readings, strict=True)
    }
    ids = tuple(place.id for place in places)
    backend = begun.backend
    assert backend is not None
    scored = [one async for one in backend.score(backend.vocabulary.prefix + ids)]
    for place, score in zip(places, scored, strict=True):
        reading = readings[place.start]
        assert reading is not None
        assert abs(reading.logprob - score.logprob) < 1e-9


async def test_a_word_that_is_begun_is_healed_at_the_join_and_the_rest_is_not_read() -> None:
    head, rules = b"One evening the maker went to the ri", WeaveSettings(depth=3, beams=4)
    plain = session(head, rules=rules)
    plain.weave()
    await plain.wait()
    assert plain.view is not None
    alone = [row.data for row in plain.view.suggestions]
    for tail in (b"ver ran.", b" ran."):
        begun = middle(head, begun=session(head + tail, rules=rules))
        added = await inserted(begun)
        assert added == alone[0]
        assert story(begun) == head + added + tail
        # And on from there, where a word is begun right before what follows.
        begun.edit(begun.document.cursor, begun.document.cursor, " an")
        more = await inserted(begun)
        assert story(begun) == head + added + b" an" + more + tail
