"""A model that another llterm serves: all that a model in this process can, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from llterm.backends.remote.answer import AnswerValue, unreadable
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.llterm_form import (
    FORM,
    MOST_QUERIES,
    attention_of,
    columns_of,
    cost_of,
    distribution_of,
    error_of,
    mask_text,
    most_rows,
    rows_of,
    vocabulary_of,
)
from llterm.backends.remote.server_memory import recall_vocabulary, remember_vocabulary
from llterm.backends.remote.server_vocabulary import RemoteVocabulary
from llterm.backends.remote.transport import BadAnswer, RequestRefused, Transport
from llterm.core.anchor_numbers import AnchorNumbers
from llterm.core.attention_weights import Attention
from llterm.core.query import (
    Capabilities,
    Cost,
    Fact,
    Failed,
    LogitRows,
    Query,
    ScoreColumns,
    TokenScore,
    single_scores,
)
from llterm.core.server_news import ServerNews
from llterm.core.tokens import Anchor, Tail, Token

OWNER = "llterm"
"""What `llterm serve` says of who owns its models."""
KEPT_ANCHORS = 64
"""Anchors whose names are remembered."""


class LltermBackend:
    """A model of an `llterm serve`."""

    speaks = "llterm"
    """The name of its server's dialect."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        served_as: str,
        vocabulary: RemoteVocabulary,
        capabilities: Capabilities,
        *,
        steady: bool = False,
    ) -> None:
        """`served_as`: its name there. `steady`: the same requests every time, for recordings."""
        self.name = name
        self.transport = transport
        self.vocabulary = vocabulary
        self.capabilities = capabilities
        self.spent = Cost()
        self.served_as = served_as
        self._own = "recorded" if steady else uuid4().hex
        """What begins this connection's names of anchors: nobody else's are so."""
        self._anchors = AnchorNumbers(KEPT_ANCHORS)

    @property
    def news(self) -> ServerNews:
        """How its server is doing."""
        return self.transport.news

    @property
    def explained(self) -> Sequence[tuple[str, str]]:
        """What its server can do and cannot, row by row."""
        capabilities = self.capabilities
        return [
            ("server", "llterm"),
            ("model", self.served_as),
            ("probabilities", "of all tokens, whole rows too"),
            ("token ids", "yes"),
            ("constraints, healing", "yes, by masks"),
            ("scores", "yes"),
            ("attention", "yes" if capabilities.attention else "no: the model shows none"),
            ("context", f"{capabilities.context:,} tokens"),
        ]

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for group in self._groups(queries):
            reply = await self.transport.post("/v1/llterm/facts", self._questions(group))
            for answer in self._answers(group, AnswerValue(reply.data)["facts"]):
                if isinstance(answer, Fact):
                    self.spent += answer.cost
                yield answer

    def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[TokenScore]:
        return single_scores(self.score_columns(tokens, start, keep))

    async def score_columns(
        self, tokens: Tail, start: int = 1, keep: int = 64, *, aside: bool = True
    ) -> AsyncGenerator[ScoreColumns]:
        size = self.vocabulary.size
        body = self._body(tokens=tokens, start=max(start, 1), keep=min(keep, size), aside=aside)
        async with aclosing(self.transport.stream("/v1/llterm/scores", body)) as parts:
            async for part in parts:
                columns = columns_of(AnswerValue(part), size)
                self.spent += columns.cost
                yield columns

    async def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        body = self._body(tokens=tokens, start=max(start, 1), aside=aside)
        async with aclosing(self.transport.stream("/v1/llterm/rows", body)) as parts:
            async for part in parts:
                rows = rows_of(AnswerValue(part), self.vocabulary.size)
                self.spent += rows.cost
                yield rows

    async def attention(self, tokens: Tail, rows: int, columns: int) -> Attention:
        body = self._body(tokens=tokens, rows=rows, columns=columns)
        reply = await self.transport.post("/v1/llterm/attention", body)
        attention = attention_of(AnswerValue(reply.data))
        self.spent += Cost(attention.evaluated, requests=1)
        return attention

    async def close(self) -> None:
        await self.transport.close()

    def _groups(self, queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
        """What goes into one request each."""
        whole = most_rows(self.vocabulary.size)
        group: list[Query] = []
        for query in queries:
            full = sum(each.full for each in group) + query.full
            if len(group) >= MOST_QUERIES or full > whole:
                yield group
                group = []
            group.append(query)
        if group:
            yield group

    def _body(self, **fields: Any) -> Mapping[str, Any]:
        return {
            "model": self.served_as,
            "vocabulary": self.vocabulary.fingerprint,
            **fields,
        }

    def _questions(self, queries: Sequence[Query]) -> Mapping[str, Any]:
        anchors = list(dict.fromkeys(query.path.anchor for query in queries))
        masks = {id(query.mask): query.mask for query in queries if query.mask is not None}
        places = {key: place for place, key in enumerate(masks)}
        return self._body(
            anchors=[{"id": self._named(anchor), "tokens": anchor.tokens} for anchor in anchors],
            masks=[mask_text(mask) for mask in masks.values()],
            queries=[
                {
                    "anchor": anchors.index(query.path.anchor),
                    "tail": query.path.tail,
                    "keep": min(query.keep, self.vocabulary.size),
                    "mask": None if query.mask is None else places[id(query.mask)],
                    "full": query.full,
                }
                for query in queries
            ],
        )

    def _named(self, anchor: Anchor) -> str:
        """Its name on the server: paths after another anchor of the same tokens are apart."""
        return f"{self._own}-{self._anchors.of(anchor)}"

    def _answers(self, queries: Sequence[Query], told: AnswerValue) -> Iterator[Fact | Failed]:
        """Each query's; the request is booked on the first fact. Raises BadAnswer."""
        waiting = dict(enumerate(queries))
        requests = 1
        for value in told.items():
            query = waiting.pop(value["query"].whole(), None)
            if query is None:
                raise unreadable(f"{value.name} answers what was not asked")
            if (error := value.get("error")) is not None:
                yield Failed(query.path, error_of(error))
                continue
            cost = cost_of(value["cost"]) + Cost(requests=requests)
            requests = 0
            yield Fact(query.path, distribution_of(value, self.vocabulary.size), cost)
        if waiting:
            raise unreadable(f"{told.name} lacks {len(waiting):,} of {len(queries):,} answers")


async def open_llterm(
    name: str,
    discovery: Discovery,
    model: str | None,
    context: int | None = None,
    *,
    steady: bool = False,
) -> LltermBackend | None:
    """The model there, by its name or the only one; None where the server is no llterm that tells
    all of it. `context` overrides what it sees; `steady`: as of `LltermBackend`.

    Raises LltermError.
    """
    owners = {entry.get("owned_by") for entry in await discovery.models()}
    if OWNER not in owners:
        return None
    model = model or await discovery.chosen_model()
    told = await discovery.get("/v1/llterm")
    if model is None or told is None:
        return None
    chosen = _told_of(told, model)
    if chosen is None:
        with suppress(RequestRefused):
            # One that is not loaded is, for who names it; that may take long.
            path = f"/v1/llterm?model={quote(model)}"
            chosen = _told_of((await discovery.transport.get(path)).data, model)
    if chosen is None:
        return None
    transport, served_as = discovery.transport, chosen["name"].text()
    listed, tokens = await _vocabulary(transport, chosen, keep=not steady)

    async def encode(text: str) -> Sequence[Token]:
        body = {"model": served_as, "content": text, "parse_special": False}
        reply = await transport.post("/tokenize", body)
        ids = AnswerValue(reply.data)["tokens"].items()
        return [tokens[id.whole(most=len(tokens) - 1)] for id in ids]

    vocabulary = RemoteVocabulary(
        listed["fingerprint"].text(),
        tokens,
        size=len(tokens),
        prefix=tuple(id.whole(most=len(tokens) - 1) for id in listed["prefix"].items()),
        encoder=encode,
    )
    capabilities = _capabilities(chosen["capabilities"], context)
    return LltermBackend(name, transport, served_as, vocabulary, capabilities, steady=steady)


def _told_of(told: Any, model: str) -> AnswerValue | None:
    """What a server tells of this model, by its name or an alias; None where it is none of those of
    which all is told."""
    if AnswerValue(told)["form"].whole() != FORM:
        return None
    for each in AnswerValue(told)["models"].items():
        if model in (each["name"].text(), *(alias.text() for alias in each["aliases"].items())):
            return each
    return None


async def _vocabulary(
    transport: Transport, model: AnswerValue, *, keep: bool
) -> tuple[AnswerValue, Sequence[Token]]:
    """What the server tells of a model's vocabulary, and its tokens. `keep`: what was told before
    of the same one is on disk."""
    fingerprint, name = model["vocabulary"].text(), model["name"].text()
    kept = await asyncio.to_thread(recall_vocabulary, fingerprint) if keep else None
    with suppress(BadAnswer):
        return AnswerValue(kept), vocabulary_of(AnswerValue(kept))
    told = (await transport.get(f"/v1/llterm/vocabulary/{name}")).data
    tokens = vocabulary_of(AnswerValue(told))
    if keep:
        await asyncio.to_thread(remember_vocabulary, fingerprint, told)
    return AnswerValue(told), tokens


def _capabilities(told: AnswerValue, context: int | None) -> Capabilities:
    cells = told.get("cells")
    return Capabilities(
        full_vocabulary=True,
        batch=min(told["batch"].whole(1), MOST_QUERIES),
        rounds=told["rounds"].whole(1),
        context=context or told["context"].whole(1),
        cells=None if cells is None else cells.whole(1),
        shares=told["shares"].truth(),
        ordered=told["ordered"].truth(),
        anchored=told["anchored"].truth(),
        attention=told["attention"].truth(),
        pieces=told["pieces"].whole(1),
    )
