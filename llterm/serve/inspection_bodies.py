"""What `/v1/llterm/preview`, `/step` and `/attribution` take: a place in a text, token by token."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llterm.core.attribution_methods import LAST, LIMIT, Method
from llterm.serve.body_reader import BodyBase
from llterm.serve.chat_bodies import MessageBody
from llterm.serve.generation_bodies import Seed, Source, Stops, StructuredOutputs, TokenId
from llterm.serve.llterm_bodies import MOST_TEXT
from llterm.serve.sampler_fields import LogitBias, with_sampler_fields
from llterm.serve.serve_limits import MOST_LISTED, MOST_MESSAGES

MOST_FORCED = 64
"""Tokens that a text which is forced may have: each has a distribution."""


class _PlaceFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A text, and what was written after it so far."""

    model: str | None = None
    prompt: str | Annotated[list[TokenId], Meta(max_length=MOST_TEXT)] | None = None
    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=MOST_MESSAGES)] | None = (
        None
    )
    """In the prompt's place: a chat, which the model's template writes."""
    completion_ids: Annotated[list[TokenId], Meta(max_length=MOST_TEXT)] | None = None
    """Kept as ids: nothing is cut into tokens again."""


class _PreviewFields(_PlaceFields, kw_only=True, forbid_unknown_fields=True):
    """What may follow there, and what the sampler makes of it."""

    top: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 10
    branch: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    """Whose random numbers are drawn: with a seed, these and the place alone decide."""
    seed: Seed | None = None
    stop: Stops | None = None
    logit_bias: LogitBias | None = None
    structured_outputs: StructuredOutputs | None = None
    regex_pattern: Source | None = None


class _StepFields(_PreviewFields, kw_only=True, forbid_unknown_fields=True):
    """The same, and a token more."""

    force_token_id: TokenId | None = None
    force_text: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None


PreviewBody = with_sampler_fields(_PreviewFields)
StepBody = with_sampler_fields(_StepFields)


class AttributionBody(_PlaceFields, kw_only=True, forbid_unknown_fields=True):
    """Which token is asked about, and how."""

    method: Method = "attention"
    target_index: Annotated[int, Meta(ge=0, lt=MOST_TEXT)] | None = None
    """In `completion_ids`; their number: what follows them. None: the last one."""
    target_token_id: TokenId | None = None
    """Another token in its place."""
    layer: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0
    last: Annotated[int, Meta(ge=1, le=512)] = LAST
    limit: Annotated[int, Meta(ge=1, le=1024)] = LIMIT
