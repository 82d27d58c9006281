"""Models compared with a reference over a text, without a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, aclosing, closing
from dataclasses import dataclass
from pathlib import Path

from llterm.backends.registry import find_model
from llterm.config import Config
from llterm.core.chat_messages import Chat
from llterm.core.judging.comparison import Comparison
from llterm.core.judging.require import Condition
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend, Cost
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Anchor, Tail, Vocabulary, text_bytes
from llterm.core.tokens import Path as TokenPath
from llterm.core.windows import halves, overlapping
from llterm.engine.basefile import BaseFile, BaseWriter
from llterm.engine.comparing import Kept, Live, Reader, Reference, View, begin, compare
from llterm.engine.heads import head_of
from llterm.engine.mixture import Mix, distinct
from llterm.engine.opening import open_models
from llterm.engine.playing import GREEDY, Player
from llterm.engine.score import Method
from llterm.engine.whole import cannot_score
from llterm.errors import CapabilityMissing, UsageError
from llterm.headless.windows import NO_HALVES, window_and_stride
from llterm.jobs.runner import absences, load_progress
from llterm.progress_line import ProgressLine

ALONE = Recipe("democratic", OpinionPool((1.0,)))
"""A mix of one model."""
USUAL_WINDOW = 512
"""llama-perplexity's, where windows lie side by side and no other is asked for."""


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What to compare, on what."""

    models: tuple[str, ...]
    """With a base file: candidates only."""
    reference: int
    """Index of the reference; of no account with a base file."""
    text: bytes
    source: str
    """Where the text is from."""
    config: Config
    overrides: Mapping[str, int]
    sampling: Sampling = GREEDY
    """How the reference's own text is drawn."""
    tokens: int = 0
    """Most tokens of the text that are read, as the reference counts them; 0: all."""
    further: int = 0
    """Above 0: the reference goes on with the text for so many tokens, and those are compared."""
    window: int | None = None
    stride: int | None = None
    method: Method = "overlap"
    base: Path | None = None
    write_base: Path | None = None
    conditions: tuple[Condition, ...] = ()
    chat: Chat | None = None
    """What the text is a reply to; each model reads it by its own template."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a job gave."""

    found: Comparison
    source: str
    """Where the text is from."""
    vocabulary: Vocabulary
    ids: Tail
    """The whole text's tokens, without the vocabulary's prefix."""
    by_id: bool
    """Tokens are those of the models' one vocabulary; otherwise bytes."""
    listing: tuple[str, ...]
    """The models that list only their best candidates: nothing is told that needs whole rows."""
    window: int
    stride: int
    method: Method
    conditions: tuple[Condition, ...]
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""


def run(job: CompareJob) -> Compared:
    """Do it all. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    for name in job.models:
        find_model(name, job.config)
    return asyncio.run(_run(job))


async def _run(job: CompareJob) -> Compared:
    line = ProgressLine()
    with ExitStack() as files:
        base = files.enter_context(closing(BaseFile(job.base))) if job.base else None
        try:
            telling, away = load_progress(line, " and ".join(job.models)), absences(line)
            backends = await open_models(job.models, job.config, job.overrides, telling, away)
            try:
                start = time.monotonic()
                plan = await _Plan.made(job, backends, base, line)
                writer = plan.writer(job)
                if writer is not None:
                    files.enter_context(writer)
                found = await _compared(plan, base, writer, line)
                spent = sum((backend.spent for backend in backends), Cost())
                return plan.result(job, found, spent, time.monotonic() - start)
            finally:
                for backend in backends:
                    await backend.close()
        finally:
            line.clear()


async def _compared(
    plan: _Plan, base: BaseFile | None, writer: BaseWriter | None, line: ProgressLine
) -> Comparison:
    reference: Reference
    if base is not None:
        reference = Kept(base)
    else:
        assert plan.reference is not None
        reference = Live(plan.reference, writer, plan.reference_name)
    found = begin(reference, plan.views, plan.names)
    async with aclosing(compare(found, reference, plan.candidates, plan.views)) as going:  # type: ignore[type-var]
        async for done in going:
            line.say(_progress(found, done))
    return found


def _progress(found: Comparison, done: int) -> str:
    told = f"Comparing: {done / max(len(found.places), 1):.0%}"
    for one in found.candidates[:2] if done else ():
        now = one.tally.now()
        kld, same, ratio = now["kld"], now["same-top"], now["ppl-ratio"]
        figure = f"{kld.value:.5f} ± {kld.error:.5f} nats" if kld.known else f"{ratio.value:.4f}×"
        told += f" · {one.name} {figure}" + (f", {same.value:.1%} same" if same.known else "")
    return told


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read by whom."""

    reference: Reader | None
    candidates: Sequence[Reader]
    names: Sequence[str]
    """The candidates'."""
    vocabulary: Vocabulary
    ids: Tail
    views: Sequence[View]
    by_id: bool
    window: int
    stride: int
    method: Method
    reference_name: str = ""

    @classmethod
    async def made(
        cls,
        job: CompareJob,
        backends: Sequence[Backend],
        base: BaseFile | None,
        line: ProgressLine,
    ) -> _Plan:
        names = distinct([find_model(name, job.config).name for name in job.models])
        by_id = len({backend.vocabulary.fingerprint for backend in backends}) == 1
        check(backends, names, by_id=by_id)
        method: Method = "halves" if job.write_base is not None else job.method
        if job.chat and (base is not None or method == "halves"):
            raise UsageError(*NO_HALVES)
        if base is not None:
            return cls._of_file(backends, names, base, by_id)
        text = await asyncio.to_thread(_beginning, backends[job.reference], job.text, job.tokens)
        if not by_id:
            backends = _in_bytes(backends)
        readers = [await _reader(backend, job.chat) for backend in backends]
        reference = readers[job.reference]
        others = [n for n in range(len(backends)) if n != job.reference]
        vocabulary = reference.backend.vocabulary
        ids = await asyncio.to_thread(vocabulary.encode, text)
        begun = len(ids) if job.further else 0
        if job.further:
            ids += await _own_text(job, reference, ids, line)
        # Windows leave room for the longest chat there is.
        head = max((one.head or vocabulary.prefix for one in readers), key=len)
        window, stride = _sizes(job, method, backends, len(head))
        views = list(_views(head, ids, begun, window, stride, method))
        return cls(
            reference, [readers[n] for n in others], [names[n] for n in others],
            vocabulary, ids, views, by_id, window, stride, method, names[job.reference],
        )  # fmt: skip

    @classmethod
    def _of_file(
        cls, backends: Sequence[Backend], names: Sequence[str], base: BaseFile, by_id: bool
    ) -> _Plan:
        vocabulary = backends[0].vocabulary
        if not by_id or vocabulary.size != base.size:
            raise UsageError(
                f"{base.path.name} is of another vocabulary",
                f"Its rows have {base.size:,} tokens; the models' have "
                + " and ".join(f"{one.vocabulary.size:,}" for one in backends) + ".",
                "A base file serves the models that share its tokenizer.",
            )  # fmt: skip
        context = min(backend.capabilities.context for backend in backends)
        if base.window > context:
            raise UsageError(
                f"{base.path.name} has windows of {base.window:,} tokens",
                f"The models see {context:,}.",
                f"Set --context {base.window}.",
            )
        head = vocabulary.prefix[:1]
        views: list[View] = []
        ids: list[int] = []
        for index in range(base.count):
            tokens = base.tokens(index)
            shift = index * base.window
            views.append(View(head + tokens[len(head) :], base.first, shift))
            ids.extend(tokens)
        return cls(
            None, list(map(Reader, backends)), names, vocabulary, tuple(ids), views, True,
            base.window, base.window, "halves",
        )  # fmt: skip

    def writer(self, job: CompareJob) -> BaseWriter | None:
        if job.write_base is None:
            return None
        if not self.by_id:
            raise UsageError(
                "No base file can be written of these models",
                "Their vocabularies differ, so they are compared byte by byte.",
                "Compare models that share a tokenizer.",
            )
        if self.reference is not None and not self.reference.whole:
            raise CapabilityMissing(
                f"No base file can be written of {self.reference_name}",
                "It lists only its best candidates, and a base file holds whole rows.",
                "A model in process can be written.",
            )
        text = self.vocabulary.prefix + self.ids
        windows = [text[one.begin : one.end] for one in halves(len(text), self.window)]
        return BaseWriter(job.write_base, self.window, self.vocabulary.size, windows)

    def result(self, job: CompareJob, found: Comparison, cost: Cost, seconds: float) -> Compared:
        all_of_them = [*zip(self.names, self.candidates, strict=True)]
        if self.reference is not None:
            all_of_them.append((self.reference_name, self.reference))
        return Compared(
            found=found,
            source=job.source if job.base is None else job.base.name,
            vocabulary=self.vocabulary,
            ids=self.ids,
            by_id=self.by_id,
            listing=tuple(name for name, one in all_of_them if not one.whole),
            window=self.window,
            stride=self.stride,
            method=self.method,
            conditions=job.conditions,
            cost=cost,
            seconds=seconds,
            chat=job.chat,
        )


async def _reader(backend: Backend, chat: Chat | None) -> Reader:
    head = await asyncio.to_thread(head_of, backend, chat) if chat else None
    return Reader(backend, head)


def check(backends: Sequence[Backend], names: Sequence[str], *, by_id: bool) -> None:
    """Raises CapabilityMissing where a model does not tell what a comparison is made of."""
    for name, one in zip(names, backends, strict=True):
        if one.capabilities.full_vocabulary:
            continue
        if not one.capabilities.score:
            raise cannot_score(name)
        if not by_id:
            raise CapabilityMissing(
                f"{name} cannot be compared byte by byte",
                "The vocabularies differ or are not known, and it lists only its best candidates:"
                " what the next byte is would be an estimate.",
                "Compare it with a model that has its tokenizer, or open it in process.",
            )


def _in_bytes(backends: Sequence[Backend]) -> list[Backend]:
    """Each model as one of bytes: the only alphabet that they share."""
    return [Mix([backend], ALONE, bytewise=True) for backend in backends]


def _beginning(model: Backend, text: bytes, tokens: int) -> bytes:
    """The text's first `tokens` tokens, as this model counts them; 0: all of it."""
    if not tokens:
        return text
    return text_bytes(model.vocabulary, model.vocabulary.encode(text)[:tokens])


async def _own_text(
    job: CompareJob, reader: Reader, ids: Tail, line: ProgressLine
) -> tuple[int, ...]:
    """What the reference goes on with."""
    reference = reader.backend
    mix = reference if isinstance(reference, Mix) else Mix([reference], ALONE)
    prefix = reference.vocabulary.prefix if reader.head is None else reader.head
    room = reference.capabilities.context - len(prefix) - len(ids)
    found: list[int] = []
    path = TokenPath(Anchor(prefix + ids))
    async for turn in Player(mix, job.sampling, job.text).play(path, min(job.further, room)):
        if not turn.token.end:
            found.append(turn.token.id)
        line.say(f"Writing: {len(found):,} tokens")
    if not found:
        raise UsageError(
            "The reference ends the text at once", "", "Choose another text, or read one as it is."
        )
    return tuple(found)


def _views(
    prefix: Tail, ids: Tail, begun: int, window: int, stride: int, method: Method
) -> list[View]:
    """The windows over a text, and what is compared in each: nothing before index `begun`."""
    views: list[View] = []
    if method == "halves":
        text, head = prefix + ids, prefix[:1]
        for one in halves(len(text), window):
            tokens = head + text[one.begin + len(head) : one.end]
            views.append(View(tokens, one.first - one.begin, one.begin - len(prefix)))
    else:
        for one in overlapping(len(ids), window - len(prefix), stride):
            first = max(one.first, begun)
            start = max(len(prefix) + first - one.begin, 1)
            tokens = prefix + ids[one.begin : one.end]
            views.append(View(tokens, start, one.begin - len(prefix), len(prefix)))
    views = [one for one in views if one.start < len(one.tokens)]
    if not views:
        raise UsageError(
            "The text does not fill one window" if method == "halves" else "The text is too short",
            f"It has {len(ids):,} tokens"
            + (f", and windows side by side have {window:,}." if method == "halves" else "."),
            "Give a longer text, or a smaller --window.",
        )
    return views


def _sizes(
    job: CompareJob, method: Method, backends: Sequence[Backend], head: int
) -> tuple[int, int]:
    """Window and stride, checked."""
    context = min(backend.capabilities.context for backend in backends)
    usual = min(USUAL_WINDOW, context) if method == "halves" else context
    window = job.window or usual
    return window_and_stride(
        window,
        job.stride,
        method,
        context=context,
        prefix=head,
        who="The models see",
    )
