"""A given text's probabilities: from one answer where a server tells them, else place by place.

Place by place (llama.cpp's server): every beginning of the text is a prompt of one request, and
the token that stands there is mostly among the candidates listed after it. Where it is not, a bias
forces it to be chosen, which tells its raw probability; a part of a character is asked for beside a
plain token.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

from llterm.backends.remote.client import Client
from llterm.backends.remote.dialect import EchoesLogprobs
from llterm.backends.remote.plain_companion import by_line, is_partial, raw_beside
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    Position,
    TokenCandidate,
)
from llterm.backends.remote.token_spelling import spread
from llterm.backends.remote.transport import BadAnswer
from llterm.core.distribution import Distribution
from llterm.core.query import Cost, TokenScore
from llterm.core.tokens import Tail
from llterm.errors import CapabilityMissing

CHUNK = 16
"""Places a request: it is cancelled only as a whole, and the visible part should come first."""
LEAST = 20
"""Candidates listed at a place at least: the rarer a token is forced, the fewer requests."""


def can_read(client: Client) -> bool:
    """Whether the server tells the probability of every token of a given text."""
    return _reader(client) is not None or _forces(client)


def _reader(client: Client) -> EchoesLogprobs | None:
    """What scores a text in one answer, where the server does."""
    dialect = client.dialect
    return dialect if dialect.traits.reads and isinstance(dialect, EchoesLogprobs) else None


def _forces(client: Client) -> bool:
    return client.dialect.traits.favours and client.by_ids


async def score_text(
    client: Client, tokens: Tail, start: int, keep: int
) -> AsyncGenerator[TokenScore]:
    """As `Backend.score`. Raises CapabilityMissing where the server cannot."""
    if (reader := _reader(client)) is not None:
        for scored in await _told(client, reader, tokens, keep):
            if scored.index >= start:
                yield scored
    elif _forces(client):
        for first in range(start, len(tokens), CHUNK):
            places = range(first, min(first + CHUNK, len(tokens)))
            for scored in await _placed(client, tokens, places, keep):
                yield scored
    else:
        raise CapabilityMissing(
            "No heat: this server does not score given text",
            f"{client.dialect.traits.server} tells probabilities of what it writes, not of what it"
            " is given.",
            "vLLM, SGLang, llama.cpp's server and servers with `echo` can; or a model in process.",
        )


async def _told(
    client: Client, dialect: EchoesLogprobs, tokens: Tail, keep: int
) -> list[TokenScore]:
    """All places from one answer."""
    call = dialect.scoring_call(client.given(tokens), keep)
    positions = dialect.read_scoring((await client.transport.post(call.path, call.body)).data)
    await client.learn(one for chosen, listed in positions for one in (chosen, *listed))
    if not client.by_ids:
        positions = _aligned(client, tokens, positions)
    if len(positions) != len(tokens):
        raise BadAnswer(
            "The server scored another text",
            f"It told {len(positions):,} tokens of a text of {len(tokens):,}.", "",
        )  # fmt: skip
    scores = []
    cost = Cost(len(tokens), len(tokens), requests=1)
    for index, (chosen, listed) in enumerate(positions):
        if not listed:
            continue
        known = _known(client, listed)
        logprob = min(chosen.logprob, 0.0)
        rank = chosen.rank or _rank(known, tokens[index])
        scores.append(TokenScore(index, tokens[index], logprob, rank, known, cost))
        cost = Cost()
    return scores


async def _placed(client: Client, tokens: Tail, places: range, keep: int) -> list[TokenScore]:
    """These places, from one list of prompts, and a request for each token it does not list."""
    steps: dict[int, CompletionStep] = {}
    asked = CompletionRequest([client.given(tokens[:place]) for place in places], max(keep, LEAST))
    async for part in client.steps(asked):
        steps.update((places[step.line], step) for step in part if step.line < len(places))
    scores = []
    costs = {place: Cost(step.evaluated, step.evaluated) for place, step in steps.items()}
    costs[places[0]] = costs.get(places[0], Cost()) + Cost(requests=1)
    known = {place: _known(client, step.listed) for place, step in steps.items()}
    forced = [place for place in places
              if place not in known or tokens[place] not in known[place].ids]  # fmt: skip
    answers = await asyncio.gather(*(_forced(client, tokens, place, keep) for place in forced))
    by_force = dict(zip(forced, answers, strict=True))
    for place in places:
        logprob, beside = by_force.get(place, (math.nan, None))
        listed = known.get(place) or beside
        assert listed is not None
        if math.isnan(logprob):
            logprob = float(listed.logprobs[listed.ids == tokens[place]][0])
        cost = costs.get(place, Cost())
        if place in by_force:
            cost += Cost(1, 1, requests=2 if _is_part(client, tokens[place]) else 1)
        rank = _rank(listed, tokens[place])
        scores.append(TokenScore(place, tokens[place], logprob, rank, listed, cost))
    return scores


async def _forced(
    client: Client, tokens: Tail, place: int, keep: int
) -> tuple[float, Distribution | None]:
    """The raw logprob of the token that stands there, and the candidates beside it."""
    client.given(tokens[place : place + 1])
    before, id, top = client.given(tokens[:place]), tokens[place], max(keep, LEAST)
    if not _is_part(client, id):
        (step,) = await by_line(client, CompletionRequest([before], top, favour=(id,)))
        if step is not None and step.chosen.id == id:
            return min(step.chosen.logprob, 0.0), _known(client, step.listed)
    (beside,) = await raw_beside(client, [before], (id,), top)
    if beside is None or id not in beside.logprobs:
        raise CapabilityMissing(
            "The server gives no probabilities here", "It left a place of the text out.", ""
        )
    return beside.logprobs[id], _known(client, beside.raw.listed)


def _is_part(client: Client, id: int) -> bool:
    """Whether no answer in which this token is chosen tells it: it is part of a character."""
    return is_partial(client.vocabulary.token(id).data)


def _known(client: Client, listed: Sequence[TokenCandidate]) -> Distribution:
    distribution = client.distribution(listed)
    if distribution is None:
        raise CapabilityMissing(
            "The server gives no probabilities here", "It left a place of the text out.", ""
        )
    return distribution


def _rank(distribution: Distribution, id: int) -> int:
    (at,) = (distribution.ids == id).nonzero()
    return int(at[0]) + 1 if len(at) else len(distribution.ids) + 1


def _aligned(client: Client, tokens: Tail, positions: Sequence[Position]) -> list[Position]:
    """The server's tokens put to ours, by where they stand in the text.

    Where one of ours is several of the server's, their logprobs add up; where it is the other way
    round, the first of ours has the logprob, and what follows inside it is certain.
    """
    edges = [0]
    for id in tokens:
        edges.append(edges[-1] + len(client.vocabulary.token(id).data))
    data = b"".join(client.vocabulary.token(id).data for id in tokens)
    shared = spread([chosen.data for chosen, _ in positions], data)
    if shared is None:
        raise BadAnswer("The server scored another text", "Its tokens do not make up this one.", "")
    starts: dict[int, Position] = {}
    sums: dict[int, float] = {}
    at, total = 0, 0.0
    for (chosen, listed), piece in zip(positions, shared, strict=True):
        if piece:
            starts[at] = chosen, listed
        sums.setdefault(at, total)
        at += len(piece)
        total += chosen.logprob if listed else 0.0
    sums[at] = total
    known = sorted(sums)
    aligned: list[Position] = []
    for begin, end in pairwise(edges):
        position = starts.get(begin)
        if position is None:
            aligned.append((positions[0][0], ()))
            continue
        last = next(one for one in known if one >= end)
        aligned.append((position[0]._replace(logprob=sums[last] - sums[begin]), position[1]))
    return aligned
