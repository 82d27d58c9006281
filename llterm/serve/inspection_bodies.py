"""What `/v1/llterm/preview`, `/step` and `/attribution` take: a place in a text, token by token."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from llterm.core.attribution_methods import LAST, LIMIT, Method
from llterm.serve.body_reader import BodyBase
from llterm.serve.chat_bodies import MessageBody
from llterm.serve.generation_bodies import Seed, Source, Stops, StructuredOutputs, TokenId
from llterm.serve.llterm_bodies import MOST_TEXT
from llterm.serve.sampler_fields import LogitBias, with_sampler_fields
from llterm.serve.serve_limits import MOST_LISTED, MOST_MESSAGES

Kind = TypeVar("Kind", bound=msgspec.Struct)
MOST_FORCED = 64
"""Tokens that a text which is forced may have: each has a distribution."""


class SightFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """What is told of what may follow, and what the sampler makes of it."""

    model: str | None = None
    top: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 10
    branch: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    """Whose random numbers are drawn: with a seed, these and the place alone decide."""
    seed: Seed | None = None
    stop: Stops | None = None
    logit_bias: LogitBias | None = None
    structured_outputs: StructuredOutputs | None = None
    regex_pattern: Source | None = None


class StepFields(SightFields, kw_only=True, forbid_unknown_fields=True):
    """The same, and a token more."""

    force_token_id: TokenId | None = None
    force_text: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None


class MethodFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Which token is asked about, and how."""

    model: str | None = None
    method: Method = "attention"
    target_index: Annotated[int, Meta(ge=0, lt=MOST_TEXT)] | None = None
    """In `completion_ids`; their number: what follows them. None: the last one."""
    target_token_id: TokenId | None = None
    """Another token in its place."""
    layer: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0
    last: Annotated[int, Meta(ge=1, le=512)] = LAST
    limit: Annotated[int, Meta(ge=1, le=1024)] = LIMIT


def _of_a_text(kind: type[Kind], name: str) -> type[Kind]:
    """The body with a text, and what was written after it so far."""
    ids = Annotated[list[TokenId], Meta(max_length=MOST_TEXT)]
    messages = Annotated[list[MessageBody], Meta(min_length=1, max_length=MOST_MESSAGES)]
    fields: list[tuple[str, Any, None]] = [
        ("prompt", str | ids | None, None),
        # In the prompt's place: a chat, which the model's template writes.
        ("messages", messages | None, None),
        # Kept as ids: nothing is cut into tokens again.
        ("completion_ids", ids | None, None),
    ]
    made = msgspec.defstruct(name, fields, bases=(kind,), kw_only=True, forbid_unknown_fields=True)
    made.__doc__ = kind.__doc__
    return cast("type[Kind]", made)


PreviewBody = with_sampler_fields(_of_a_text(SightFields, "PreviewBody"))
StepBody = with_sampler_fields(_of_a_text(StepFields, "StepBody"))
AttributionBody = _of_a_text(MethodFields, "AttributionBody")
