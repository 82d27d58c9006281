"""What llterm's own addresses take: questions of another llterm, by token ids."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from llterm.backends.remote.llterm_form import MOST_QUERIES
from llterm.serve.body_reader import BodyBase
from llterm.serve.generation_bodies import TokenId

MOST_TAIL = 1 << 16
MOST_TEXT = 1 << 20
MASK_TEXT = 1 << 17
"""Characters of the largest vocabulary's mask."""
Tokens = Annotated[list[TokenId], Meta(min_length=1, max_length=MOST_TEXT)]
Place = Annotated[int, Meta(ge=0, lt=MOST_QUERIES)]
Size = Annotated[int, Meta(ge=1, le=MOST_TEXT)]


class AnchorPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A beginning that many paths share."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    """What is known of paths holds after the anchor of this name; another name begins anew."""
    tokens: Tokens


class QueryPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A place that is asked about."""

    anchor: Place
    tail: Annotated[list[TokenId], Meta(max_length=MOST_TAIL)] = msgspec.field(default_factory=list)
    keep: Size = 64
    """Candidates to list."""
    mask: Place | None = None
    full: bool = False
    """The whole row too."""


class _OwnFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """What each of these says."""

    vocabulary: Annotated[str, Meta(max_length=64)]
    """Fingerprint of the one that the ids are of: another is refused."""
    model: str | None = None


class FactsBody(_OwnFields, kw_only=True, forbid_unknown_fields=True):
    """Queries: what may follow each path."""

    anchors: Annotated[list[AnchorPart], Meta(min_length=1, max_length=MOST_QUERIES)]
    masks: Annotated[
        list[Annotated[str, Meta(max_length=MASK_TEXT)]], Meta(max_length=MOST_QUERIES)
    ] = msgspec.field(default_factory=list)
    """Which ids may stand: bits in base64."""
    queries: Annotated[list[QueryPart], Meta(min_length=1, max_length=MOST_QUERIES)]


class ScoresBody(_OwnFields, kw_only=True, forbid_unknown_fields=True):
    """A text's tokens, and what the model expected at each."""

    tokens: Tokens
    start: Size = 1
    keep: Size = 64
    aside: bool = True
    """A short part leaves the cached story where it is."""


class RowsBody(_OwnFields, kw_only=True, forbid_unknown_fields=True):
    """The same as whole rows of logits."""

    tokens: Tokens
    start: Size = 1
    aside: bool = True


class AttentionBody(_OwnFields, kw_only=True, forbid_unknown_fields=True):
    """How the last tokens of a text attend to its last ones."""

    tokens: Tokens
    rows: Size
    columns: Size
