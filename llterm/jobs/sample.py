"""`llterm sample` as a function: a story and a model in, drawn samples out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from llterm.backends.registry import find_model
from llterm.backends.remote.server_usage import ServerUsage, counted
from llterm.constraints.compiled import compile
from llterm.constraints.spec import Constraint
from llterm.core.healing import Healer
from llterm.core.kernels import KernelKind
from llterm.core.prompt import Prompt
from llterm.core.query import Backend, Cost
from llterm.core.sampling.sampler_chain import Chain, Chains
from llterm.core.stops import Stopper
from llterm.core.tokens import Token, Vocabulary
from llterm.core.weave_settings import WeaveSettings
from llterm.core.windows import SeenStory
from llterm.engine.draft_opener import DraftChoice, draft_choice
from llterm.engine.drafted_samples import DraftCount, DraftedSamples, DraftedToken
from llterm.engine.draw import Drawing, DrawingStart, Drawn, Sample
from llterm.engine.weave import check_constraints, rules_for, unhealed
from llterm.errors import LltermError, UsageError
from llterm.jobs.request import Request, RequestStory
from llterm.jobs.runner import SILENCE, Listener, names_of, opened


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How many samples are drawn, and where each ends."""

    count: int = 1
    tokens: int = 64
    """Most tokens of each."""
    sentence: bool = False
    """End where a sentence ends."""
    stops: tuple[str, ...] = ()
    """Texts that end a sample."""
    heal: bool = True
    """Finish a word that the story ends in first."""


@dataclass(frozen=True, slots=True)
class SampledToken:
    """One drawn token, without the distribution that it was drawn from."""

    token: Token
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""


@dataclass(slots=True)
class SampledText:
    """One of the texts that were drawn, with its tokens."""

    sample: Sample
    tokens: list[SampledToken] = field(default_factory=list)

    @property
    def logprob(self) -> float:
        """Joint, of the raw model."""
        return sum(sampled.logprob for sampled in self.tokens)


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The samples of a story, and what they took."""

    model: str
    vocabulary: Vocabulary
    story: RequestStory
    constraint: Constraint | None
    samples: Sequence[SampledText]
    cost: Cost
    seconds: float
    caveat: str
    """What is not exact about it; empty when all is."""
    counted: tuple[ServerUsage, ...]
    """What went over the wire, where the model is on a server."""
    sight: SeenStory
    """How much of the text the model sees."""
    context: int
    """Tokens that the model sees at most."""
    kernels: KernelKind | None
    """What its figures were computed with; None where that was elsewhere."""
    draft: DraftCount | None = None
    """What was written ahead; None where nothing writes ahead."""

    @property
    def failure(self) -> LltermError | None:
        """Why not all of them are what was asked for; None where they are. What was drawn stays."""
        drawn = self.samples
        failed = [each.sample for each in drawn if each.sample.error is not None]
        error = next((each.error for each in failed if each.error is not None), None)
        if error is not None and len(failed) == len(drawn):
            return error
        if error is not None:
            which = ", ".join(str(each.number + 1) for each in failed)
            title = f"{len(failed)} of {len(drawn)} continuations failed (number {which})"
            return error.reworded(title, f"{error.title}. {error.cause}".strip())
        if all(each.sample.finish == "stuck" and not each.tokens for each in drawn):
            return LltermError(
                "Nothing may be drawn",
                "Model, constraint and bans together forbid every first token.",
                "Loosen one of them.",
            )
        return None


Ended = Callable[[SampledText], None]
"""Hears of each sample as it ends."""
Followed = Callable[[SampledText], None]
"""Hears of each sample that got a token."""


async def sample(
    request: Request,
    options: SampleOptions,
    listener: Listener = SILENCE,
    ended: Ended = lambda _: None,
    followed: Followed = lambda _: None,
) -> SampleResult:
    """Draw them all, side by side. A loom's own sampler settings count. Raises LltermError."""
    (name,) = names_of(request)
    begun = RequestStory.of(request, listener.warn)
    async with opened(request, listener) as backend:
        constrained = begun.constraint is not None
        if constrained:
            check_constraints(backend)
        wanted = WeaveSettings(auto_stop=options.sentence, stops=options.stops, heal=options.heal)
        able = rules_for(wanted, backend, constrained=constrained)
        rules = replace(able, depth=options.tokens)
        if not constrained and (note := unhealed(wanted, backend, begun.runs)):
            listener.warn(note)
        prompt = await begun.prompt(backend, rules)
        chain = await Chains(backend.vocabulary).told(begun.sampling)
        drawing = await asyncio.to_thread(_drawing, options, begun, backend, prompt, rules, chain)
        start = time.monotonic()
        choice = _draft_choice(request)
        if choice is None:
            drafted = None
            samples = await _drawn(drawing.run(), drawing, listener, ended, followed)
        else:
            drafted = DraftedSamples(drawing, begun.constraint)
            samples = await _drawn(drafted.run(choice), drawing, listener, ended, followed)
        return SampleResult(
            model=name,
            vocabulary=backend.vocabulary,
            story=begun,
            constraint=begun.constraint,
            samples=samples,
            cost=drawing.cost,
            seconds=time.monotonic() - start,
            caveat=drawing.caveat,
            counted=counted(backend),
            sight=prompt.sight,
            context=backend.capabilities.context,
            kernels=backend.capabilities.kernel_kind,
            draft=None if drafted is None else drafted.count,
        )


def _draft_choice(request: Request) -> DraftChoice | None:
    """What writes ahead: what was typed, else what the model's own settings say; nothing for a
    model that is open already."""
    if request.backends:
        return None
    own = find_model(request.models[0], request.config).settings
    name = request.overrides.get("draft", own.draft)
    tokens = request.overrides.get("draft_tokens", own.draft_tokens)
    return draft_choice(name, tokens, request.config)


async def _drawn(
    draws: AsyncGenerator[Drawn | DraftedToken],
    drawing: Drawing,
    listener: Listener,
    ended: Ended,
    followed: Followed,
) -> Sequence[SampledText]:
    """Every sample, as far as it was drawn; of one that the source could not go on with, why."""
    samples = [SampledText(each) for each in drawing.samples]
    left, count = dict(enumerate(samples)), 0
    try:
        async with aclosing(draws) as steps:
            async for drawn in steps:
                number = drawn.sample.number
                token = SampledToken(drawn.token, drawn.logprob, drawn.p)
                samples[number].tokens.append(token)
                followed(samples[number])
                count += 1
                listener.say(f"Drawing: {count:,} tokens")
                if drawn.sample.finish is not None:
                    ended(left.pop(number))
    except LltermError as error:
        # What was drawn before the source gave up is kept.
        for each in drawing.samples:
            if each.finish is None:
                each.finish, each.error = "failed", error
    for unended in left.values():
        ended(unended)
    return samples


def _drawing(
    options: SampleOptions,
    begun: RequestStory,
    backend: Backend,
    prompt: Prompt,
    rules: WeaveSettings,
    chain: Chain,
) -> Drawing:
    """Everything made ready; reads the whole vocabulary where there is a constraint."""
    vocabulary = backend.vocabulary
    constraint = compile(begun.constraint, vocabulary) if begun.constraint else None
    if not prompt.tokens:
        raise UsageError("There is no text to go on from", "", "This model needs a beginning.")
    return Drawing.of(
        backend,
        chain,
        DrawingStart(prompt.tokens, begun.text, prompt.residue),
        range(options.count),
        options.tokens,
        Stopper(rules, prompt.before),
        constraint=constraint,
        healer=Healer(vocabulary) if prompt.residue else None,
    )
