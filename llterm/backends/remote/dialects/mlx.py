"""mlx_lm's server, by `/v1/completions`: text in, tokens as in the vocabulary's file out.

Its list of the best is not sorted, and what stands as a position's own token is the first of that
list, whatever was written: that is in the answer's text. Nothing but this shape tells what it is.

It must not be asked for what follows the very tokens that it has in its cache, or it dies (0.32.2):
every answer is one position longer than what is taken of it, so that no path ends where one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.dialects.completions import CONTEXT
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    ServerTraits,
    TokenCandidate,
    choices,
    number,
    only,
    shown_name,
    steps,
)
from llterm.backends.remote.token_spelling import is_byte_level, piece_bytes, vocabulary_bytes
from llterm.backends.remote.transport import BadAnswer, RequestRefused, ServerFailed, Transport
from llterm.errors import BackendUnavailable, LltermError, ModelError

MOST = 11
"""Candidates that it lists."""
TRIAL = "Once upon a time there was a"
"""What is tried to see its kind: words follow, whose spaces give the spelling away."""
SPARE = 1
"""Positions that are written and not taken."""
STARTED_WITH = "default_model"
"""Its name for the model that it was started with."""


@dataclass(frozen=True, slots=True)
class MlxDialect(KnownServer):
    """An mlx_lm server."""

    name: ClassVar[str] = "mlx"
    model: str
    byte_level: bool
    """Its vocabulary's file spells bytes by GPT-2's table; otherwise as SentencePiece does."""

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        listed = await discovery.models()
        if any("owned_by" in entry for entry in listed) or (model is None and discovery.late):
            return None
        # Without a name the one that it was started with is meant; the list holds every model on
        # its disk, and is empty where that has no folder for them.
        names = await discovery.model_names()
        sole = names[0] if len(names) == 1 else "the one that it was started with"
        traits = ServerTraits(
            "mlx_lm's server", model or sole, CONTEXT, top=MOST, bytes_out=True, raw=True,
            prefill="raw text; `chat_template` names the chat's format", cache="all requests",
            context_told=False, slots=1,
        )  # fmt: skip
        dialect = cls(traits, model or STARTED_WITH, byte_level=True)
        tokens = await dialect._trial(discovery.transport)
        return replace(dialect, byte_level=is_byte_level(tokens)) if tokens is not None else None

    def call(self, request: CompletionRequest) -> HttpCall:
        (prompt,) = request.prompts
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": request.tokens + SPARE,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": request.top,
        }
        return HttpCall("/v1/completions", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                places = [*logprobs["content"].items()]
                # A text that ends at once has no more than that: nobody asks for what follows.
                places = places[:-SPARE] or places
                text = choice["text"].text().encode("utf-8", "replace")
                yield from steps(line, self._written(places, text))

    async def _trial(self, transport: Transport) -> list[str] | None:
        """Tokens as the server writes them; None where it is of another kind."""
        call = self.call(CompletionRequest([TRIAL], MOST))
        try:
            answer = only((await transport.post(call.path, call.body)).data)
            places = [*answer["logprobs"]["content"].items()]
            for place in places:
                place["id"].whole()
        except RequestRefused as error:
            if error.status in (401, 403) or await self._is_mlx(transport):
                raise _unopened(error, transport.name, self.model) from None
            return None
        except (BadAnswer, ServerFailed):
            return None
        return [entry["token"].text() for place in places for entry in _listed(place)]

    async def _is_mlx(self, transport: Transport) -> bool:
        """Whether the server wants what no other one does: a boolean for a number."""
        call = self.call(CompletionRequest([TRIAL], MOST))
        try:
            await transport.post(call.path, {**call.body, "logprobs": MOST})
        except RequestRefused as error:
            return "must be of type bool" in error.detail
        except (BadAnswer, ServerFailed):
            pass
        return False

    def _written(self, places: Sequence[AnswerValue], text: bytes) -> Iterator[Position]:
        """The positions with what was chosen: the best, as far as the text bears it out."""
        before = b""
        for place in places:
            listed = [self._candidate(entry) for entry in _listed(place)]
            if not listed or not text.startswith(before):
                return
            best = max(listed, key=lambda candidate: candidate.logprob)
            yield best, listed
            if best.data is None:
                return
            before += best.data

    def _candidate(self, entry: AnswerValue) -> TokenCandidate:
        # Its id is of no use where prompts go as text.
        spelling = entry["token"].text()
        data = vocabulary_bytes(spelling) if self.byte_level else piece_bytes(spelling)
        return TokenCandidate(number(entry["logprob"]), None, data)


def _unopened(error: RequestRefused, address: str, model: str) -> LltermError:
    """Why an mlx_lm server does not answer."""
    if "died" in error.detail:
        return BackendUnavailable(f"{address} has died", f"{error.cause}", "Start it again.")
    if error.status in (401, 403):
        return error
    return ModelError(
        f"{address} does not open the model {shown_name(model)}",
        error.cause,
        "Name a folder, or a model on its disk; without a name it is the one it was started with.",
    )


def _listed(place: AnswerValue) -> Iterator[AnswerValue]:
    entries = place.get("top_logprobs")
    return entries.items() if entries is not None else iter(())
