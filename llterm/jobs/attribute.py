"""Asks what led a model to a token of a text."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llterm.core.attribution import Attribution, Question
from llterm.core.attribution_methods import AttributionSettings
from llterm.core.display_text import visible
from llterm.core.kernels import KernelKind
from llterm.core.query import Backend
from llterm.core.tokens import Tail, Token, Vocabulary
from llterm.engine.attribute import Attributions
from llterm.engine.prompt_heads import head_of
from llterm.errors import UsageError
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener, names_of, opened


@dataclass(frozen=True, slots=True)
class AttributeOptions:
    """Which token is meant, and how it is asked for."""

    how: AttributionSettings
    at: int | None = None
    """Index of the token; below 0 from the end; the text's length: what comes after it. None: the
    last one."""
    candidate: bytes | None = None
    """Another token to ask about in its place."""


@dataclass(frozen=True, slots=True)
class AttributeResult:
    """What led to a token."""

    model: str
    vocabulary: Vocabulary
    question: Question
    skipped: int
    """Tokens at the text's beginning that the model does not see."""
    attribution: Attribution
    seconds: float
    kernels: KernelKind | None
    """What its figures were computed with; None where that was elsewhere."""

    @property
    def index(self) -> int:
        """Of the token in the text."""
        return self.skipped + len(self.question.tokens) - self.question.head

    @property
    def token(self) -> Token:
        return self.vocabulary.token(self.question.target)

    def contributor(self, place: int) -> tuple[int, Token]:
        """Index in the text, and the token, that the value at a place belongs to."""
        at = self.attribution.first + place
        index = self.skipped + at - self.question.head
        return index, self.vocabulary.token(self.question.tokens[at])


async def attribute(
    request: Request, options: AttributeOptions, listener: Listener = SILENCE
) -> AttributeResult:
    """Answer; what it will take is told first. Raises LltermError. Cancelling stops it."""
    (name,) = names_of(request)
    async with opened(request, listener) as backend:
        return await _attribute(request, options, name, backend, listener)


async def _attribute(
    request: Request, options: AttributeOptions, name: str, backend: Backend, listener: Listener
) -> AttributeResult:
    vocabulary, how = backend.vocabulary, options.how
    ids = await vocabulary.tokenize(request.text)
    at = _place(options.at, len(ids))
    target = await _target(options.candidate, vocabulary, ids, at)
    prefix = await head_of(backend, request.chat, request.prefix or "")
    skipped = max(at - (backend.capabilities.context - len(prefix)), 0)
    question = Question(prefix + ids[skipped:at], len(prefix), target)
    attributions = Attributions(backend, question)
    try:
        listener.warn(f"{how.title}: {attributions.price(how).told}")
        start = time.monotonic()
        answer = await attributions.ask(how, lambda share: listener.say(f"Working: {share:.0%}"))
        seconds = time.monotonic() - start
    finally:
        await attributions.close()
    kernels = backend.capabilities.kernel_kind
    return AttributeResult(name, vocabulary, question, skipped, answer, seconds, kernels)


def _place(at: int | None, count: int) -> int:
    place = count - 1 if at is None else at + count if at < 0 else at
    if not 0 <= place <= count:
        raise UsageError(
            f"There is no token {at}",
            f"The text has {count:,} tokens: 0 to {count - 1:,}, and {count:,} for what follows.",
            "`llterm score --format json` lists them with their index.",
        )
    return place


async def _target(candidate: bytes | None, vocabulary: Vocabulary, ids: Tail, at: int) -> int:
    if candidate is None:
        if at < len(ids):
            return ids[at]
        raise UsageError(
            "Nothing stands there yet", "It is the place after the text.", "Give a --candidate."
        )
    tokens = await vocabulary.tokenize(candidate)
    if len(tokens) != 1:
        named = visible(candidate)
        raise UsageError(
            f"--candidate {named} is not one token",
            "It is " + " ".join(visible(vocabulary.token(id).data) for id in tokens) + ".",
            "Give the first of them; a space that begins a word belongs to it.",
        )
    return tokens[0]
