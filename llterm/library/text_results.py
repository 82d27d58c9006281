"""What calls give back: texts with their tokens and probabilities. Frozen.

Probabilities are 0 to 1, logprobs natural, entropies and surprisals in bits. `data` are exact
bytes; `text` is the same as a string, in which bytes that are no UTF-8 are `�`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from llterm.core.attribution import Attribution
from llterm.core.beams import Step
from llterm.core.classification.verdicts import Verdict
from llterm.core.distribution import Logprobs
from llterm.core.scored_text import TokenReading
from llterm.core.suggestion_tree import Suggestion
from llterm.core.tokens import Token
from llterm.errors import LltermError
from llterm.jobs.attribute import AttributeResult
from llterm.jobs.classify import ClassifiedText
from llterm.jobs.compare import CompareResult
from llterm.jobs.mix import MixResult
from llterm.jobs.next_token import NextTokenResult
from llterm.jobs.sample import SampledText
from llterm.jobs.score import ScoreResult


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token of a text that a model made or read."""

    id: int
    data: bytes
    logprob: float
    """Of the raw model."""
    rank: int | None = None
    """1 = the model's first choice; None where that was not asked for."""
    special: bool = False

    @property
    def text(self) -> str:
        return _text(self.data)

    @property
    def p(self) -> float:
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class MadeText:
    """A text that a model made."""

    data: bytes
    """What it adds to the text before it."""
    logprob: float
    """Joint, of the raw model."""
    finish: str
    """Why it ended, as in `docs/json.md`."""
    tokens: tuple[TextToken, ...] = ()
    error: LltermError | None = None
    """Why it could not be gone on with; what was made before stays."""

    @property
    def text(self) -> str:
        return _text(self.data)

    @property
    def p(self) -> float:
        """Joint."""
        return math.exp(self.logprob)

    @property
    def p_per_token(self) -> float:
        """Geometric mean of its tokens' probabilities; 1 without any."""
        return math.exp(self.logprob / len(self.tokens)) if self.tokens else 1.0

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next token of a text that is being made. Pieces' texts, joined, are its text: a character
    of several tokens is in the last one's."""

    id: int
    data: bytes
    text: str
    logprob: float
    """Of the raw model."""
    p_final: float
    """What it was drawn with, after the sampler chain."""

    @property
    def p(self) -> float:
        return math.exp(self.logprob)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TokenScoring:
    """A token that stands in a text, as the model read it."""

    id: int
    data: bytes
    logprob: float
    rank: int
    """1 = the model's first choice."""
    entropy: float
    """Of what the model expected there."""
    top: tuple[TextToken, ...]
    """What it expected most, best first."""

    @property
    def text(self) -> str:
        return _text(self.data)

    @property
    def p(self) -> float:
        return math.exp(self.logprob)

    @property
    def surprisal(self) -> float:
        return max(-self.logprob / math.log(2), 0.0)


@dataclass(frozen=True, slots=True)
class TextScoring:
    """A text as a model read it: its tokens, in order."""

    tokens: tuple[TokenScoring, ...]
    perplexity: float
    bits_per_byte: float

    @property
    def logprob(self) -> float:
        """Joint, of the tokens that have one: a first one with nothing before it has none."""
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def p(self) -> float:
        return math.exp(self.logprob)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> TokenScoring:
        return self.tokens[index]

    def __iter__(self) -> Iterator[TokenScoring]:
        return iter(self.tokens)


@dataclass(frozen=True, slots=True)
class NextCandidate:
    """A token that may stand next."""

    id: int
    data: bytes
    logprob: float
    p_final: float
    """After constraint and sampler chain: what is drawn from."""
    kept: bool
    dropped_by: str | None
    """The stage that removed it; None where it is kept."""
    special: bool = False

    @property
    def text(self) -> str:
        return _text(self.data)

    @property
    def p_base(self) -> float:
        """Of the raw model."""
        return math.exp(self.logprob)

    @property
    def p(self) -> float:
        """Of the raw model, as everywhere."""
        return self.p_base


@dataclass(frozen=True, slots=True, eq=False)
class NextTokens:
    """The best candidates for the next token, best first."""

    candidates: tuple[NextCandidate, ...]
    entropy: float
    """A lower bound where a server tells its first candidates alone."""
    kept: int
    """How many of all candidates the chain left."""
    rest: float
    """Probability of those that are not listed."""
    exact: bool
    """The whole vocabulary was seen."""
    row: Logprobs | None = field(default=None, repr=False)
    """Every id's logprob, shape (vocabulary size,), where all of it was seen."""

    @property
    def p(self) -> Mapping[str, float]:
        """Probabilities by text, those of equal texts added."""
        sums: dict[str, float] = {}
        for candidate in self.candidates:
            sums[candidate.text] = sums.get(candidate.text, 0.0) + candidate.p
        return sums

    def __len__(self) -> int:
        return len(self.candidates)

    def __getitem__(self, index: int) -> NextCandidate:
        return self.candidates[index]

    def __iter__(self) -> Iterator[NextCandidate]:
        return iter(self.candidates)


@dataclass(frozen=True, slots=True)
class Classification:
    """What a model calls a text."""

    label: str | None
    """The most probable one; None where no label reaches the threshold."""
    labels: tuple[str, ...]
    """All that fit, where several may; else the one."""
    p: Mapping[str, float]
    """Each label's share; where several may fit, the probability that it does."""
    p_raw: Mapping[str, float]
    """The same before calibration."""
    mass: float
    """The model's own probability of all labels together: low where it wanted something else."""
    margin: float
    entropy: float
    question: str = ""


@dataclass(frozen=True, slots=True)
class MixToken:
    """A token that several models made."""

    data: bytes
    p: float
    """In the mix, before the sampler chain."""
    p_final: float
    by: str | None
    """The model it came from; None: no model's first choice."""
    choices: Mapping[str, str]
    """What each model would have said, by its name."""

    @property
    def text(self) -> str:
        return _text(self.data)


@dataclass(frozen=True, slots=True)
class MixedText:
    """A text that several models made."""

    data: bytes
    tokens: tuple[MixToken, ...]
    formula: str
    """What decided, in a line."""
    exact: bool
    """Every model's whole vocabulary was seen."""

    @property
    def text(self) -> str:
        return _text(self.data)

    @property
    def p(self) -> float:
        """Joint, in the mix."""
        return math.prod(token.p for token in self.tokens)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """One model beside a reference, over a text."""

    name: str
    figures: Mapping[str, float]
    """By the names of `llterm mix --require`: `kld`, `same-top`, `ppl-ratio` …"""
    errors: Mapping[str, float]
    """The standard error of each, where it has one."""

    def __getitem__(self, name: str) -> float:
        return self.figures[name]


@dataclass(frozen=True, slots=True)
class ContributingToken:
    """A token before another one, and what it has to do with that."""

    index: int
    """In the text."""
    data: bytes
    value: float
    """A share of 1 with attention, part of the logprob with leave-one-out and gradients."""

    @property
    def text(self) -> str:
        return _text(self.data)


@dataclass(frozen=True, slots=True)
class TokenAttribution:
    """What led a model to a token: the tokens before it, in order."""

    target: TextToken
    method: str
    tokens: tuple[ContributingToken, ...]
    notes: tuple[str, ...]

    def strongest(self, count: int = 5) -> list[ContributingToken]:
        """Those with the largest values, largest first."""
        return sorted(self.tokens, key=lambda token: -abs(token.value))[:count]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> ContributingToken:
        return self.tokens[index]

    def __iter__(self) -> Iterator[ContributingToken]:
        return iter(self.tokens)


def suggested(suggestion: Suggestion) -> MadeText:
    """A weave's suggestion."""
    return MadeText(
        suggestion.data, suggestion.logprob, suggestion.finish, tuple(map(_step, suggestion.steps))
    )


def sampled(drawn: SampledText) -> MadeText:
    """A sample."""
    tokens = (TextToken(each.token.id, each.token.data, each.logprob, special=each.token.special)
              for each in drawn.tokens)  # fmt: skip
    finish = drawn.sample.finish or "stopped"
    return MadeText(drawn.sample.data, drawn.logprob, finish, tuple(tokens), drawn.sample.error)


def scored(result: ScoreResult) -> TextScoring:
    """A text with every token's reading."""
    summary = result.summary
    return TextScoring(
        tuple(map(_reading, result.readings)), summary.perplexity, summary.bits_per_byte
    )


def next_tokens(result: NextTokenResult, top: int) -> NextTokens:
    """The best candidates of a place."""
    distribution, ladder = result.distribution, result.ladder
    listed = range(min(top, len(distribution.ids)))
    candidates: list[NextCandidate] = []
    for place in listed:
        id, logprob = int(distribution.ids[place]), float(distribution.logprobs[place])
        token = result.vocabulary.token(id)
        # A ladder of the whole vocabulary is in order of ids, any other one as listed.
        at = id if distribution.full is not None else place
        candidates.append(
            NextCandidate(
                id,
                token.data,
                logprob,
                0.0 if ladder is None else float(ladder.p_final[at]),
                ladder is not None and bool(ladder.kept[at]),
                "stuck" if ladder is None else ladder.dropped_by[at],
                token.special,
            )
        )
    told = math.fsum(candidate.p for candidate in candidates)
    return NextTokens(
        tuple(candidates),
        float(distribution.entropy[0]),
        0 if ladder is None else int(np.count_nonzero(ladder.kept)),
        max(1.0 - told, 0.0),
        distribution.full is not None,
        distribution.full,
    )


def classified(text: ClassifiedText, verdicts: Sequence[Verdict]) -> Iterator[Classification]:
    """What is said of a text: once for each question. Raises what kept it from being asked."""
    if text.error is not None:
        raise text.error
    for verdict in verdicts:
        chosen = tuple(label.name for label in verdict.chosen)
        yield Classification(
            label=chosen[0] if chosen else None,
            labels=chosen,
            p={share.label.name: share.p for share in verdict.labels},
            p_raw={share.label.name: share.p_raw for share in verdict.labels},
            mass=verdict.mass,
            margin=verdict.margin,
            entropy=verdict.entropy,
            question=verdict.question,
        )


def mixed(result: MixResult) -> MixedText:
    """A mix's text."""
    tokens = tuple(
        MixToken(
            b"" if turn.token.special else turn.token.data,
            turn.p,
            turn.p_final,
            None if turn.by is None else result.names[turn.by],
            {name: _text(vote.choice.data)
             for name, vote in zip(result.names, turn.votes, strict=False)},
        )
        for turn in result.turns
    )  # fmt: skip
    return MixedText(result.data, tokens, result.recipe.formula(result.names), result.exact)


def compared(result: CompareResult) -> list[ModelComparison]:
    """A comparison's candidates."""
    comparisons: list[ModelComparison] = []
    for candidate in result.comparison.candidates:
        known = {name: each for name, each in candidate.statistics.now().items() if each.known}
        comparisons.append(
            ModelComparison(
                candidate.name,
                {name: each.value for name, each in known.items()},
                {name: each.error for name, each in known.items() if each.error is not None},
            )
        )
    return comparisons


def attributed(result: AttributeResult) -> TokenAttribution:
    """What led to a token."""
    answer: Attribution = result.attribution
    named = (result.contributor(place) for place in range(len(answer.values)))
    tokens = tuple(
        ContributingToken(index, token.data, float(value))
        for (index, token), value in zip(named, answer.values, strict=True)
    )
    logprob = math.nan if answer.logprob is None else answer.logprob
    return TokenAttribution(_token(result.token, logprob), answer.how.method, tokens, answer.notes)


def _reading(reading: TokenReading) -> TokenScoring:
    top = tuple(_token(each.token, each.logprob) for each in reading.top)
    token = reading.token
    return TokenScoring(token.id, token.data, reading.logprob, reading.rank, reading.entropy, top)


def _token(token: Token, logprob: float) -> TextToken:
    return TextToken(token.id, token.data, logprob, special=token.special)


def _step(step: Step) -> TextToken:
    return TextToken(step.id, step.data, step.logprob, step.rank, step.special)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
