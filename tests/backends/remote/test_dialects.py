"""One contract for every dialect, on answers in the shape that each server's project publishes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.config.server_settings import ServerSettings
from llterm.core.distribution import Mask
from llterm.core.heat_scale import told
from llterm.core.query import Fact, Failed, Query
from llterm.core.scored_text import read
from llterm.core.tokens import Anchor, Path, Tail
from llterm.errors import CapabilityMissing
from tests.helpers.fake_servers import SERVERS, LlamaServer, SglangServer, VllmServer
from tests.helpers.little_model import HALF, REST, VOCABULARY, Server, chances, cut


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.__name__)
def server(request: pytest.FixtureRequest) -> Server:
    made: Server = request.param()
    return made


@pytest.fixture
async def backend(server: Server) -> RemoteBackend:
    return await opened(server)


async def opened(server: Server) -> RemoteBackend:
    return await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)


async def path(backend: RemoteBackend, text: str) -> Path:
    vocabulary = backend.vocabulary
    return Path(Anchor(vocabulary.prefix + await vocabulary.tokenize(text.encode())))


async def answers(backend: RemoteBackend, *queries: Query) -> list[Fact | Failed]:
    return [answer async for answer in backend.ask(queries)]


async def fact(backend: RemoteBackend, text: str, **wanted: Any) -> Fact:
    found = await answers(backend, Query(await path(backend, text), **wanted))
    (only,) = found
    assert isinstance(only, Fact), only
    return only


def named(backend: RemoteBackend, answer: Fact) -> dict[bytes, float]:
    """Each listed token's probability, by its bytes."""
    token = backend.vocabulary.token
    pairs = zip(
        answer.distribution.ids.tolist(), answer.distribution.logprobs.tolist(), strict=True
    )
    return {token(id).data: math.exp(lp) for id, lp in pairs}


async def test_it_is_known_by_what_it_says_of_itself(server: Any) -> None:
    dialect = (await opened(server)).dialect
    assert dialect.name == server.dialect
    assert {label for label, _ in dialect.traits.explained()} >= {"candidates", "heat", "token ids"}


async def test_its_limit_of_candidates_is_found_where_more_are_refused(server: Server) -> None:
    traits = (await opened(server)).dialect.traits
    told = len([id for id in range(len(VOCABULARY)) if id != HALF])
    if server.most is not None and server.most < told:
        assert traits.top == server.most


async def test_a_step_is_the_models_own_distribution(backend: RemoteBackend) -> None:
    answer = await fact(backend, "Once the", need=3)
    expected = {VOCABULARY[id]: p for id, p in chances(cut(b"Once the")).items()}
    by_text = named(backend, answer)
    assert next(iter(by_text)) == b" fox"
    for data, p in by_text.items():
        assert math.isclose(p, expected[data], rel_tol=1e-4), data
    assert math.isclose(sum(by_text.values()) + answer.distribution.rest, 1.0, abs_tol=1e-5)
    low, high = answer.distribution.entropy
    exact = -sum(p * math.log2(p) for p in expected.values())
    assert low - 1e-6 <= exact <= high + 1e-6


async def test_parts_of_characters_are_exact_or_stay_in_the_rest(backend: RemoteBackend) -> None:
    """ " the" is followed by half a snowman with 0.2: it is never another token's mass."""
    by_text = named(backend, await fact(backend, "Once the"))
    half = VOCABULARY[HALF]
    if backend.dialect.traits.bytes_out:
        assert math.isclose(by_text[half], 0.2, rel_tol=1e-4)
    assert by_text.get(half, 0.2) == pytest.approx(0.2, rel=1e-4)
    assert not any("\ufffd".encode() in data for data in by_text)


async def test_where_half_a_character_comes_first_the_others_are_told_if_anyhow_possible(
    backend: RemoteBackend,
) -> None:
    found = await fact(backend, "Once!")
    assert named(backend, found)[b"."] == pytest.approx(0.06, rel=1e-3)


async def test_an_end_of_text_is_an_end_or_is_not_listed(backend: RemoteBackend) -> None:
    answer = await fact(backend, "Once the fox slept.")
    tokens = [backend.vocabulary.token(id) for id in answer.distribution.ids.tolist()]
    ends = [token for token in tokens if token.end]
    assert all(token.special for token in ends)
    if ends:
        assert named(backend, answer)[ends[0].data] == pytest.approx(0.7, rel=1e-3)
    assert not any(token.data == VOCABULARY[0] and not token.end for token in tokens)


@pytest.mark.parametrize("ahead", [3, 11])
async def test_one_request_tells_a_whole_line(
    backend: RemoteBackend, server: Server, ahead: int
) -> None:
    """The longer one is streamed where the server can."""
    query = Query(await path(backend, "Once"), ahead=ahead)
    before = len(server.requests)
    facts = await answers(backend, query)
    completions = [request for request in server.requests[before:] if "okenize" not in request[0]]
    assert len(completions) == 1
    tails = [answer.path.tail for answer in facts]
    texts = [b"".join(backend.vocabulary.token(id).data for id in tail) for tail in tails]
    if not backend.capabilities.lines:
        assert texts == [b""]
        return
    assert texts[:4] == [b"", b" the", b" the fox", b" the fox slept"]
    assert len(texts) <= ahead + 1
    assert sum(answer.cost.requests for answer in facts if isinstance(answer, Fact)) == 1
    assert backend.spent.requests == 1


@pytest.mark.parametrize("ahead", [2, 11])
async def test_a_line_that_begins_inside_a_character_is_asked_again_alone(ahead: int) -> None:
    server = LlamaServer()
    backend = await opened(server)
    query = Query(await path(backend, "Once!"), ahead=ahead)
    before = len(server.requests)
    (answer,) = await answers(backend, query)
    assert isinstance(answer, Fact)
    assert named(backend, answer)[VOCABULARY[HALF]] == pytest.approx(0.9, rel=1e-4)
    line, alone = server.requests[before:]
    assert "logit_bias" not in line[1]
    assert alone[1]["logit_bias"]
    assert alone[1]["n_predict"] == 1
    assert answer.cost.requests == 2


@pytest.mark.parametrize("ids", [(5, 9, 10), (HALF, 9, 10), (HALF, REST)])
async def test_under_a_mask_the_allowed_tokens_have_their_share_and_their_raw_mass(
    ids: Tail,
) -> None:
    """Where one of them is half a character, its answer would be lost: a plain one is chosen."""
    backend = await opened(LlamaServer())
    allowed = np.zeros(backend.vocabulary.size, dtype=np.bool_)
    allowed[list(ids)] = True
    query = Query(await path(backend, "Once the"), mask=Mask(allowed), need=2)
    (answer,) = await answers(backend, query)
    assert isinstance(answer, Fact)
    everything = chances(cut(b"Once the"))
    mass = sum(everything[id] for id in ids)
    assert answer.distribution.permitted == pytest.approx(mass, rel=1e-4)
    by_text = named(backend, answer)
    for id in ids:
        assert by_text[VOCABULARY[id]] == pytest.approx(everything[id], rel=1e-4)
    assert answer.cost.requests == 2


async def test_several_prompts_are_answered_each_by_its_own(backend: RemoteBackend) -> None:
    anchor = await path(backend, "Once")
    paths = [
        Path(anchor.anchor, await backend.vocabulary.tokenize(text)) for text in (b" the", b".")
    ]
    facts = await answers(backend, *(Query(one) for one in paths))
    firsts: dict[Tail, bytes] = {}
    for one in facts:
        assert isinstance(one, Fact)
        firsts[one.path.tail] = next(iter(named(backend, one)))
    assert firsts[paths[0].tail] == b" fox"
    assert firsts[paths[1].tail] in (VOCABULARY[0], b"\n")


async def test_without_probabilities_the_branch_fails_by_name_and_the_others_go_on(
    backend: RemoteBackend, server: Server
) -> None:
    server.mute = True
    (answer,) = await answers(backend, Query(await path(backend, "Once the")))
    assert isinstance(answer, Failed)
    assert answer.error.title == "The server gives no probabilities here"
    server.mute = False
    assert isinstance((await answers(backend, Query(await path(backend, "Once the"))))[0], Fact)


@pytest.mark.parametrize("value", [0.7, 50.0])
async def test_a_positive_logprob_is_told_and_not_drawn(
    backend: RemoteBackend, server: Server, value: float
) -> None:
    server.wrong = value
    (answer,) = await answers(backend, Query(await path(backend, "Once the")))
    assert isinstance(answer, Failed)
    assert answer.error.title == "tiny gives wrong probabilities"


async def test_a_server_without_any_probabilities_is_refused_at_once(server: Server) -> None:
    server.mute = True
    with pytest.raises(CapabilityMissing, match="gives no probabilities"):
        await opened(server)


async def test_heat_is_the_models_own_or_its_absence_is_explained(backend: RemoteBackend) -> None:
    text = b"Once the fox slept."
    if not backend.capabilities.score:
        ids = await backend.vocabulary.tokenize(text)
        with pytest.raises(CapabilityMissing, match="this server does not score given text"):
            async for _ in backend.score(ids):
                pass
        return
    ids = await backend.vocabulary.tokenize(text)
    scores = [score async for score in backend.score(ids, 1, 3)]
    assert [score.index for score in scores] == [1, 2, 3, 4]
    expected = [math.log(chances(cut(text)[:at])[cut(text)[at]]) for at in range(1, 5)]
    assert [score.logprob for score in scores] == pytest.approx(expected, rel=1e-4)
    assert [score.rank for score in scores] == [1, 1, 1, 1]


async def test_a_rank_is_the_servers_own_or_a_bound() -> None:
    """ "!" is the tenth choice; two candidates are listed."""
    for server, rank, bounds in (
        (VllmServer(), [*chances(cut(b"Once"))].index(9) + 1, {"entropy"}),
        (SglangServer(), 3, {"entropy", "rank"}),
    ):
        backend = await opened(server)
        tokens = await backend.vocabulary.tokenize(b"Once!")
        (found,) = [one async for one in backend.score(tokens, 1, 2)]
        reading = read(found, backend.vocabulary, 1)
        assert (reading.rank, set(reading.at_least)) == (rank, bounds)
        assert told(reading, "rank") == (f"rank ≥{rank}" if "rank" in bounds else f"rank {rank}")
        assert told(reading, "entropy").startswith("entropy ≥")


async def test_a_token_that_is_part_of_a_character_is_scored_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No answer in which it is chosen tells it; one beside a plain token does."""
    monkeypatch.setattr("llterm.backends.remote.server_scoring.LEAST", 1)
    backend = await opened(LlamaServer())
    ids = (*cut(b"Once the"), HALF, REST, *cut(b"."))
    scores = [score async for score in backend.score(ids, 1, 1)]
    expected = [math.log(chances(ids[:at])[ids[at]]) for at in range(1, len(ids))]
    assert [score.logprob for score in scores] == pytest.approx(expected, rel=1e-4)


async def test_an_id_that_the_vocabulary_has_not_is_told() -> None:
    server = LlamaServer()
    backend = await opened(server)
    backend.vocabulary.size = 4
    (answer,) = await answers(backend, Query(await path(backend, "Once the")))
    assert isinstance(answer, Failed)
    assert "the model's vocabulary has 4" in answer.error.cause


async def test_ids_are_asked_with_ids_and_answered_with_exact_bytes() -> None:
    server = VllmServer()
    backend = await opened(server)
    assert backend.vocabulary.known_tokens(b"Once the") is None
    assert await backend.vocabulary.tokenize(b"Once the") == cut(b"Once the")
    assert backend.vocabulary.known_tokens(b"Once the") == cut(b"Once the")
    await answers(backend, Query(await path(backend, "Once the")))
    _, body = next(one for one in reversed(server.requests) if "okenize" not in one[0])
    assert body["prompt"] == list(cut(b"Once the"))
    assert body["return_tokens_as_token_ids"]
