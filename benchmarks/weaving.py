"""Weaves without a session: the search and the backend alone."""

from __future__ import annotations

from llterm.core.query import Cost, Source
from llterm.core.tokens import Anchor
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.canonical_pass import CanonicalPass
from llterm.engine.weave import drive


def begin(source: Source, story: str, rules: WeaveSettings) -> Weave:
    """A weave after this text. A server was asked for its tokens before."""
    vocabulary = source.vocabulary
    tokens = vocabulary.known_tokens(story.encode())
    assert tokens is not None
    return Weave(vocabulary, Anchor(vocabulary.prefix + tokens), rules, before=story[-64:])


async def read_again(weave: Weave, source: Source) -> tuple[Weave, Cost]:
    """What a weave is after its canonical pass, and what that cost."""
    canonical, total = CanonicalPass(weave, source), Cost()
    async for cost in canonical.run():
        total += cost
    return canonical.weave, total


async def run(weave: Weave, source: Source) -> Cost:
    """Search to the end."""
    total = Cost()
    async for cost in drive(weave, source):
        total += cost
    return total
