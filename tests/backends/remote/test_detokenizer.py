"""What a server's ids mean, read from the texts that it makes of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.remote.detokenizer import Detokenizer
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.token_spelling import spelled_bytes
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import ServerSettings
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from tests.helpers.byte_tokenizers import (
    END,
    MARKED,
    PIECES,
    UNTELLABLE,
    ByteModel,
    ByteTokenizer,
    ByteVllmServer,
    Style,
)
from tests.helpers.fake_servers import file_spelling
from tests.helpers.little_model import Server
from tests.helpers.random_model import plain_search

WIRE: Any = None
"""A `ByteTokenizer` answers by itself."""
RULES = WeaveSettings(depth=5, cutoff=0.05, split_limit=3, beams=8, heal=False)
STORIES = ("The cat 🐈 said", "猫は", "naïve café 😀", "a\n\nthe .")
CAT_PART = " 🐈".encode()[:3]
TEXTS = st.text(st.sampled_from("ab \n\x1f.'é猫は🐈\ufffd")).map(str.encode)


async def opened(server: Server) -> RemoteBackend:
    return await connect("bytes", server, ServerSettings(("http://server",)), fresh=True)


def tellable(piece: bytes) -> bool:
    """Whether any text can tell this token."""
    lossless = "\ufffd".encode() not in piece or piece == "\ufffd".encode()
    return lossless and not any(bytes([byte]) in UNTELLABLE for byte in piece)


@pytest.mark.parametrize("style", get_args(Style))
async def test_every_token_of_a_vocabulary_is_read_exactly(style: Style) -> None:
    """Parts of characters, line breaks and what stands between tokens among them."""
    tokenizer = ByteTokenizer((*PIECES, *MARKED), style)
    listing = await Detokenizer().listing(tokenizer, WIRE, 300_000)
    known = {token.id: token.data for token in listing}
    expected = {id: data for id, data in enumerate(tokenizer.pieces) if tellable(data)}
    assert known == expected


async def test_a_vocabulary_costs_a_request_for_32_768_ids_and_two_more() -> None:
    tokenizer = ByteTokenizer()
    await Detokenizer().listing(tokenizer, WIRE, 300_000)
    assert tokenizer.asked == 3
    many = [b" %d" % number for number in range(33_000)]
    tokenizer = ByteTokenizer(many)
    assert len(await Detokenizer().listing(tokenizer, WIRE, 300_000)) == 33_256 - len(UNTELLABLE)
    assert tokenizer.asked == 3 + 1


@given(st.lists(st.tuples(TEXTS, st.integers(0, 12), st.integers(1, 12)), max_size=8))
async def test_tokens_cut_anywhere_are_read_exactly_or_not_at_all(
    cuts: list[tuple[bytes, int, int]],
) -> None:
    pieces = {text[start : start + size] for text, start, size in cuts} - {b""}
    tokenizer = ByteTokenizer(sorted(piece for piece in pieces if len(piece) > 1))
    ids = range(len(tokenizer.pieces))
    known = await Detokenizer().tokens(tokenizer, WIRE, ids)
    for id, token in known.items():
        assert token.data == tokenizer.pieces[id]
    assert {tokenizer.pieces[id] for id in ids if id not in known} <= {
        *UNTELLABLE, *(piece for piece in pieces if "\ufffd".encode() in piece)
    }  # fmt: skip


async def test_an_id_is_asked_for_once() -> None:
    tokenizer, detokenizer = ByteTokenizer(), Detokenizer()
    ids = [0xC0, 5000, ord("b"), 0xF0]
    for _ in range(3):
        known = await detokenizer.tokens(tokenizer, WIRE, ids)
        assert {id: token.data for id, token in known.items()} == {98: b"b", 0xF0: b"\xf0"}
        asked, tokenizer.asked = tokenizer.asked, 0
    assert asked == 0


@given(st.text(), st.data())
def test_a_texts_tokens_are_spelled_exactly_wherever_it_is_cut(text: str, data: Any) -> None:
    """In the middle of characters too: as vLLM's `return_token_strs` spells them."""
    whole = text.encode()
    edges = data.draw(st.sets(st.integers(1, max(len(whole) - 1, 1))))
    edges = [0, *sorted(edge for edge in edges if edge < len(whole)), len(whole)]
    pieces = [whole[begin:end] for begin, end in pairwise(edges)]
    assert spelled_bytes([file_spelling(piece) for piece in pieces], text) == pieces


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("seed", range(3))
async def test_a_weave_has_every_token_that_the_model_has(story: str, seed: int) -> None:
    """Behind emoji and CJK most of the probability is on parts of characters."""
    model = ByteModel(seed)
    server = ByteVllmServer(model)
    backend = await opened(server)
    anchor = model.encode(story.encode())
    start, listed = len(server.requests), server.count("/detokenize")
    weave = Weave(backend.vocabulary, Anchor(anchor), RULES)
    async for _ in drive(weave, backend):
        pass
    assert weave.done
    suggestions = {one.tail: one.logprob for one in weave.view().suggestions}
    expected = {tail: logprob for logprob, tail in plain_search(model, anchor, RULES)}
    assert suggestions.keys() == expected.keys()
    assert all(math.isclose(suggestions[it], expected[it], abs_tol=1e-5) for it in expected)
    token = backend.vocabulary.token
    ids = {id for tail in expected for id in tail}
    assert {id: token(id).data for id in ids} == {id: model.token(id).data for id in ids}
    assert server.count("/detokenize") == listed, "tokens were asked for in mid-weave"
    assert len(server.requests) - start <= len(weave.facts)


async def test_a_start_asks_its_own_kind_and_reads_the_vocabulary() -> None:
    server = ByteVllmServer(ByteModel(0))
    await opened(server)
    assert server.visited == ["/v1/models", "/version"]
    assert server.count("/v1/completions") == 4
    assert len(server.requests) <= 9


async def test_what_no_text_tells_is_left_out_and_said() -> None:
    model = ByteModel(0)
    server = ByteVllmServer(model, padded=0.4)
    backend = await opened(server)
    path = Path(Anchor(model.encode("猫は".encode())))
    for _ in range(2):
        before = server.count("/detokenize")
        (fact,) = [one async for one in backend.ask([Query(path, keep=20)])]
        assert isinstance(fact, Fact)
        assert model.size not in fact.distribution.ids
        assert fact.distribution.rest >= 0.4 - 1e-6
        assert backend.news.untold == pytest.approx(0.4, abs=0.01)
    assert server.count("/detokenize") == before, "it was asked for again"


async def test_a_server_that_does_not_list_is_asked_as_tokens_are_seen() -> None:
    """Many at once: a token that holds a line break makes it no longer."""

    class Reluctant(ByteVllmServer):
        most_ids = 200

        def answer(self, path: str, body: Any) -> Any:
            if path == "/detokenize" and len(body["tokens"]) > self.most_ids:
                raise RequestRefused(413, None, "Too large", "The server refused")
            return super().answer(path, body)

    model = ByteModel(1)
    server = Reluctant(model)
    backend = await opened(server)
    start = server.count("/detokenize")
    pieces = [b"\n\n", b"the\n", b"a\n", b" \n", b" the", CAT_PART]
    ids = [model.tokenizer.pieces.index(piece) for piece in pieces]
    known = await cast(Any, backend.dialect).tokens(server, ids)
    assert [known[id].data for id in ids] == pieces
    assert server.count("/detokenize") - start == 2


async def test_an_end_is_an_end_and_the_prefix_no_text() -> None:
    model = ByteModel(0)

    class Prefixed(ByteVllmServer):
        def answer(self, path: str, body: Any) -> Any:
            if path == "/tokenize" and body.get("add_special_tokens"):
                return {"tokens": [model.tokenizer.pieces.index(b" said")], "count": 1}
            return super().answer(path, body)

    vocabulary = (await opened(Prefixed(model))).vocabulary
    end = vocabulary.token(model.size - 1)
    assert (end.data, end.special, end.end) == (END, True, True)
    assert [vocabulary.token(id).special for id in vocabulary.prefix] == [True]
