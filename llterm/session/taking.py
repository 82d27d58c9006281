"""What an accept takes: parts of a suggestion, and the run that goes into the story."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import islice

from llterm.core.distribution import Distribution
from llterm.core.prompt import Prompt
from llterm.core.provenance import Arrival
from llterm.core.query import Source
from llterm.core.sampling.sampler_chain import Choice
from llterm.core.scored_text import Reading, read_step
from llterm.core.suggestion_tree import adding
from llterm.core.tokens import Tail, Token, Vocabulary, text_bytes
from llterm.core.weave_state import Weave
from llterm.errors import UsageError
from llterm.session.document import ModelRun
from llterm.session.refusals import cannot_stand

ALTERNATIVES = 5
"""Candidates kept with each accepted token."""
FORCING = ("constraint", "healing")
"""Stages of the chain that drop what may not stand, whatever the knobs say."""
_SAME = 1e-6
"""Share by which the roundings of one probability differ."""
REJECTED = 8
"""Suggestions kept that were there and not taken."""


def first_token(weave: Weave, tail: Tail) -> Tail:
    """The least part of `tail` that adds text."""
    sizes = range(1, len(tail))
    return next((tail[:size] for size in sizes if weave.beam(tail[:size]).data), tail)


def first_word(weave: Weave, tail: Tail) -> Tail:
    """The part of `tail` that holds its first word: up to where the next one begins."""
    for size in range(1, len(tail)):
        following = weave.beam(tail[: size + 1]).shown
        if weave.beam(tail[:size]).data.strip() and following[:1].isspace():
            return tail[:size]
    return tail


def readings_along(weave: Weave, tail: Tail, vocabulary: Vocabulary) -> list[Reading]:
    """The tokens of a path as the model sees them, less those that write the residue again."""
    steps = weave.beam(tail).steps
    first = len(steps) - len(adding(steps, weave.residue))
    return [
        read_step(step, weave.facts[tail[:n]], vocabulary, n)
        for n, step in enumerate(steps[first:], first)
    ]


def taken(prompt: Prompt, weave: Weave, ids: Tail) -> Prompt:
    """The prompt after an accept of these tokens; `weave` is what hangs below them."""
    return replace(
        prompt,
        tokens=weave.anchor.tokens,
        residue=weave.residue,
        before=weave.before[-64:],
        sight=replace(prompt.sight, story=prompt.sight.story + len(ids)),
    )


def model_run(weave: Weave, tail: Tail, source: Source) -> ModelRun:
    """The tokens of `tail` as the story keeps them: with logprobs, alternatives and settings.

    An end-of-text token is shown in the tree, but does not go into a story. Raises UsageError for
    what is banned.
    """
    if tail and source.vocabulary.token(tail[-1]).end:
        tail = tail[:-1]
    beam = weave.beam(tail)
    if beam.banned:
        raise UsageError("This branch may not stand", f"It is taken by: {beam.banned}.", "")
    tokens = [source.vocabulary.token(id) for id in tail]
    return ModelRun(
        ids=tail,
        sizes=tuple(0 if token.special else len(token.data) for token in tokens),
        data=beam.data,
        logprobs=tuple(step.logprob for step in beam.steps),
        overlap=len(weave.residue),
        model=source.name,
        fingerprint=source.vocabulary.fingerprint,
        settings=asdict(weave.rules),
        alternatives=tuple(
            alternatives(weave.facts[tail[:n]], source.vocabulary) for n in range(len(tail))
        ),
        rejected=_rejected(weave, tail),
        arrivals=tuple(_accepted(weave, tail[:n]) for n in range(len(tail))),
    )


def forced_run(source: Source, token: Token, logprob: float) -> ModelRun:
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
    )


def forced_after(
    run: ModelRun, residue: bytes, source: Source, id: int, logprob: float
) -> ModelRun:
    """A run with one more token, which the person chose for the model.

    `residue` is what the run's first tokens write again. Raises UsageError where the token is not
    text, or does not finish writing that.
    """
    token = source.vocabulary.token(id)
    rest = residue[len(text_bytes(source.vocabulary, run.ids)) :]
    if token.special or not token.data.startswith(rest):
        raise cannot_stand()
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


def arrival_of(choice: Choice) -> Arrival:
    """How a token came that the sampler chain drew."""
    ladder, kept = choice.ladder, int(choice.ladder.kept.sum())
    way = "drawn"
    if kept == 1:
        forced = [rung.p > 0 for rung in ladder.rungs if rung.stage in FORCING]
        allowed = ladder.p_base[forced[-1]] if forced else ladder.p_base
        first = allowed.max() <= math.exp(choice.logprob) * (1 + _SAME)
        way = "forced" if len(allowed) == 1 else "first choice" if first else "drawn"
    return Arrival(way, min(float(f"{choice.p:.6g}"), 1.0), kept)


def _accepted(weave: Weave, before: Tail) -> Arrival:
    """How the token after these came with a suggestion."""
    mask = weave.mask(before)
    only = mask is not None and int(mask.allowed.sum()) == 1
    return Arrival("forced" if only else "accepted")


def _rejected(weave: Weave, tail: Tail) -> tuple[tuple[bytes, float], ...]:
    """The most probable suggestions that do not go through this path."""
    others = (
        (one.data, one.logprob)
        for one in weave.view().suggestions
        if one.tail[: len(tail)] != tail and one.data
    )
    return tuple(islice(others, REJECTED))


def alternatives(
    found: Distribution, vocabulary: Vocabulary
) -> tuple[tuple[int, bytes, float], ...]:
    """The best candidates at a place, as the story keeps them: id, bytes, logprob."""
    ids, logprobs = found.ids[:ALTERNATIVES].tolist(), found.logprobs[:ALTERNATIVES].tolist()
    token = vocabulary.token
    return tuple((id, token(id).data, lp) for id, lp in zip(ids, logprobs, strict=True))
