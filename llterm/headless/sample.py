"""Continuations of a text drawn without a screen."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llterm.backends.registry import find_model
from llterm.backends.served import Counted, counted
from llterm.config import Config
from llterm.constraints.compiled import compile
from llterm.constraints.spec import Constraint
from llterm.core.chat_messages import Chat, chat_text, read_chat
from llterm.core.healing import Healer
from llterm.core.prompt import Prompt, make_prompt
from llterm.core.query import Backend, Cost
from llterm.core.rules import Rules
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.stops import Stopper
from llterm.core.tokens import Token, Vocabulary
from llterm.core.windows import SeenStory
from llterm.engine.draw import Drawing, Drawn, Line, Start
from llterm.errors import UsageError
from llterm.headless.job import copied
from llterm.headless.opened import opened
from llterm.progress_line import ProgressLine
from llterm.session.chatting import chat_parts
from llterm.session.document import Document
from llterm.session.sampling import SamplerChoice

STORY = 4096
"""Bytes of the story that bans look back on."""


@dataclass(frozen=True, slots=True)
class SampleJob:
    """What to draw, and with what."""

    text: bytes
    loom: Path | None
    """A loom to go on from the story of; it is not changed. `text` is empty then."""
    prefix: str | None
    config: Config
    model: str
    overrides: Mapping[str, int]
    typed: Mapping[str, Any]
    """Sampler settings that were typed, by name: they count more than the loom's own."""
    lines: int
    tokens: int
    stops: Rules
    """Where a continuation ends; only what it says of stops and healing counts."""
    constraint: Constraint | None = None
    chat: Chat | None = None
    """What the text is a reply to; None: what a loom says itself."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One drawn token, without the distribution that it was drawn from."""

    token: Token
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""


@dataclass(slots=True)
class Continuation:
    """One of the texts that were drawn."""

    number: int
    """From 0 on."""
    line: Line
    drawn: list[Taken] = field(default_factory=list)

    @property
    def logprob(self) -> float:
        """Joint, of the raw model."""
        return sum(one.logprob for one in self.drawn)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a job gave."""

    model: str
    vocabulary: Vocabulary
    text: bytes
    prefix: str
    chat: Chat
    """What the text is a reply to; empty where it is none."""
    sampling: Sampling
    constraint: Constraint | None
    continuations: Sequence[Continuation]
    cost: Cost
    seconds: float
    caveat: str
    """What is not exact about it; empty when all is."""
    counted: tuple[Counted, ...] = ()
    """What went over the wire, where the model is on a server."""
    sight: SeenStory = field(default_factory=SeenStory)
    """How much of the text the model sees."""
    context: int = 0


Ended = Callable[[Continuation], None]
"""Hears of each continuation as it ends."""


def run(job: SampleJob, ended: Ended = lambda _: None) -> Sampled:
    """Draw them all. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    find_model(job.model, job.config)
    if job.loom is None:
        return asyncio.run(_run(job, Document.scratch(job.text), ended))
    with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
        return asyncio.run(_run(job, copied(job.loom, Path(folder)), ended))


async def _run(job: SampleJob, document: Document, ended: Ended) -> Sampled:
    with closing(document):
        async with opened(job.model, job.config, job.overrides) as (backend, line):
            return await _sample(job, document, backend, line, ended)


async def _sample(
    job: SampleJob, document: Document, backend: Backend, progress: ProgressLine, ended: Ended
) -> Sampled:
    if job.prefix is not None:
        document.set_prefix(job.prefix)
    choice = SamplerChoice(document, job.config.sampling, job.config.presets)
    sampling = choice.changed(job.typed)
    if job.chat is not None:
        document.set_chat(chat_text(job.chat))
    chat = await asyncio.to_thread(chat_parts, document, backend)
    # The document stays in this thread; its file lets no other one read.
    prompt = make_prompt(
        document.runs_before(document.cursor), document.prefix, backend.vocabulary,
        _stops(job), backend.capabilities.context, chat,
    )  # fmt: skip
    story = document.bytes_before(document.cursor)[-STORY:]
    drawing = await asyncio.to_thread(_drawing, job, prompt, story, backend, sampling)
    found = [Continuation(number, line) for number, line in enumerate(drawing.lines)]
    told: set[int] = set()
    start, count = time.monotonic(), 0
    async with aclosing(drawing.run()) as tokens:
        async for one in tokens:
            continuation = found[one.line.number]
            continuation.drawn.append(_taken(one))
            count += 1
            progress.say(f"Drawing: {count:,} tokens")
            if one.line.finish is not None:
                progress.clear()
                told.add(continuation.number)
                ended(continuation)
    for continuation in found:
        if continuation.number not in told:
            ended(continuation)
    return Sampled(
        model=find_model(job.model, job.config).name,
        vocabulary=backend.vocabulary,
        text=document.bytes_before(document.cursor),
        prefix=document.prefix,
        chat=read_chat(document.chat),
        sampling=sampling,
        constraint=job.constraint,
        continuations=found,
        cost=drawing.cost,
        seconds=time.monotonic() - start,
        caveat=drawing.caveat,
        counted=counted(backend),
        sight=prompt.sight,
        context=backend.capabilities.context,
    )


def _stops(job: SampleJob) -> Rules:
    """What a constraint is about begins at the story's end, not in the word before it."""
    return replace(job.stops, depth=job.tokens, heal=job.stops.heal and job.constraint is None)


def _drawing(
    job: SampleJob, prompt: Prompt, story: bytes, backend: Backend, sampling: Sampling
) -> Drawing:
    """Everything made ready; reads the whole vocabulary where there are bans."""
    vocabulary = backend.vocabulary
    constraint = compile(job.constraint, vocabulary) if job.constraint is not None else None
    if not prompt.tokens:
        raise UsageError("There is no text to go on from", "", "This model needs a beginning.")
    stopper = Stopper(job.stops, prompt.before)
    lines = [Line(number, job.tokens, stopper) for number in range(job.lines)]
    start = Start(prompt.tokens, story, prompt.residue)
    healer = Healer(vocabulary) if prompt.residue else None
    chain = Chains(vocabulary).of(sampling)
    return Drawing(backend, chain, start, lines, constraint, healer)


def _taken(one: Drawn) -> Taken:
    return Taken(one.token, one.choice.logprob, one.choice.p)
