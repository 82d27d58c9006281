"""Weaves from a source: makes the search ready, and feeds it until it is done or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import islice

from llterm.core.bans import Bans
from llterm.core.distribution import Constrained, Distribution
from llterm.core.healing import Healer, residue_of
from llterm.core.pieces import Run
from llterm.core.prompt import Prompt
from llterm.core.query import Capabilities, Cost, Failed, Query, Source, TriesRoom
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.canonical_pass import CanonicalPass
from llterm.errors import CapabilityMissing, LltermError

ROOM = 64
"""Questions a round: about the batch at which a CPU evaluates the most tokens a second."""


def rules_for(rules: WeaveSettings, source: Source, *, constrained: bool = False) -> WeaveSettings:
    """The weave settings for this source: depth counts its own tokens, which may be bytes, and
    only one that takes masks can heal. What a constraint is about begins at the cursor, not in the
    word before it: nothing is healed then."""
    able = source.capabilities
    heal = rules.heal and able.masks and not constrained
    return replace(rules, depth=rules.depth * able.pieces, heal=heal)


def unhealed(rules: WeaveSettings, source: Source, runs: Sequence[Run]) -> str:
    """That the story's end is not healed, though `rules` ask for it, since this source cannot be
    held to certain tokens; empty where there is nothing to heal, or it can."""
    if not rules.heal or source.capabilities.masks:
        return ""
    residue = residue_of(runs[-1].data) if runs and runs[-1].ids is None else b""
    if not residue:
        return ""
    ends = "with a space" if residue.isspace() else "in a word that may go on"
    return (
        f"The text ends {ends}; {source.name} cannot finish it (no healing) and goes on after it."
    )


def check_constraints(source: Source) -> None:
    """Raise CapabilityMissing where suggestions cannot be held to a constraint."""
    if not source.capabilities.masks:
        raise CapabilityMissing(
            "This model cannot be held to a constraint",
            "Its server takes no bias that leaves the probabilities as they are, or does not tell"
            " its vocabulary.",
            "llama.cpp's server can, and models in process.",
        )


def surely_sees(source: Source, prompt: Prompt) -> bool:
    """Whether it is known that the model sees a whole prompt; otherwise `sees_less` tries it."""
    return not isinstance(source, TriesRoom) or source.has_taken(len(prompt.tokens))


async def sees_less(source: Source, prompt: Prompt) -> bool:
    """Try whether the model sees a whole prompt, where its server does not tell how much it sees.

    Returns whether it does not: the prompt is to be made again then. Raises LltermError.
    """
    return isinstance(source, TriesRoom) and await source.narrowed(prompt.tokens)


def make_weave(
    source: Source,
    prompt: Prompt,
    rules: WeaveSettings,
    *,
    healer: Healer | None = None,
    constraint: Constrained | None = None,
    bans: Bans | None = None,
    facts: Mapping[Tail, Distribution] | None = None,
    grown: Iterable[tuple[Tail, int]] = (),
    carried: bool = False,
    canonical: Collection[Tail] = (),
) -> Weave:
    """A weave that begins where the prompt ends; nothing is searched yet.

    `rules` are those of `rules_for`; a prompt that leaves a word to finish needs a `healer`. What
    is known already are `facts` and `grown`, as in `Weave`, `carried` and `canonical` too.
    """
    return Weave(
        source.vocabulary,
        Anchor(prompt.tokens),
        rules,
        residue=prompt.residue,
        before=prompt.before,
        healer=healer,
        facts=facts,
        grown=grown,
        constraint=constraint,
        bans=bans,
        carried=carried,
        canonical=canonical,
    )


def to_drive(weave: Weave, source: Source) -> Weave:
    """The weave, or one begun anew where the source's figures are good for one search only
    (`Capabilities.anchored`) and there is more to ask: all of it comes from one search then."""
    anew = source.capabilities.anchored and (weave.carried or not weave.done)
    return weave.anew() if anew else weave


async def weave(
    source: Source,
    prompt: Prompt,
    rules: WeaveSettings,
    *,
    constraint: Constrained | None = None,
    bans: Bans | None = None,
    facts: Mapping[Tail, Distribution] | None = None,
    grown: Iterable[tuple[Tail, int]] = (),
    carried: bool = False,
    canonical: Collection[Tail] = (),
    spent: Callable[[Cost], None] = lambda _: None,
) -> Weave:
    """Search for the most probable suggestions after a prompt, until there is nothing to search,
    and give them their canonical figures.

    Parameters as in `make_weave`; `spent` hears of every cost. Raises LltermError.
    """
    healer = Healer(source.vocabulary) if prompt.residue else None
    search = make_weave(
        source,
        prompt,
        rules,
        healer=healer,
        constraint=constraint,
        bans=bans,
        facts=facts,
        grown=grown,
        carried=carried,
        canonical=canonical,
    )
    search = to_drive(search, source)
    async for cost in drive(search, source):
        spent(cost)
    again = CanonicalPass(search, source)
    async for cost in again.run():
        spent(cost)
    return again.weave


async def drive(weave: Weave, source: Source) -> AsyncIterator[Cost]:
    """Ask what the weave wants, round after round; yields what it cost since the last time.

    Several rounds are under way at once: the source answers one while the search takes in another.
    Where answers come one by one over a while, new questions are asked as soon as there are any.
    Where their order shows in the figures (`Capabilities.ordered`), a round is taken in only when
    the one before it is, and the next one is asked.
    Cancelling leaves the weave consistent: what was not answered is open again. A branch that the
    source cannot answer (past the context, say) stays open while the others go on; the first such
    error is raised at the end.
    """
    state = _State(weave, source)
    lanes: dict[asyncio.Task[None], asyncio.Event] = {}
    try:
        while True:
            can = source.capabilities
            room = min(ROOM, can.batch)
            while len(lanes) < can.rounds:
                queries = weave.wants(room, can.lines, can.abreast)
                if not queries:
                    break
                turn = asyncio.Event()
                lanes[asyncio.create_task(state.round(queries, turn))] = turn
            if not lanes:
                break
            for turn in islice(lanes.values(), 1 if can.ordered else len(lanes)):
                turn.set()
            lanes = await state.news(lanes, can)
            if cost := state.taken():
                yield cost
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
    if state.failures:
        raise state.failures[0]


class _State:
    """The rounds of one drive."""

    def __init__(self, weave: Weave, source: Source) -> None:
        self.failures: list[LltermError] = []
        self._weave = weave
        self._source = source
        self._cost = Cost()
        self._learned = asyncio.Event()

    def taken(self) -> Cost | None:
        """What was spent since this was last asked; None for nothing."""
        cost, self._cost = self._cost, Cost()
        return cost if cost != Cost() else None

    async def news(
        self, lanes: dict[asyncio.Task[None], asyncio.Event], can: Capabilities
    ) -> dict[asyncio.Task[None], asyncio.Event]:
        """Wait until a round has ended, or where lines come until something was learned.

        Gives the rounds that are left. Raises what an ended one raised.
        """
        if can.lines:
            learned = asyncio.create_task(self._learned.wait())
            try:
                await asyncio.wait({*lanes, learned}, return_when=asyncio.FIRST_COMPLETED)
                if can.gather:
                    await asyncio.wait(lanes, timeout=can.gather)
            finally:
                learned.cancel()
        else:
            await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
        self._learned.clear()
        for lane in lanes:
            if lane.done():
                lane.result()
        return {lane: turn for lane, turn in lanes.items() if not lane.done()}

    async def round(self, queries: Sequence[Query], turn: asyncio.Event) -> None:
        """Ask these questions, and from its turn on take in the answers."""
        weave = self._weave
        left = {query.path.tail: query for query in queries}
        try:
            async with aclosing(self._source.ask(queries)) as answers:
                async for answer in answers:
                    await turn.wait()
                    left.pop(answer.path.tail, None)
                    if isinstance(answer, Failed):
                        weave.refuse(answer.path.tail)
                        self.failures.append(answer.error)
                    else:
                        weave.learn(answer)
                        self._cost += answer.cost
                    self._learned.set()
            await turn.wait()
            for tail in left:
                # Asked again it would stay without an answer.
                weave.refuse(tail)
                self.failures.append(_unanswered(self._source.name))
        finally:
            weave.release(queries)


def _unanswered(name: str) -> LltermError:
    return LltermError(f"{name} left a question without an answer", "", "The other branches go on.")
