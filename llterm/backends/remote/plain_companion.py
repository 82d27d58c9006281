"""Raw probabilities of tokens that no answer may choose, from a server that takes biases.

llama.cpp's server leaves out a position whose chosen token ends inside a character, and some of its
builds answer nothing at all then. Beside a plain token, put so far before them that it will be the
choice, shares tell how probable they are: log p(id) = log p(plain) + share(id) - share(plain).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llterm.backends.remote.client import Client
from llterm.backends.remote.steps import LEAD, PLAIN_TEXT, CompletionRequest, CompletionStep, Prompt
from llterm.core.tokens import Tail


class RawBeside(NamedTuple):
    """What a place says of the tokens that were asked for."""

    logprobs: Mapping[int, float]
    """By id, of the raw model; one that is missing has no probability to speak of."""
    raw: CompletionStep
    """The raw model's most probable candidates there."""
    shares: CompletionStep
    """The answer that told the tokens beside the plain one."""


def is_partial(data: bytes) -> bool:
    """Whether a token of these bytes is no text alone: it begins or ends inside a character."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


async def raw_beside(
    client: Client, prompts: Sequence[Prompt], ids: Tail, top: int
) -> list[RawBeside | None]:
    """What follows each prompt, by two requests; `top` raw candidates are listed too.

    None for a place that the server left out, or where the plain token is too improbable to be the
    choice. Raises LltermError.
    """
    (*_, plain) = await client.vocabulary.tokenize(PLAIN_TEXT.encode())
    favour = tuple({*ids, plain})
    beside = CompletionRequest(prompts, len(favour), favour=favour, among=True, first=plain)
    lines, raws = await asyncio.gather(
        by_line(client, beside), by_line(client, CompletionRequest(prompts, top, favour=(plain,)))
    )
    return [_told(line, raw, plain, ids) for line, raw in zip(lines, raws, strict=True)]


async def by_line(client: Client, request: CompletionRequest) -> list[CompletionStep | None]:
    """One step a prompt, or None where the answer left it out."""
    steps: dict[int, CompletionStep] = {}
    async for part in client.steps(request):
        steps.update((step.line, step) for step in part)
    return [steps.get(line) for line in range(len(request.prompts))]


def _told(
    share: CompletionStep | None, raw: CompletionStep | None, plain: int, ids: Tail
) -> RawBeside | None:
    if share is None or raw is None or raw.chosen.id != plain:
        return None
    listed = {one.id: one.logprob for one in share.listed}
    if plain not in listed:
        return None
    above = raw.chosen.logprob - listed[plain] + LEAD
    logprobs = {id: min(listed[id] + above, 0.0) for id in ids if id != plain and id in listed}
    if plain in ids:
        logprobs[plain] = min(raw.chosen.logprob, 0.0)
    return RawBeside(logprobs, raw, share)
