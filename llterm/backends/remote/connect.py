"""Opens a model on a server: the wire, the dialect, the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from llterm.backends.remote.backend import Habit, RemoteBackend
from llterm.backends.remote.chats import chats_of
from llterm.backends.remote.dialects.protocol import Dialect, Lists, Reads, Tokenizes
from llterm.backends.remote.dialects.spelling import spread
from llterm.backends.remote.httpwire import Tell
from llterm.backends.remote.opening import open_wire
from llterm.backends.remote.probe import find_dialect
from llterm.backends.remote.vocabulary import Encoder, RemoteVocabulary, fingerprint_of
from llterm.backends.remote.wire import Wire
from llterm.config.server import ServerSettings
from llterm.core.tokens import Token, vocabulary_fingerprint

WHOLE = 300_000
"""A vocabulary of more tokens than this is not fetched: some 90 bytes each."""


async def open_remote(
    name: str,
    settings: ServerSettings,
    context: int | None = None,
    *,
    tell: Tell | None = None,
) -> RemoteBackend:
    """Get to know a server and its model. `context` overrides what the server says it sees.

    Raises LltermError: not reached, no key, nothing that llterm can work with.
    """
    wire = await open_wire(settings, tell=tell)
    try:
        dialect = await find_dialect(wire, settings.dialect, settings.model)
        traits = dialect.traits
        if context is not None:
            dialect = dialect.knowing(replace(traits, context=context, context_told=True))
        if settings.parallel is None:
            wire.set_parallel(traits.slots * max(len(settings.base_url), 1))
        steady = settings.record is not None or settings.replay is not None
        habit = Habit(steady=steady)
        return await open_backend(name, wire, dialect, habit, settings.chat_template)
    except BaseException:
        await wire.close()
        raise


async def open_backend(
    name: str, wire: Wire, dialect: Dialect, habit: Habit | None = None, template: str | None = None
) -> RemoteBackend:
    """The backend, with as much of the vocabulary as the server tells.

    `template` is the chat format that the person chose. Raises LltermError.
    """
    vocabulary, whole = await _vocabulary(wire, dialect)
    chats = chats_of(wire, dialect, vocabulary, template, whole=whole)
    return RemoteBackend(name, wire, dialect, vocabulary, habit, whole=whole, chats=chats)


async def _vocabulary(wire: Wire, dialect: Dialect) -> tuple[RemoteVocabulary, bool]:
    """Its vocabulary, and whether that is known whole."""
    traits = dialect.traits
    if not (traits.ids_in and traits.ids_out):
        return _texts(wire, dialect), False
    own = fingerprint_of(dialect.name, traits.model)
    if isinstance(dialect, Lists) and (listed := await dialect.vocabulary(wire, WHOLE)):
        kind, tokens = listed
        prefix = await dialect.prefix(wire) if isinstance(dialect, Tokenizes) else ()
        vocabulary = RemoteVocabulary(
            vocabulary_fingerprint(kind, tokens) if kind else own, tokens,
            size=len(tokens), prefix=prefix, encoder=_encoder(wire, dialect),
        )  # fmt: skip
        return vocabulary, True
    prefix = await dialect.prefix(wire) if isinstance(dialect, Tokenizes) else ()
    vocabulary = RemoteVocabulary(own, prefix=prefix, encoder=_encoder(wire, dialect))
    vocabulary.learn(Token(id, b"", special=True) for id in prefix)
    return vocabulary, False


def _encoder(wire: Wire, dialect: Dialect) -> Encoder | None:
    if not isinstance(dialect, Tokenizes):
        return None
    tokenizer = dialect

    async def encode(text: str) -> Sequence[Token]:
        return await tokenizer.tokenize(wire, text)

    return encode


def _texts(wire: Wire, dialect: Dialect) -> RemoteVocabulary:
    """Tokens known by their text alone. Their ids mean nothing to another connection."""
    own = f"texts-{uuid4().hex[:16]}"
    if not (dialect.traits.reads and isinstance(dialect, Reads)):
        return RemoteVocabulary(own, texts_only=True)
    reader = dialect

    async def encode(text: str) -> Sequence[Token]:
        """A server that echoes a text tells how it cuts it."""
        call = reader.reading(text, 1)
        told = reader.read_text((await wire.post(call.path, call.body)).data)
        data = spread([chosen.data for chosen, _ in told], text.encode()) or ()
        return [vocabulary.token(vocabulary.own(one)) for one in data if one]

    vocabulary = RemoteVocabulary(own, encoder=encode, texts_only=True)
    return vocabulary
