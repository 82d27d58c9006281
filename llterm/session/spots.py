"""A place that is looked at closely: in the story, or in a suggestion that stands at its end."""

from __future__ import annotations

from dataclasses import dataclass

from llterm.constraints.compiled import compile
from llterm.core.constraint import Constrained
from llterm.core.distribution import Mask
from llterm.core.sampling.sampler_chain import Situation
from llterm.core.tokens import Tail, text_bytes
from llterm.session.born import Born, born_at
from llterm.session.session import Session


@dataclass(frozen=True, slots=True)
class Spot:
    """What is known of a place before any model is asked."""

    stands: int
    """The id of the token that stands there."""
    head: int
    """How many of the tokens before it are not the story's: the model's prefix, hidden text."""
    at: Situation
    constraint: Constrained | None = None
    written: Tail = ()
    """The tokens between where the constraint begins and here."""
    healing: Mask | None = None
    """Which tokens may finish what is half written; None where nothing is."""
    tail: Tail | None = None
    """The suggestion it is in, as the tree names it; None in the story."""
    born: Born | None = None
    """What was true when the token was chosen; None where no model made it, or it is not yet."""


def in_story(session: Session, number: int) -> Spot:
    """The place of a token of the story.

    A constraint says nothing of what is written already: here it is as if a weave began here.
    """
    reader, document = session.reader, session.document
    place, context = reader.places[number], reader.context_of(number)
    story = document.bytes_before(len(document.text))[: place.start]
    constraint = None
    if session.constraint is not None and session.source is not None:
        constraint = compile(session.constraint, session.source.vocabulary)
    head = len(context) - number
    situation = Situation(context, story)
    return Spot(place.id, head, situation, constraint, born=born_at(document, place.start))


def in_suggestion(session: Session, tail: Tail, number: int) -> Spot:
    """The place of the token of index `number` in a path of the tree.

    Raises UsageError where the suggestions are not of this place any more.
    """
    woven, ids = session.path(tail)
    weave, written, source = woven.weave, ids[:number], session.source
    assert source is not None, "suggestions of this place are of the model in use"
    drawn = text_bytes(source.vocabulary, written)
    at = Situation(
        context=weave.anchor.tokens + written,
        story=session.document.bytes_before(session.at),
        drawn=drawn[len(weave.residue) :],
        count=number,
        residue=weave.residue[len(drawn) :],
    )
    healing = weave.mask(written) if weave.constraint is None else None
    head = woven.prompt.head
    return Spot(ids[number], head, at, weave.constraint, written, healing, tail)
