"""llterm's own addresses: everything that a model tells another llterm, in one form."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol, TypeGuard, TypeVar, runtime_checkable

from llterm.backends.remote.llterm_form import (
    FORM,
    MOST_ATTENTION,
    MOST_QUERIES,
    MOST_SCORED,
    Record,
    attention_record,
    bits_of,
    columns_record,
    cost_record,
    distribution_record,
    error_record,
    most_rows,
    rows_record,
    vocabulary_record,
)
from llterm.core.distribution import Mask
from llterm.core.query import (
    Backend,
    Cost,
    Failed,
    LogitRows,
    ProvidesAttention,
    ProvidesLogits,
    Query,
    ScoresInColumns,
)
from llterm.core.tokens import Anchor, Path, Tail
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.llterm_bodies import AttentionBody, FactsBody, RowsBody, ScoresBody
from llterm.serve.model_pool import ModelPool
from llterm.serve.serve_limits import MOST_FACTS
from llterm.serve.served_models import ServedModel
from llterm.version import __version__

KEPT_ANCHORS = 256
KEPT_TOKENS = 1 << 22
"""Of all anchors that are kept."""
_Listed = TypeVar("_Listed")


@runtime_checkable
class _TellsAll(Backend, ProvidesLogits, ScoresInColumns, Protocol):
    """A backend that tells all of its model."""


class _AnchorKey(NamedTuple):
    whose: str
    model: str
    id: str


class OwnAnchors:
    """The anchors that clients named last. A name is its client's alone: whoever has another key
    and says the same has an anchor apart."""

    def __init__(self) -> None:
        self._anchors: OrderedDict[_AnchorKey, Anchor] = OrderedDict()

    def get(self, whose: str, model: str, id: str, tokens: Tail) -> Anchor:
        """The one of this name, if it has these tokens; else a new one."""
        key = _AnchorKey(whose, model, id)
        anchor = self._anchors.get(key)
        if anchor is None or anchor.tokens != tokens:
            anchor = self._anchors[key] = Anchor(tokens)
        self._anchors.move_to_end(key)
        while len(self._anchors) > 1 and self._too_many:
            self._anchors.popitem(last=False)
        return anchor

    @property
    def _too_many(self) -> bool:
        tokens = sum(len(anchor.tokens) for anchor in self._anchors.values())
        return len(self._anchors) > KEPT_ANCHORS or tokens > KEPT_TOKENS


def own_models(pool: ModelPool) -> Record:
    """`/v1/llterm`: the loaded models of which all is told, and what each can."""
    told = [
        {
            "name": model.name,
            "aliases": pool.aliases(model),
            "vocabulary": served.vocabulary.fingerprint,
            "capabilities": _capabilities(served.backend),
        }
        for model in pool.models
        for served in [replica.model for replica in model.replicas[:1]]
        if _tells_all(served.backend)
    ]
    return {"form": FORM, "version": __version__, "models": told}


def own_vocabulary(model: ServedModel) -> Record:
    """`/v1/llterm/vocabulary/{id}`: all tokens of a model."""
    _whole(model)
    vocabulary = model.vocabulary
    return {
        "fingerprint": vocabulary.fingerprint,
        "prefix": list(vocabulary.prefix),
        **vocabulary_record(list(model.known_tokens)),
    }


async def answered_facts(
    body: FactsBody, model: ServedModel, anchors: OwnAnchors, whose: str
) -> Record:
    """Every query's distribution, or its error. Raises LltermError."""
    backend = _asked(body.vocabulary, model)
    size = model.vocabulary.size
    named = [
        anchors.get(
            whose, model.name, each.id, model.check_ids(each.tokens, f"anchors[{place}].tokens")
        )
        for place, each in enumerate(body.anchors)
    ]
    masks = [_mask(text, size, f"masks[{place}]") for place, text in enumerate(body.masks)]
    _check_amounts(body, size)
    queries = [
        Query(
            Path(
                _at(named, each.anchor, f"queries[{place}].anchor"),
                model.check_ids(each.tail, f"queries[{place}].tail"),
            ),
            keep=min(each.keep, size),
            mask=None if each.mask is None else _at(masks, each.mask, f"queries[{place}].mask"),
            full=each.full,
        )
        for place, each in enumerate(body.queries)
    ]
    told, tokens = await _facts(backend, queries)
    return {"facts": told, "usage": _usage(tokens)}


async def scored(body: ScoresBody, model: ServedModel) -> AsyncGenerator[Record]:
    """The scores of a text, part after part. Raises LltermError."""
    backend = _asked(body.vocabulary, model)
    tokens = model.check_ids(body.tokens, "tokens")
    keep = min(body.keep, model.vocabulary.size)
    if max(len(tokens) - body.start, 0) * keep > MOST_SCORED:
        raise bad_field(
            "keep", f"{len(tokens):,} tokens × {keep:,} candidates are too many",
            f"{MOST_SCORED:,} are the most of one text.",
        )  # fmt: skip
    tokens_read = 0
    async with aclosing(backend.score_columns(tokens, body.start, keep, aside=body.aside)) as parts:
        async for part in parts:
            tokens_read += part.cost.tokens
            yield {**columns_record(part), "usage": _usage(tokens_read)}


async def whole_rows(body: RowsBody, model: ServedModel) -> AsyncGenerator[Record]:
    """Whole rows of a text, part after part. Raises LltermError."""
    backend = _asked(body.vocabulary, model)
    tokens = model.check_ids(body.tokens, "tokens")
    most = most_rows(model.vocabulary.size)
    tokens_read = 0
    async with aclosing(backend.rows(tokens, body.start, aside=body.aside)) as parts:
        async for part in parts:
            for at in range(0, len(part.logits), most):
                cost = part.cost if at == 0 else Cost()
                tokens_read += cost.tokens
                rows = LogitRows(part.first + at, part.logits[at : at + most], cost)
                yield {**rows_record(rows), "usage": _usage(tokens_read)}


async def shown_attention(body: AttentionBody, model: ServedModel) -> Record:
    """What the layers attend to. Raises LltermError."""
    backend = _asked(body.vocabulary, model)
    tokens = model.check_ids(body.tokens, "tokens")
    for name in ("rows", "columns"):
        if getattr(body, name) > len(tokens):
            raise bad_field(name, f"{name} are more than the tokens", f"There are {len(tokens):,}.")
    if body.rows * body.columns > MOST_ATTENTION:
        raise bad_field(
            "rows", f"{body.rows:,} rows × {body.columns:,} columns are too many",
            f"{MOST_ATTENTION:,} are the most of one answer.",
        )  # fmt: skip
    if not (backend.capabilities.attention and isinstance(backend, ProvidesAttention)):
        raise bad_field("model", f"{model.name} shows no attention")
    attention = await backend.attention(tokens, body.rows, body.columns)
    return {**attention_record(attention), "usage": _usage(attention.evaluated)}


async def _facts(backend: Backend, queries: Sequence[Query]) -> tuple[Sequence[Record], int]:
    """As they come; and how many tokens were evaluated."""
    # By identity: one path may be asked about under several masks.
    places = {id(query.path): place for place, query in enumerate(queries)}
    told: list[Record] = []
    tokens = 0
    async with aclosing(backend.ask(queries)) as answers:
        async for answer in answers:
            place = places[id(answer.path)]
            if isinstance(answer, Failed):
                told.append({"query": place, "error": error_record(answer.error)})
                continue
            tokens += answer.cost.tokens
            cost, distribution = cost_record(answer.cost), answer.distribution
            told.append({"query": place, "cost": cost, **distribution_record(distribution)})
    return told, tokens


def _usage(tokens: int) -> Record:
    """Tokens evaluated, where OpenAI's clients look for such counts."""
    return {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}


def _tells_all(backend: Backend) -> TypeGuard[_TellsAll]:
    return isinstance(backend, _TellsAll) and backend.capabilities.full_vocabulary


def _whole(model: ServedModel) -> _TellsAll:
    """The backend of a model of which all is told. Raises ApiError."""
    backend = model.backend
    if _tells_all(backend):
        return backend
    raise ApiError(
        404, f"{model.name} cannot be asked so", "Not all of its probabilities are known here.",
        "/v1/completions tells what is.", param="model", code="model_not_found",
    )  # fmt: skip


def _asked(vocabulary: str, model: ServedModel) -> _TellsAll:
    """The backend that a question is for. Raises ApiError where its ids mean other tokens."""
    backend = _whole(model)
    if vocabulary != model.vocabulary.fingerprint:
        raise ApiError(
            400, "This model has another vocabulary", "The ids of the question are not its.",
            "Open the model again.", param="vocabulary", code="vocabulary_changed",
        )  # fmt: skip
    return backend


def _capabilities(backend: Backend) -> Record:
    told = backend.capabilities
    return {
        "batch": min(told.batch, MOST_QUERIES),
        "rounds": told.rounds,
        "context": told.context,
        "cells": told.cells,
        "shares": told.shares,
        "ordered": told.ordered,
        "anchored": told.anchored,
        "attention": told.attention,
        "pieces": told.pieces,
    }


def _mask(text: str, size: int, param: str) -> Mask:
    bits = bits_of(text, size)
    if bits is None:
        raise bad_field(param, f"{param} is no mask", f"It is to be {size:,} bits in base64.")
    return Mask(bits)


def _at(listed: Sequence[_Listed], place: int, param: str) -> _Listed:
    if place >= len(listed):
        raise bad_field(param, f"There is no {place}", f"{len(listed):,} are given.")
    return listed[place]


def _check_amounts(body: FactsBody, size: int) -> None:
    """Raise ApiError where an answer would be too large."""
    if sum(min(query.keep, size) for query in body.queries) > MOST_FACTS:
        raise bad_field(
            "queries",
            "These are too many candidates",
            f"{MOST_FACTS:,} are the most of one answer.",
        )
    rows = sum(query.full for query in body.queries)
    if rows > most_rows(size):
        raise bad_field(
            "queries", f"{rows:,} whole rows are too many",
            f"{most_rows(size):,} are the most of one answer.",
        )  # fmt: skip
