"""Opens a model on a server: the wire, the dialect, the vocabulary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from llterm.backends.formats import Chosen
from llterm.backends.remote.backend import Again, Habit, RemoteBackend
from llterm.backends.remote.chats import chats_of
from llterm.backends.remote.dialects.asking import Visit
from llterm.backends.remote.dialects.protocol import Dialect, Lists, Reads, Tokenizes
from llterm.backends.remote.dialects.spelling import spread
from llterm.backends.remote.memory import Memory, forget, memory_file, recall, remember
from llterm.backends.remote.news import News, Tell
from llterm.backends.remote.opening import open_wire
from llterm.backends.remote.probe import found_out, met_again, tried
from llterm.backends.remote.vocabulary import Encoder, RemoteVocabulary, fingerprint_of
from llterm.backends.remote.wire import Wire
from llterm.config.server_settings import ServerSettings
from llterm.core.tokens import Tail, Token, vocabulary_fingerprint

WHOLE = 300_000
"""A vocabulary of more tokens than this is not fetched: some 90 bytes each."""


async def open_remote(
    name: str,
    settings: ServerSettings,
    context: int | None = None,
    *,
    tell: Tell | None = None,
    fresh: bool = False,
    chosen: Chosen | None = None,
) -> RemoteBackend:
    """Get to know a server and its model. `context` overrides what the server says it sees.

    What was found out at an earlier start counts as long as the server says the same of itself;
    with `fresh` everything is tried again. `chosen` is the person's chat format, where that is
    more than a built-in one's name. Raises LltermError: not reached, no key, nothing that
    llterm can work with.
    """
    news = News(tell)
    wire = await open_wire(settings, tell=news)
    try:
        # A recording must hold everything that its replay will ask for.
        steady = settings.record is not None or settings.replay is not None
        file = None if steady else memory_file(settings)
        known = None if file is None or fresh else await asyncio.to_thread(recall, file)
        dialect, told = await _got_to_know(wire, settings, file, known)
        traits = dialect.traits
        if context is not None:
            dialect = dialect.knowing(replace(traits, context=context, context_told=True))
        if settings.parallel is None:
            wire.set_parallel(traits.slots * max(len(settings.base_url), 1))
        habit = Habit(steady=steady)
        again = None
        if file is not None and known is not None and traits is known.traits:
            again = partial(_tried_again, wire, file)
        form = chosen or settings.chat_template
        backend = _backend(name, wire, dialect, told, habit, form, again)
        backend.news = news
        return backend
    except BaseException:
        await wire.close()
        raise


async def open_backend(
    name: str,
    wire: Wire,
    dialect: Dialect,
    habit: Habit | None = None,
    template: Chosen | None = None,
) -> RemoteBackend:
    """The backend, with as much of the vocabulary as the server tells.

    `template` is the chat format that the person chose. Raises LltermError.
    """
    return _backend(name, wire, dialect, await _told(wire, dialect), habit, template)


async def _tried_again(wire: Wire, file: Path, dialect: Dialect) -> Dialect:
    """What trying shows of a server that is not as it was remembered."""
    await asyncio.to_thread(forget, file)
    return await tried(wire, dialect)


async def _got_to_know(
    wire: Wire, settings: ServerSettings, file: Path | None, known: Memory | None
) -> tuple[Dialect, _Told]:
    """The dialect and its vocabulary: as they are remembered, where the server is the same."""
    visit = Visit(wire)
    try:
        if known is not None:
            met = await met_again(visit, known.dialect, settings.model)
            if met is not None and met[1] == known.identity:
                dialect = met[0].knowing(known.traits)
                if known.tokens and isinstance(dialect, Lists):
                    dialect.learn(known.tokens)
                return dialect, _Told(known.prefix, known.kind, known.tokens)
        dialect = await found_out(visit, settings.dialect, settings.model)
        told = await _told(wire, dialect)
        if file is not None and (met := await met_again(visit, dialect.name, settings.model)):
            memory = Memory(
                dialect.name, met[1], dialect.traits, told.prefix, told.kind, told.tokens
            )
            await asyncio.to_thread(remember, file, memory)
        return dialect, told
    finally:
        await visit.close()


@dataclass(frozen=True, slots=True)
class _Told:
    """What a server says of its vocabulary."""

    prefix: Tail = ()
    kind: int = 0
    tokens: Sequence[Token] = ()
    """All of them; none where it does not tell."""


async def _told(wire: Wire, dialect: Dialect) -> _Told:
    traits = dialect.traits
    if not (traits.ids_in and traits.ids_out):
        return _Told()
    listed = await dialect.vocabulary(wire, WHOLE) if isinstance(dialect, Lists) else None
    prefix = await dialect.prefix(wire) if isinstance(dialect, Tokenizes) else ()
    return _Told(prefix, *listed) if listed else _Told(prefix)


def _vocabulary(wire: Wire, dialect: Dialect, told: _Told) -> RemoteVocabulary:
    traits = dialect.traits
    if not (traits.ids_in and traits.ids_out):
        return _texts(wire, dialect)
    own = fingerprint_of(dialect.name, traits.model)
    encoder = _encoder(wire, dialect)
    if told.tokens:
        fingerprint = vocabulary_fingerprint(told.kind, told.tokens) if told.kind else own
        return RemoteVocabulary(
            fingerprint, told.tokens, size=len(told.tokens), prefix=told.prefix, encoder=encoder
        )
    vocabulary = RemoteVocabulary(own, prefix=told.prefix, encoder=encoder)
    vocabulary.learn(Token(id, b"", special=True) for id in told.prefix)
    return vocabulary


def _backend(
    name: str, wire: Wire, dialect: Dialect, told: _Told,
    habit: Habit | None, template: Chosen | None, again: Again | None = None,
) -> RemoteBackend:  # fmt: skip
    vocabulary, whole = _vocabulary(wire, dialect, told), bool(told.tokens)
    chats = chats_of(wire, dialect, vocabulary, template, whole=whole)
    return RemoteBackend(
        name, wire, dialect, vocabulary, habit, whole=whole, chats=chats, again=again
    )


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
