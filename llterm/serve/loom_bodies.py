"""What the addresses of looms take: titles, texts, numbers; ids of nodes stand in the address."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from llterm.config.schema import WEAVE
from llterm.config.setting import MOST_STOPS, Setting
from llterm.core.loom_tree import ROOT
from llterm.core.weave_settings import WeaveSettings
from llterm.formats.file_formats import EXPORTS, IMPORTS
from llterm.serve.api_errors import bad_field
from llterm.serve.body_reader import BodyBase
from llterm.serve.classify_bodies import LabelFields, Said
from llterm.serve.generation_bodies import Seed, Stops, TokenId
from llterm.serve.inspection_bodies import MethodFields, SightFields, StepFields
from llterm.serve.sampler_fields import LogitBias, with_sampler_fields
from llterm.serve.serve_limits import STOP_BYTES
from llterm.session.tree_commands import MOST_RATING

Kind = TypeVar("Kind", bound=msgspec.Struct)
MOST_GROWN = 64
MOST_GROWN_TOKENS = 4096
MOST_WRITTEN = 64
MOST_PAGE = 500
MOST_BUDGET = 50_000
"""Distributions that one weave may ask for."""
MOST_LONG = 1 << 30
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(min_length=1, max_length=1 << 20)]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]
NodeId = Annotated[int, Meta(ge=ROOT, le=(1 << 31) - 1)]


class NewLoomBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A loom to make."""

    title: Title
    text: Annotated[str, Meta(max_length=1 << 20)] = ""
    """What it begins with."""
    prefix: Said = ""
    """Hidden text before it."""
    message: Said = ""
    """What it is a reply to: the model's chat template writes it."""
    system: Said = ""


class ImportBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Another program's file, or a text, to make a loom of."""

    title: Title
    data: Annotated[str, Meta(max_length=1 << 26)]
    format: Literal[IMPORTS] | None = None  # type: ignore[valid-type]
    """None: it is found out."""


class TitleBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Another title."""

    title: Title


class NothingBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """All is said by the address."""


class ChildrenBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A child to write, or several."""

    text: Text | None = None
    texts: Annotated[list[Text], Meta(min_length=1, max_length=MOST_WRITTEN)] | None = None


class MarksBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """What is noted on a node; what is left out stays."""

    bookmark: bool | None = None
    rating: Annotated[int, Meta(ge=0, le=MOST_RATING)] | None = None
    tags: Annotated[list[Tag], Meta(max_length=100)] | None = None
    note: Said | None = None


class _GrowFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Children to draw."""

    model: str | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_GROWN)] = 4
    max_tokens: Annotated[int, Meta(ge=1, le=MOST_GROWN_TOKENS)] = 32
    sentence: bool = False
    """Each ends where a sentence ends."""
    heal: bool = True
    """A word that the text ends in is finished first."""
    stop: Stops | None = None
    seed: Seed | None = None
    logit_bias: LogitBias | None = None
    stream: bool = False


class _WeaveFields(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Suggestions to find; what is left out is as the loom has it."""

    model: str | None = None
    stream: bool = False


class AcceptBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """What the story is to go on with: this node, or what a weave found after it."""

    model: str | None = None
    weave: Annotated[str, Meta(max_length=64)] | None = None
    ids: Annotated[list[TokenId], Meta(min_length=1, max_length=MOST_GROWN_TOKENS)] | None = None
    """The first tokens of a suggestion, or all of it."""


class ClipBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """How much of a node stays; one of the two."""

    tokens: Annotated[int, Meta(ge=-MOST_LONG, le=MOST_LONG)] | None = None
    """The first so many; below 0: all but so many at the end."""
    size: Annotated[int, Meta(ge=1, le=MOST_LONG)] | None = None
    """The first so many bytes."""


class TrimBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """How many tokens go at a node's end."""

    tokens: Annotated[int, Meta(ge=1, le=MOST_LONG)] = 1


class _NodePreviewFields(SightFields, kw_only=True, forbid_unknown_fields=True):
    """What may follow a node."""


class _NodeStepFields(StepFields, kw_only=True, forbid_unknown_fields=True):
    """A token more after a node."""


class NodeAttributionBody(MethodFields, kw_only=True, forbid_unknown_fields=True):
    """Which token of a node is asked about, and how."""


class NodeLabelsBody(LabelFields, kw_only=True, forbid_unknown_fields=True):
    """Questions about the text up to a node, or about the node's own."""

    own: bool = False


class PageQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A page of nodes."""

    limit: Annotated[int, Meta(ge=1, le=MOST_PAGE)] = 100
    after: NodeId | None = None
    """The last node of the page before."""


class TreeQuery(PageQuery, kw_only=True, forbid_unknown_fields=True):
    """A page of the tree."""

    under: NodeId = ROOT
    depth: Annotated[int, Meta(ge=1, le=MOST_LONG)] | None = None
    """Levels; all where nothing is said."""


class LoomsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A page of looms."""

    limit: Annotated[int, Meta(ge=1, le=MOST_PAGE)] = 100
    after: Annotated[str, Meta(max_length=200)] = ""


class ExportQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """In which format."""

    format: Literal[EXPORTS] = "json"  # type: ignore[valid-type]
    every: bool = False
    """Every branch, where the format can hold the story alone."""


class EventsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """From where on."""

    after: Annotated[int, Meta(ge=0, le=(1 << 53))] | None = None
    """A revision: what was done since is told first."""


def _with_weave_fields(kind: type[Kind]) -> type[Kind]:
    """The body with a field for every weave setting."""
    fields = [(row.name, _annotated(row), None) for row in WEAVE]
    made = msgspec.defstruct(
        kind.__name__.strip("_"), fields, bases=(kind,), kw_only=True, forbid_unknown_fields=True
    )
    made.__doc__ = kind.__doc__
    return cast("type[Kind]", made)


def _annotated(row: Setting) -> Any:
    said = Annotated[str, Meta(min_length=1, max_length=STOP_BYTES)]
    kinds: dict[str, Any] = {
        "whole number": int, "number": float, "yes or no": bool, "text": said,
        "list of texts": Annotated[list[said], Meta(max_length=MOST_STOPS)],
    }  # fmt: skip
    kind = Literal[row.choices] if row.choices else kinds[row.kind]
    if row.low is not None and row.high is not None:
        low: dict[str, Any] = {"gt" if row.above else "ge": row.low}
        high = MOST_BUDGET if row.name == "budget" else row.high
        kind = Annotated[kind, Meta(**low, le=high)]
    return Annotated[kind | None, Meta(description=row.help)]


def weave_rules(body: Any, rules: WeaveSettings) -> WeaveSettings:
    """Weave settings with what a body says. Raises ApiError."""
    for row in WEAVE:
        value = getattr(body, row.name)
        if value is None:
            continue
        try:
            rules = replace(rules, **{row.attribute: row.check(value)})  # type: ignore[arg-type]
        except ValueError as error:
            raise bad_field(row.name, f"{row.name} cannot be so", f"{error}.") from None
    return replace(rules, budget=min(rules.budget, MOST_BUDGET))


GrowBody = with_sampler_fields(_GrowFields)
WeaveBody = _with_weave_fields(_WeaveFields)
NodePreviewBody = with_sampler_fields(_NodePreviewFields)
NodeStepBody = with_sampler_fields(_NodeStepFields)
