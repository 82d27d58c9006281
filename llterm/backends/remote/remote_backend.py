"""A model on a server, as a backend: questions out in few requests, distributions in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from llterm.backends.chat_opener import ChatOpener
from llterm.backends.remote.client import Client
from llterm.backends.remote.context_limit import KnownContext
from llterm.backends.remote.dialect import Dialect
from llterm.backends.remote.line_facts import UNLISTED, LineFacts
from llterm.backends.remote.masked_distributions import MaskedDistributions
from llterm.backends.remote.merged_answers import merged
from llterm.backends.remote.server_scoring import can_read, score_text
from llterm.backends.remote.server_vocabulary import RemoteVocabulary
from llterm.backends.remote.steps import CompletionRequest, ServerTraits
from llterm.backends.remote.transport import (
    BadAnswer,
    BrokenOff,
    RequestRefused,
    Transport,
)
from llterm.core.chat_messages import Chat, ChatParts
from llterm.core.display_text import open_end
from llterm.core.query import (
    Capabilities,
    Cost,
    Fact,
    Failed,
    Query,
    TokenScore,
)
from llterm.core.server_news import ServerNews
from llterm.core.tokens import Anchor, Path, Tail
from llterm.errors import CapabilityMissing, LltermError

LISTED = 12
"""Candidates asked for where the rules need fewer: each costs some 80 bytes a position."""
MOST = 10_000
"""Candidates listed where somebody wants to see all of them."""
GATHER = 0.25
"""Share of the quickest answer's time that a question may wait for others to go along."""
BREAKS = 4
"""How often in a row an answer may break off and have told nothing."""
LONGEST_CHARACTER = 4
"""Bytes of UTF-8: no more tokens are part of one character."""
LARGEST = 256 * 1024
"""Bytes of a request's prompts, about."""
Again = Callable[[Dialect], Awaitable[Dialect]]
"""Tries a server afresh of which things were only remembered."""
Keep = Callable[[int], None]
"""Remembers how many tokens a server's model sees."""


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How much goes into one request; docs/backends.md has the figures for these."""

    width: int = 16
    """Most prompts: a request is cancelled only as a whole."""
    ahead: int = 15
    """Most further positions a line: longer ones are mostly in vain. 0: no lines at all."""
    bands: tuple[int, ...] = (0, 2, 6)
    """Lines of one request go equally far: those that are wanted about as far go together."""
    steady: bool = False
    """The same requests every time, whatever takes how long: for recordings."""


class RemoteBackend:
    """A model on a server."""

    def __init__(
        self,
        client: Client,
        policy: RequestPolicy,
        *,
        context: KnownContext,
        whole: bool = False,
        chats: ChatOpener | None = None,
        again: Again | None = None,
        keep: Keep = lambda _: None,
    ) -> None:
        """`whole`: every token of the vocabulary is known. `chats`: how those are opened.

        `again` is asked once, when an answer is not what the dialect leads one to expect; `keep`
        hears how many tokens a refusal says that the model sees.
        """
        self.client = client
        self.policy = policy
        self.spent = Cost()
        self._whole = whole
        self._masked = MaskedDistributions(client)
        self._chats = chats
        self._again = again
        self._context = context
        context.heard = self._note_context
        self._keep = keep
        self._looking = asyncio.Lock()
        self._lists: int | None = None
        """Most candidates of an answer that listed fewer than it was asked for."""
        self._untold = UNLISTED
        """The largest share of a place that had to be left out so far."""

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def transport(self) -> Transport:
        return self.client.transport

    @property
    def news(self) -> ServerNews:
        """How its server is doing."""
        return self.transport.news

    @property
    def dialect(self) -> Dialect:
        return self.client.dialect

    @property
    def speaks(self) -> str:
        """The name of its server's dialect."""
        return self.dialect.name

    @property
    def served_as(self) -> str:
        """The model's name in requests to its server."""
        return str(getattr(self.dialect, "model", None) or self.dialect.traits.model)

    @property
    def vocabulary(self) -> RemoteVocabulary:
        return self.client.vocabulary

    @property
    def capabilities(self) -> Capabilities:
        traits = self.dialect.traits
        return Capabilities(
            full_vocabulary=False,
            top=self._traits.top,
            token_ids=self.client.by_ids,
            masks=self._whole and traits.favours,
            score=can_read(self.client),
            batch=self.policy.width if traits.lists else 1,
            rounds=1 if self.policy.steady else self.transport.parallel,
            lines=self.policy.ahead if traits.lines else 0,
            abreast=self._abreast(),
            gather=0.0 if self.policy.steady else GATHER * self.client.waits,
            context=self._context.tokens,
        )

    def has_taken(self, count: int) -> bool:
        """As `TriesRoom`."""
        return count <= self._context.accepted

    async def narrowed(self, tokens: Tail) -> bool:
        """As `TriesRoom`."""
        context = self._context
        if self.has_taken(len(tokens)):
            return False
        path = Path(Anchor(tokens), ())
        request = CompletionRequest([self.client.prompt(path)], 2, 1, [self.client.said(path)])
        try:
            async with aclosing(self.client.steps(request)) as parts:
                async for _ in parts:
                    pass
        except RequestRefused as error:
            if not context.learn(error, len(tokens)):
                raise
            return True
        context.fits(len(tokens))
        return False

    @property
    def chat_format(self) -> str:
        """What its chats are written by, for people; empty where it can open none."""
        return self._chats.name if self._chats is not None else ""

    def open_chat(self, chat: Chat) -> ChatParts | None:
        """The chat up to where the reply begins; None where it is being opened. Raises
        CapabilityMissing, and ModelError where the template fails."""
        return self._opener.open(chat)

    async def opened_chat(self, chat: Chat) -> ChatParts:
        """The same; waits until it is open."""
        return await self._opener.opened(chat)

    @property
    def _opener(self) -> ChatOpener:
        if self._chats is None:
            raise CapabilityMissing(
                f"{self.name} cannot open a chat",
                f"{self.dialect.traits.server} does not tell its model's chat template.",
                "chat_template of this model in llterm.toml names the format it was trained with:"
                " chatml, llama3, gemma and others.",
            )
        return self._chats

    def hear_chats(self, callback: Callable[[], None]) -> None:
        if self._chats is not None:
            self._chats.hear(callback)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        fitting: list[Query] = []
        for query in queries:
            if (refused := self._refused(query)) is None:
                fitting.append(query)
            else:
                yield Failed(query.path, refused)
        groups = [self._answer(group) for group in self._groups(fitting)]
        async for answer in merged(groups):
            if isinstance(answer, Fact):
                self.spent += answer.cost
            yield answer

    async def score(
        self, tokens: Tail, start: int = 1, keep: int = 64
    ) -> AsyncGenerator[TokenScore]:
        if len(tokens) - 1 > self._context.tokens:
            raise _too_long(len(tokens) - 1, self._context.tokens)
        async for scored in score_text(self.client, tokens, max(start, 1), self._top(keep, 0)):
            self.spent += scored.cost
            yield scored

    @property
    def explained(self) -> Sequence[tuple[str, str]]:
        """What its server can do and cannot, row by row."""
        return self._traits.explained()

    async def close(self) -> None:
        if self._chats is not None:
            await self._chats.close()
        await self.transport.close()

    @property
    def _traits(self) -> ServerTraits:
        """What its server can do, with what its answers have shown since it was tried."""
        traits = self.dialect.traits
        return traits if self._lists is None else replace(traits, top=self._lists)

    def _note_short(self, listed: int) -> None:
        """An answer told no more candidates than these, though it was asked for more."""
        if listed > (self._lists or 0):
            self._lists = listed
            self.news.tell_most_listed(listed)

    def _note_untold(self, share: float) -> None:
        """This share of a place went to tokens whose text the server does not tell."""
        if share > self._untold:
            self._untold = share
            self.news.tell_untold(share)

    def _note_context(self, tokens: int) -> None:
        """The server has refused a text for its length, and said how much its model sees."""
        client, traits = self.client, self.dialect.traits
        client.dialect = self.dialect.with_traits(
            replace(traits, context=tokens, context_told=True)
        )
        self._keep(tokens)
        self.news.tell_context(tokens)

    def _abreast(self) -> int:
        """As many as the server can answer while one answer is on its way."""
        client, slots = self.client, self.dialect.traits.slots
        if not self.dialect.traits.lists:
            return self.transport.parallel
        waits = 1.0 if self.policy.steady else max(client.waits / client.pace, 1.0)
        return min(int(slots * waits), self.policy.width)

    def _refused(self, query: Query) -> LltermError | None:
        """Why this cannot be asked at all."""
        size = len(query.path.anchor.tokens) + len(query.path.tail)
        traits = self.dialect.traits
        if size == 0:
            return LltermError("There is no text to go on from", "", "Type a beginning.")
        if size >= self._context.tokens:
            return _too_long(size, self._context.tokens)
        if query.mask is not None and not self.capabilities.masks:
            return CapabilityMissing(
                "This server cannot be held to certain tokens",
                f"{traits.server} takes no bias that leaves its probabilities as they are, or does"
                " not tell its vocabulary.",
                "Constraints and token healing need llama.cpp's server, or a model in process.",
            )
        try:
            self.client.prompt(query.path)
        except LltermError as error:
            return error
        return None

    def _groups(self, queries: Sequence[Query]) -> Iterator[list[Query]]:
        """What goes into one request each: masked alike, or wanted about as far ahead.

        In order of their tails, so that paths with a common beginning meet the same cache. Where
        positions inside characters are lost, no line begins inside one: it would begin in vain.
        """
        if self.dialect.traits.favours:
            queries = [
                replace(query, ahead=0) if query.ahead and self._is_open(query.path) else query
                for query in queries
            ]
        masks: dict[int, list[Query]] = {}
        bands: dict[int, list[Query]] = {}
        for query in sorted(queries, key=lambda one: one.path.tail):
            if query.mask is not None:
                masks.setdefault(id(query.mask), []).append(query)
            else:
                band = sum(query.ahead > most for most in self.policy.bands)
                bands.setdefault(band, []).append(query)
        yield from masks.values()
        for group in bands.values():
            longest = max(len(query.path.tokens) for query in group)
            width = max(min(self.policy.width, LARGEST // (6 * longest)), 1)
            if not self.dialect.traits.lists:
                width = 1
            yield from (group[at : at + width] for at in range(0, len(group), width))

    def _is_open(self, path: Path) -> bool:
        """Whether a path ends inside a character."""
        token = self.vocabulary.token
        last = b"".join(token(id).data for id in path.tokens[-LONGEST_CHARACTER:])
        return bool(open_end(last))

    def _top(self, keep: int, need: int) -> int:
        """How many candidates to list; `need` is how many the rules look at, 0 unknown."""
        wanted = max(need, min(keep, LISTED)) if need else min(keep, MOST)
        limit = self.dialect.traits.top
        return min(wanted, self.vocabulary.size, limit if limit is not None else wanted)

    async def _answer(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        left, dialect = list(queries), self.dialect
        try:
            if queries[0].mask is not None:
                async for fact in self._masked.ask(queries):
                    yield fact
                return
            lines = self.dialect.traits.lines
            ahead = max(query.ahead for query in queries) if lines else 0
            owed = [Cost()]
            attempt = breaks = 0
            while attempt < 2 + self.dialect.traits.retries:
                # A position that splits a character is asked again alone: lines bear no bias.
                asked = self._lines(tuple(left), ahead if not attempt else 0, attempt, owed)
                try:
                    async for fact in asked:
                        breaks = 0
                        left = [query for query in left if query.path.tail != fact.path.tail]
                        yield fact
                    attempt += 1
                except BrokenOff:
                    # The transport waits for the server; the search asks for what a line lacks.
                    breaks += 1
                    if breaks > BREAKS:
                        raise
                if not left:
                    return
            self.spent += owed[0]
            for query in left:
                yield Failed(query.path, self._nothing())
        except (BadAnswer, RequestRefused) as error:
            if await self._otherwise(dialect, error):
                async for answer in self._answer(left):
                    yield answer
                return
            failure = self._beyond(error, left) if isinstance(error, RequestRefused) else error
            for query in left:
                yield Failed(query.path, failure)

    def _beyond(self, error: RequestRefused, queries: Sequence[Query]) -> LltermError:
        """What to say of a text that is too long for the model, which it told only now.

        Raises every other refusal.
        """
        longest = max(len(query.path.tokens) for query in queries)
        if not self._context.learn(error, longest):
            raise error
        return LltermError(
            "The story is longer than this model sees",
            f"Its server says so only now: it sees {self._context.told:,} tokens.",
            "Ask again: from now on the story's beginning is left out.",
        )

    async def _otherwise(self, dialect: Dialect, error: LltermError) -> bool:
        """Whether the server, of which something was only remembered, is otherwise now."""
        if isinstance(error, RequestRefused) and error.status in (401, 403):
            return False
        async with self._looking:
            if self._again is not None:
                again, self._again = self._again, None
                self.client.dialect = await again(self.dialect)
        return self.dialect is not dialect

    async def _lines(
        self, queries: Sequence[Query], ahead: int, attempt: int, owed: list[Cost]
    ) -> AsyncGenerator[Fact]:
        """One request: each query's distribution, and those along its line.

        `owed` holds what earlier ones cost that told nothing; the next fact bears it.
        """
        top = max(self._top(query.keep, query.need) for query in queries)
        prompts = [self.client.prompt(query.path) for query in queries]
        lines = [
            LineFacts(query.path, self.client, top, self._note_short, self._note_untold)
            for query in queries
        ]
        owed[0] += Cost(requests=1)
        said = [self.client.said(query.path) for query in queries]
        request = CompletionRequest(prompts, top, ahead + 1, said, attempt=attempt)
        async for part in self.client.steps(request):
            for step in part:
                if step.line < len(lines) and (fact := lines[step.line].take(step, owed[0])):
                    self._context.fits(len(queries[step.line].path.tokens))
                    owed[0] = Cost()
                    yield fact

    def _nothing(self) -> LltermError:
        return CapabilityMissing(
            "The server gives no probabilities here",
            f"{self.dialect.traits.server} left this position out, as it does where the most"
            " probable token is part of a character.",
            "The other branches go on.",
        )


def _too_long(size: int, context: int) -> LltermError:
    return LltermError(
        "The context is full",
        f"This branch has {size:,} tokens, and the server's model sees {context:,}.",
        "Accept less at a time, choose less depth, or start the server with a larger context.",
    )
