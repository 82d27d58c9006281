"""A place in the story or in a suggestion: all candidates there, before and after constraint and
sampler chain, and another token or text put in its place."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.config.sampling_values import changed
from llterm.config.schema import SAMPLING
from llterm.constraints.compiled import compile
from llterm.core.display_text import raw_text, visible
from llterm.core.distribution import Constrained, Distribution, Mask
from llterm.core.provenance import Arrival
from llterm.core.query import Source
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.ladder import Rung
from llterm.core.sampling.sampler_chain import Chain, Chains, Situation, barring, texts_of
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Tail, Token, Vocabulary, text_bytes
from llterm.errors import UsageError
from llterm.number_format import of_logprob
from llterm.session.document import Document
from llterm.session.manuscript import Change, ModelRun
from llterm.session.session import Session


@dataclass(frozen=True, slots=True)
class TokenProvenance:
    """A token of a model's text as it was then."""

    id: int
    """Of the vocabulary of then."""
    model: str
    logprob: float | None
    """Of the raw model."""
    arrival: Arrival
    settings: Mapping[str, Any]

    @property
    def preset(self) -> str:
        """By which preset it was drawn; empty where it was not, or by none."""
        sampling = self.settings.get("sampling")
        name = sampling.get("preset") if isinstance(sampling, Mapping) else None
        return name if isinstance(name, str) else ""

    @property
    def fast(self) -> bool:
        """Whether the logprob is of fast kernels."""
        return self.settings.get("kernels") == "fast"


@dataclass(frozen=True, slots=True)
class TokenPosition:
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
    born: TokenProvenance | None = None
    """What was true when the token was chosen; None where no model made it, or it is not yet."""


def in_story(session: Session, number: int) -> TokenPosition:
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
    return TokenPosition(place.id, head, situation, constraint, born=born_at(document, place.start))


def born_at(document: Document, start: int) -> TokenProvenance | None:
    """The token whose text begins at this byte of the story; None where no model made one there."""
    at = 0
    loom = document.loom
    for node in loom.path():
        size = sum(stop - first for _, first, stop in node.slices)
        if at + size <= start:
            at += size
            continue
        for span in loom.spans(node):
            if at == start and span.index is not None and span.piece.ids is not None and span.data:
                birth, index = document.undo_log.birth(span.piece.id), span.index
                by = birth.by[index] if index < len(birth.by) else ""
                known = index < len(birth.arrivals)
                return TokenProvenance(
                    span.piece.ids[index],
                    by or span.piece.author,
                    span.logprob,
                    birth.arrivals[index] if known else Arrival(),
                    birth.settings,
                )
            at += len(span.data)
            if at > start:
                return None
    return None


def in_suggestion(session: Session, tail: Tail, number: int) -> TokenPosition:
    """The place of the token of index `number` in a path of the tree.

    Raises UsageError where the suggestions are not of this place any more.
    """
    placed, ids = session.path(tail)
    weave, written, source = placed.weave, ids[:number], session.source
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
    head = placed.prompt.head
    return TokenPosition(ids[number], head, at, weave.constraint, written, healing, tail)


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One candidate."""

    rank: int
    token: Token
    logprob: float
    p_final: float
    dropped_by: str | None
    """The stage that removed it; None where it is kept."""
    valid: bool | None
    """Whether the constraint allows it; None without a constraint."""


@dataclass(frozen=True, slots=True)
class CandidateTable:
    """Some of the candidates, and the mass of the others."""

    rows: Sequence[CandidateRow]
    other: int
    """How many are not listed."""
    other_base: float
    other_final: float
    other_valid: int | None
    """How many of the others the constraint allows; None without a constraint."""
    kept: int
    """Candidates that the chain leaves, of all of them."""


class Inspection:
    """A distribution over the whole vocabulary, read again under any chain with no inference."""

    def __init__(
        self, vocabulary: Vocabulary, position: TokenPosition, distribution: Distribution
    ) -> None:
        self._vocabulary = vocabulary
        self._position = position
        self._found = distribution
        constraint = position.constraint
        self._mask = constraint.mask(position.written) if constraint is not None else None
        self._chains = Chains(vocabulary)
        self.caveat = ""
        """What is not exact about the chain's figures; empty when all is."""
        self._ids: NDArray[np.int32] = distribution.ids
        self._logprobs = distribution.logprobs.astype(np.float64)
        self._final = np.exp(self._logprobs)
        self._valid = None if self._mask is None else self._mask.allowed[self._ids]
        self._dropped: Sequence[str | None] = [None] * len(self._ids)
        self._labels: list[str] | None = None
        self._rungs: Sequence[Rung] = ()

    @property
    def taken(self) -> float | None:
        """Mass of the candidates that the constraint forbids; None without a constraint."""
        if self._valid is None:
            return None
        return min(float(np.exp(self._logprobs[~self._valid]).sum()), 1.0)

    def climb(self, rank: int) -> list[tuple[str, float]]:
        """The candidate's probability in the model, and after each stage up to what drops it."""
        way = [("model", math.exp(float(self._logprobs[rank - 1])))]
        for rung in self._rungs:
            way.append((rung.stage, float(rung.p[rank - 1])))
            if rung.stage == self._dropped[rank - 1]:
                break
        return way

    def under(self, sampling: Sampling) -> None:
        """Read it as it would be drawn so. Raises UsageError where that leaves nothing."""
        chain = self._chains.known(sampling)
        if chain is None:
            raise UsageError(
                "The tokens of a text in it are not known",
                "The model's server has to be asked for them.",
                "Draw a token or a sample by it first.",
            )
        try:
            ladder = chain.ladder(
                self._found,
                self._position.at,
                mask=None if self._mask is None else self._mask.allowed,
                first=self._first(chain),
            )
        except NoCandidateLeft as error:
            raise UsageError("The chain leaves nothing", str(error), "Loosen a stage.") from error
        self._final, self._dropped = ladder.p_final, list(ladder.dropped_by)
        self._rungs = ladder.rungs
        self.caveat = chain.caveat(self._found)

    def table(self, wanted: str, most: int) -> CandidateTable:
        """The `most` first candidates whose text holds `wanted`, or matches it between slashes.

        Raises UsageError where that is no regular expression.
        """
        chosen = self._matching(wanted)
        listed = chosen[:most]
        token = self._vocabulary.token
        rows = [
            CandidateRow(
                rank=index + 1,
                token=token(int(self._ids[index])),
                logprob=float(self._logprobs[index]),
                p_final=float(self._final[index]),
                dropped_by=self._dropped[index],
                valid=None if self._valid is None else bool(self._valid[index]),
            )
            for index in listed
        ]
        shown, valid = np.array(listed, dtype=np.int64), self._valid
        return CandidateTable(
            rows=rows,
            other=len(self._ids) - len(rows),
            other_base=max(1.0 - float(np.exp(self._logprobs[shown]).sum()), 0.0),
            other_final=max(1.0 - float(self._final[shown].sum()), 0.0),
            other_valid=None if valid is None else int(valid.sum() - valid[shown].sum()),
            kept=int((self._final > 0).sum()),
        )

    def now(self, id: int) -> tuple[float, float] | None:
        """A candidate's logprob, and what the chain leaves of it; None where it is not listed."""
        places = np.flatnonzero(self._ids == id)
        if not len(places):
            return None
        return float(self._logprobs[places[0]]), float(self._final[places[0]])

    def told(self, text: str) -> str:
        """Rank and probability of a text that somebody typed: of its first token."""
        ids = self._vocabulary.known_tokens(text.encode("utf-8", "surrogateescape"))
        if not ids:
            return ""
        (place,) = np.flatnonzero(self._ids == ids[0])[:1] if ids[0] in self._ids else (-1,)
        if place < 0:
            return ""
        label = visible(self._vocabulary.token(ids[0]).data)
        figure = of_logprob(float(self._logprobs[place]))
        first = "" if len(ids) == 1 else f" (the first of its {len(ids)} tokens)"
        return f"{label}{first}: rank {int(place) + 1:,}, {figure}"

    def _first(self, chain: Chain) -> list[tuple[str, Stage]]:
        """The stages before the chain's own, as they are when a token is drawn here."""
        position = self._position
        if position.constraint is not None:
            return chain.forced(position.at, position.constraint, position.written)
        if position.healing is not None:
            return [("healing", barring(~position.healing.allowed))]
        return []

    def _matching(self, wanted: str) -> list[int]:
        count = len(self._ids)
        if not wanted:
            return list(range(count))
        if self._labels is None:
            token = self._vocabulary.token
            self._labels = [token(id).data.decode("utf-8", "replace") for id in self._ids.tolist()]
        if len(wanted) > 2 and wanted[0] == wanted[-1] == "/":
            try:
                pattern = re.compile(wanted[1:-1])
            except re.error as error:
                raise UsageError("No regular expression", str(error), "Between slashes.") from error
            return [n for n, label in enumerate(self._labels) if pattern.search(label)]
        return [n for n, label in enumerate(self._labels) if wanted in label]


async def inspect(session: Session, position: TokenPosition) -> Inspection:
    """The whole vocabulary at a place. Raises LltermError."""
    vocabulary, scored = await session.reader.candidates(position.at.context, position.stands)
    for text in texts_of(session.sampling):
        await vocabulary.tokenize(text)  # So that it is known when a chain is made of it.
    return Inspection(vocabulary, position, scored.distribution)


def parse_chain(
    text: str,
    sampling: Sampling | None = None,
    presets: Mapping[str, SamplerSettings] = PRESETS,
) -> Sampling:
    """A chain as it is typed, from what is in force (without that, neutral).

    A preset's name, then `name=value`, such as `balanced top_k=40`; every name of `[sampling]` in
    llterm.toml, `order=penalties,top_k,temperature` too. Raises UsageError naming the wrong word.
    """
    sampling = sampling or Sampling().under("neutral", presets)
    for word in text.split():
        name, equals, value = word.partition("=")
        row = next((setting for setting in SAMPLING if equals and setting.name == name), None)
        if row is None and name not in presets:
            known = ", ".join([*presets, *(setting.name for setting in SAMPLING)])
            raise UsageError(f"There is no {name}", f"Known: {known}.", "")
        try:
            given = row.parse(value) if row is not None else name
            sampling = changed(sampling, row.name if row else "preset", given, presets)
        except ValueError as error:
            raise UsageError(f"{word} cannot be", f"{error}.", "") from None
    return sampling


def force(session: Session, start: int, id: int, logprob: float) -> Change:
    """Let another token stand after the story's first `start` bytes. Raises LltermError."""
    source, document = session.model, session.document
    at, token = document.display_offset(start), source.vocabulary.token(id)
    if token.special or len(document.bytes_before(at)) != start:
        raise _cannot_stand()
    session.stop()
    document.checkpoint()
    run = _forced_run(source, token, logprob)
    return session.reshape(lambda: document.accept(run, at, carry=False))


def accept_but(session: Session, tail: Tail, number: int, id: int, logprob: float) -> Change:
    """Take a path of the tree up to its token of index `number`, and another in place of that."""
    placed, source = session.suggestions.current, session.model
    before = placed.path(placed.part(tail, number)).run(source)
    run = _forced_after(before, placed.weave.residue, source, id, logprob)
    return session.land(run)


def put_text(session: Session, number: int, text: str) -> Change:
    """Let a person's text stand at the place of this number in `session.reader`."""
    document = session.document
    at = document.display_offset(session.reader.places[number].start)
    session.stop()
    return session.reshape(lambda: document.write(text, at))


def accept_text(session: Session, tail: Tail, text: str) -> Change:
    """Take a suggestion as the person rewrote it: the text is theirs then."""
    if text == raw_text(session.added(tail)):
        return session.accept(tail)
    document = session.document
    document.checkpoint()
    change = session.edit(session.at, session.at, text)
    document.checkpoint()
    return change


def _forced_run(source: Source, token: Token, logprob: float) -> ModelRun:
    """One token that the person chose for the model."""
    return ModelRun(
        ids=(token.id,),
        sizes=(len(token.data),),
        data=token.data,
        logprobs=(logprob,),
        overlap=0,
        model=source.name,
        fingerprint=source.vocabulary.fingerprint,
        settings={"forced": True},
        alternatives=((),),
        arrivals=(Arrival("picked"),),
        kernels=source.capabilities.kernel_kind,
    )


def _forced_after(
    run: ModelRun, residue: bytes, source: Source, id: int, logprob: float
) -> ModelRun:
    """A run with one more token, which the person chose for the model.

    `residue` is what the run's first tokens write again. Raises UsageError where the token is not
    text, or does not finish writing that.
    """
    token = source.vocabulary.token(id)
    rest = residue[len(text_bytes(source.vocabulary, run.ids)) :]
    if token.special or not token.data.startswith(rest):
        raise _cannot_stand()
    return replace(
        run,
        ids=(*run.ids, id),
        sizes=(*run.sizes, len(token.data)),
        data=run.data + token.data[len(rest) :],
        logprobs=(*run.logprobs, logprob),
        settings=run.settings | {"forced": True},
        alternatives=(*run.alternatives, ()),
        arrivals=(*run.arrivals, Arrival("picked")),
    )


def _cannot_stand() -> UsageError:
    """A token that is to be forced where it cannot be."""
    return UsageError(
        "This token cannot stand here",
        "It is no text, or the place is in the middle of a character.",
        "Choose another one.",
    )
