"""Sentence beams: rounds of whole sentences, kept ones, a write-in, the last piece taken back."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Query, Source
from llterm.core.tokens import Anchor, Path
from llterm.errors import UsageError
from llterm.session.document import Document
from llterm.session.sentences import SentenceOffer, Sentences
from llterm.session.session import Session
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.known_tokens import tokens_of
from tests.helpers.sessions import SEEDED, draw_by

TEXT = b"One evening the maker went to the river."


@pytest.fixture
async def other() -> AsyncIterator[LlamaBackend]:
    opened = await open_llama(BUNDLED, LlamaSettings(threads=1))
    yield opened
    await opened.close()


def sitting(*others: Source) -> tuple[Session, Sentences]:
    begun = Session(Document.scratch(TEXT))
    begun.attach(ScriptedBackend())
    draw_by(begun, SEEDED)
    sentences = Sentences(begun, lambda: None)
    for one in others:
        sentences.join(one)
    return begun, sentences


async def drawn(sentences: Sentences, count: int = 6) -> list[SentenceOffer]:
    sentences.start(count, 60)
    await sentences.task.wait()
    assert sentences.error is None
    return sentences.offers


def story(begun: Session) -> bytes:
    return begun.document.bytes_before(len(begun.document.text))


async def test_a_round_gives_whole_sentences_and_a_pick_lands_in_the_loom() -> None:
    begun, sentences = sitting()
    offers = await drawn(sentences)
    ended = [offer for offer in offers if offer.sample.finish == "stop"]
    assert ended
    assert all(offer.sample.data.rstrip(b'"')[-1:] in b".!?" for offer in ended)
    data = ended[0].sample.data
    sentences.pick(ended[0])
    assert story(begun) == TEXT + data
    head = begun.document.loom.nodes[begun.document.loom.head]
    assert begun.document.loom.pieces[head.piece].author == "scripted"
    begun.undo()
    assert story(begun) == TEXT


async def test_kept_ones_stay_and_are_read_anew_where_the_story_goes_on() -> None:
    begun, sentences = sitting()
    first, second, *others = await drawn(sentences)
    sentences.keep(second)
    text = second.sample.data
    sentences.pick(first)
    with pytest.raises(UsageError):
        sentences.pick(second)
    again = await drawn(sentences)
    assert again[0] is second
    assert second.sample.data == text
    assert not {id(one) for one in others} & {id(one) for one in again}
    source = begun.source
    assert source is not None
    prefix = source.vocabulary.prefix + tokens_of(source.vocabulary, story(begun))
    expected = 0.0
    for n, token in enumerate(second.sample.ids):
        query = Query(Path(Anchor(prefix), second.sample.ids[:n]), full=True)
        async for fact in source.ask([query]):
            expected += float(fact.distribution.full[token])  # type: ignore[union-attr,index]
    assert math.isclose(second.sample.logprob, expected, rel_tol=1e-5)
    sentences.pick(second)
    assert story(begun).endswith(text)


async def test_the_last_piece_is_taken_back_into_the_offers() -> None:
    begun, sentences = sitting()
    offer = (await drawn(sentences))[0]
    sentences.pick(offer)
    landed = story(begun)
    sentences.write(" And then?")
    assert story(begun) == landed + b" And then?"
    assert sentences.back() is not None
    assert story(begun) == landed
    assert sentences.back() is not None
    assert story(begun) == TEXT
    assert sentences.back() is None
    assert offer in sentences.offers
    assert offer.kept
    sentences.pick(offer)
    assert story(begun) == landed


async def test_what_was_done_otherwise_is_not_taken_back() -> None:
    begun, sentences = sitting()
    sentences.pick((await drawn(sentences))[0])
    begun.edit(0, 0, "Oh. ")
    assert sentences.back() is None


async def test_several_models_write_side_by_side_each_by_its_own_tokens(
    other: LlamaBackend,
) -> None:
    begun, sentences = sitting(other)
    offers = await drawn(sentences, 5)
    assert {offer.source.name for offer in offers} == {"scripted", other.name}
    mine = next(offer for offer in offers if offer.source is other)
    data = mine.sample.data
    sentences.pick(mine)
    assert story(begun) == TEXT + data
    head = begun.document.loom.nodes[begun.document.loom.head]
    piece = begun.document.loom.pieces[head.piece]
    assert (piece.author, piece.fingerprint) == (other.name, other.vocabulary.fingerprint)
    again = await drawn(sentences, 5)
    assert again
    sentences.pick(next(offer for offer in again if offer.source is not other))
    assert story(begun).startswith(TEXT + data)
