"""Places looked at closely: what the constraint takes there, and choosing another token."""

from __future__ import annotations

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.constraints.compiled import compile
from llterm.constraints.spec import choices, regex
from llterm.core.tokens import text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import UsageError
from llterm.session import inspection
from llterm.session.document import Document
from llterm.session.inspection import (
    Inspection,
    TokenPosition,
    in_story,
    in_suggestion,
    inspect,
    parse_chain,
)
from llterm.session.session import Session
from tests.helpers.plain_decoder import counted
from tests.helpers.polling import until
from tests.helpers.sessions import all_read

TEXT = "Once upon a time there was a little girl. She went to the park and said"
WORDS = choices([" to her mom", " that it was big", " nothing"])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)


async def woven(backend: LlamaBackend, text: str = TEXT, *, bound: bool = True) -> Session:
    """A story that is read, with suggestions at its end."""
    session = Session(Document.scratch(text.encode(), WeaveSettings(depth=6, beams=6, cutoff=0.0)))
    session.document.cursor = len(text)
    session.attach(backend)
    if bound:
        await session.set_constraint(WORDS)
    session.reader.start()
    await until(lambda: all_read(session))
    session.weave()
    await session.wait()
    return session


async def seen(session: Session, spot: TokenPosition) -> Inspection:
    found = await inspect(session, spot)
    found.under(parse_chain("neutral"))
    return found


async def test_along_a_suggestion_the_constraint_goes_on_with_its_tokens(
    backend: LlamaBackend,
) -> None:
    session = await woven(backend)
    compiled = compile(WORDS, backend.vocabulary)
    view = session.view
    assert view is not None
    suggestion = next(one for one in view.suggestions if len(one.tail) > 2)
    for number in range(len(suggestion.tail)):
        spot = in_suggestion(session, suggestion.tail, number)
        found = await seen(session, spot)
        with counted() as decoded:
            table = found.table("", backend.vocabulary.size)
        assert not decoded.sizes
        allowed = compiled.mask(suggestion.tail[:number]).allowed
        assert {row.token.id for row in table.rows if row.valid} == set(np.flatnonzero(allowed))
        taken = sum(np.exp(row.logprob) for row in table.rows if not allowed[row.token.id])
        assert found.taken == pytest.approx(taken)
        assert all(row.dropped_by == "constraint" for row in table.rows if not row.valid)
        stands = next(row for row in table.rows if row.token.id == spot.stands)
        step = suggestion.steps[number]
        # The chain draws among what is allowed; a choice has the raw model\'s own figure.
        given = np.exp(step.logprob) / step.permitted
        assert stands.p_final == pytest.approx(given, abs=1e-4)
    assert compile(WORDS, backend.vocabulary) is compiled
    await session.close()


async def test_in_the_story_it_is_as_if_a_weave_began_there(backend: LlamaBackend) -> None:
    session = await woven(backend)
    spot = in_story(session, 4)
    compiled = compile(WORDS, backend.vocabulary)
    assert spot.constraint is compiled
    table = (await seen(session, spot)).table("", 20)
    root = compiled.mask(()).allowed
    assert [row.valid for row in table.rows] == [bool(root[row.token.id]) for row in table.rows]
    assert table.other_valid == root.sum() - sum(bool(row.valid) for row in table.rows)
    await session.set_constraint(regex(" [a-z]+"))
    await session.set_constraint(None)
    assert (await inspect(session, in_story(session, 4))).taken is None
    await session.close()


@pytest.mark.parametrize("text", [TEXT, TEXT + " "])
async def test_another_token_in_a_suggestion_takes_what_is_before_it(
    backend: LlamaBackend, text: str
) -> None:
    session = await woven(backend, text, bound=False)
    view = session.view
    assert view is not None
    tail = next(one.tail for one in view.suggestions if len(one.tail) > 2)
    residue = session.path(tail)[0].weave.residue.decode()
    table = (await seen(session, in_suggestion(session, tail, 2))).table("", 50)
    other = next(row for row in table.rows if row.token.id != tail[2] and not row.token.special)
    inspection.accept_but(session, tail, 2, other.token.id, other.logprob)
    written = text_bytes(backend.vocabulary, (*tail[:2], other.token.id)).decode()
    assert residue
    assert session.document.text == text.removesuffix(residue) + written
    change = session.undo()
    assert change is not None
    assert session.document.text == text
    await session.close()


async def test_what_is_half_written_must_be_finished(backend: LlamaBackend) -> None:
    session = await woven(backend, TEXT + " ", bound=False)
    view = session.view
    assert view is not None
    tail = view.suggestions[0].tail
    found = await seen(session, in_suggestion(session, tail, 0))
    table = found.table("", backend.vocabulary.size)
    wrong = next(row for row in table.rows if not row.token.data.startswith(b" "))
    assert wrong.dropped_by == "healing"
    assert {row.token.data[:1] for row in table.rows if row.p_final} == {b" "}
    with pytest.raises(UsageError):
        inspection.accept_but(session, tail, 0, wrong.token.id, wrong.logprob)
    assert session.document.text == TEXT + " "
    await session.close()
