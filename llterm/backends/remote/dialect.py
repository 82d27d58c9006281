"""What a dialect is: how one kind of server is asked, and how its answers are read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from llterm.backends.chat_formats import ChatFormat, Messages
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    Prompt,
    ServerTraits,
)
from llterm.backends.remote.transport import RequestRefused, Transport
from llterm.core.tokens import Tail, Token

_NO_TEMPLATE = re.compile("must provide a chat template|chat_template is not set")


class Dialect(Protocol):
    """One kind of server. Requests and answers are plain data: only `detect` asks the server."""

    name: ClassVar[str]
    """As it stands in the configuration."""

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        """Get to know the server, or None where it is of another kind.

        `model` is its name there, where the person has said one. Raises LltermError.
        """
        ...

    @property
    def traits(self) -> ServerTraits: ...

    def with_traits(self, traits: ServerTraits) -> Self:
        """The same server, of which trying has shown more."""
        ...

    def call(self, request: CompletionRequest) -> HttpCall: ...

    def read(self, data: Any) -> Iterable[CompletionStep]:
        """What an answer tells, or one part of a streamed answer. Raises BadAnswer."""
        ...


@dataclass(frozen=True, slots=True)
class KnownServer:
    """What every dialect begins with: a server, and what it can do."""

    traits: ServerTraits

    def with_traits(self, traits: ServerTraits) -> Self:
        return replace(self, traits=traits)


@runtime_checkable
class Tokenizes(Protocol):
    """A server that knows its tokens: ids both ways."""

    async def tokenize(self, transport: Transport, text: str) -> Sequence[Token]:
        """The text's tokens, without the model's own prefix. Raises LltermError."""
        ...

    async def tokens(self, transport: Transport, ids: Sequence[int]) -> Mapping[int, Token]:
        """What these ids mean; those that the server cannot tell are left out."""
        ...

    async def prefix(self, transport: Transport) -> Tail:
        """Tokens that the model wants before any text."""
        ...


@runtime_checkable
class TellsVocabulary(Protocol):
    """A server that tells its whole vocabulary."""

    async def vocabulary(
        self, transport: Transport, most: int
    ) -> tuple[int, Sequence[Token]] | None:
        """llama.cpp's number for the kind of vocabulary, and every token by id.

        None where it is not told, or has more than `most` tokens. Raises LltermError.
        """
        ...

    def learn(self, tokens: Sequence[Token]) -> None:
        """This is its vocabulary, known from an earlier time."""
        ...


@runtime_checkable
class ListsTokens(Protocol):
    """A server that tells what any ids mean, but not how many its model has."""

    async def listing(self, transport: Transport, most: int) -> Sequence[Token]:
        """The tokens with ids below `most` whose bytes it tells, by id. Raises LltermError."""
        ...

    def learn(self, tokens: Sequence[Token]) -> None:
        """These are known from an earlier time."""
        ...


@runtime_checkable
class TellsTemplate(Protocol):
    """A server that tells how its model's chats are written."""

    def chat_format(self, special: Collection[bytes]) -> ChatFormat | None:
        """The model's own template, or the plain format, or None where it did not tell.

        `special` are the model's special tokens, as far as they are known.
        """
        ...


@runtime_checkable
class AppliesTemplate(Protocol):
    """A server that writes a chat when it is asked, by a template that it does not tell."""

    by_ids: ClassVar[bool]
    """It tells the chat's tokens; otherwise its text."""

    async def apply_template(
        self, transport: Transport, messages: Messages
    ) -> str | Sequence[Token] | None:
        """The chat up to where the reply begins; None where its model has no template. Raises
        LltermError."""
        ...


@runtime_checkable
class ChatOnly(Protocol):
    """A server that takes chats as messages only; the story is the last one's beginning."""

    takes_messages: ClassVar[bool]


@runtime_checkable
class EchoesLogprobs(Protocol):
    """A server that scores a given text."""

    def scoring_call(self, prompt: Prompt, top: int) -> HttpCall:
        """The request for the probabilities of the prompt's own tokens."""
        ...

    def read_scoring(self, data: Any) -> Sequence[Position]:
        """Each token of the prompt; the first has nothing before it and lists no candidates."""
        ...


def has_no_template(error: RequestRefused) -> bool:
    """Whether a chat was refused for want of a template: transformers, in which vLLM and SGLang
    write chats, says that it is not set, or must be provided."""
    return error.status == 400 and _NO_TEMPLATE.search(error.detail) is not None
