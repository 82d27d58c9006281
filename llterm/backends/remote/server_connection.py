"""Opens a model on a server: the transport, the dialect, the vocabulary; or asks what it offers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from llterm.backends.chat_formats import Chosen
from llterm.backends.remote.api_keys import read_key
from llterm.backends.remote.cassette import CassetteWriter, RecordingTransport, ReplayTransport
from llterm.backends.remote.client import Client
from llterm.backends.remote.context_limit import KnownContext
from llterm.backends.remote.dialect import (
    Dialect,
    EchoesLogprobs,
    ListsTokens,
    TellsVocabulary,
    Tokenizes,
)
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.http_transport import HttpTransport
from llterm.backends.remote.llterm_backend import open_llterm
from llterm.backends.remote.probe import detect_again, find_dialect, with_trials
from llterm.backends.remote.remote_backend import RemoteBackend, RequestPolicy
from llterm.backends.remote.server_chats import chats_of
from llterm.backends.remote.server_memory import (
    ServerMemory,
    TokenListing,
    forget,
    memory_file,
    recall,
    remember,
)
from llterm.backends.remote.server_usage import ServerBackend
from llterm.backends.remote.server_vocabulary import (
    Encoder,
    RemoteVocabulary,
    fingerprint_of,
    is_end,
)
from llterm.backends.remote.steps import shown_name
from llterm.backends.remote.token_spelling import spread
from llterm.backends.remote.transport import RequestRefused, Transport
from llterm.config.server_settings import ServerSettings
from llterm.core.server_news import HearNews, ServerNews
from llterm.core.tokens import Tail, Token, text_bytes, vocabulary_fingerprint
from llterm.errors import ConfigError, LltermError

WHOLE = 300_000
"""A vocabulary of more tokens than this is not fetched: some 90 bytes each."""
LIST_PATIENCE = 3.0
"""Seconds for a server: a list of models is no reason to wait longer."""
NAMED = 3
"""Models that are named; of more the number is told."""


async def open_remote(
    name: str,
    settings: ServerSettings,
    context: int | None = None,
    *,
    hear: HearNews | None = None,
    fresh: bool = False,
    chosen: Chosen | None = None,
) -> ServerBackend:
    """Open the way to a model's server, and the model there: as llterm's own or, where it is of
    another make, as `connect` does.

    `hear` is given the server's news before it is asked anything.
    """
    news = ServerNews(name)
    if hear is not None:
        hear(news)
    transport = await open_transport(settings, news)
    try:
        async with aclosing(Discovery(transport)) as discovery:
            if settings.dialect == "auto":
                steady = settings.record is not None or settings.replay is not None
                own = await open_llterm(name, discovery, settings.model, context, steady=steady)
                if own is not None:
                    return own
            return await connect(
                name, transport, settings, context, fresh=fresh, chosen=chosen, discovery=discovery
            )
    except BaseException:
        await transport.close()
        raise


async def open_transport(settings: ServerSettings, news: ServerNews | None = None) -> Transport:
    """The way to this server, or to a recording of one; nothing is sent yet. `news` are told how
    the server is doing.

    Raises UsageError where the settings, the key or a file are no good.
    """
    if settings.replay is not None:
        return ReplayTransport(settings.replay)
    for setting, why, hint in settings.mistakes():
        raise ConfigError(f"Wrong value for {setting}", f"{why}.", hint)
    # Both take their time: a command that asks its person, and a library that is imported.
    key = await asyncio.to_thread(read_key, settings)
    transport = await asyncio.to_thread(HttpTransport, settings, key, news)
    if settings.record is None:
        return transport
    cassette = CassetteWriter(settings.record, settings, transport.parallel, key)
    return RecordingTransport(transport, cassette)


async def connect(
    name: str,
    transport: Transport,
    settings: ServerSettings,
    context: int | None = None,
    *,
    fresh: bool = False,
    chosen: Chosen | None = None,
    discovery: Discovery | None = None,
) -> RemoteBackend:
    """Get to know a server of another make and its model. `context` overrides what the server says
    it sees.

    What was found out at an earlier start counts as long as the server says the same of itself;
    with `fresh` everything is tried again. `chosen` is the person's chat format, where that is
    more than a built-in one's name. `discovery` is the first look at it, where there was one.
    Raises LltermError: not reached, no key, nothing that llterm can work with.
    """
    # A recording must hold everything that its replay will ask for.
    policy = RequestPolicy(steady=settings.record is not None or settings.replay is not None)
    file = None if policy.steady else memory_file(settings)
    known = None if file is None or fresh else await asyncio.to_thread(recall, file)
    look = discovery or Discovery(transport)
    async with aclosing(look):
        dialect, listing = await _get_to_know(look, settings, file, known)
    traits = dialect.traits
    if context is not None:
        dialect = dialect.with_traits(replace(traits, context=context, context_told=True))
    room = KnownContext(
        dialect.traits.context,
        exact=traits.ids_in and traits.ids_out,
        # What scores a text writes a token after it.
        spare=int(traits.reads),
    )
    if settings.parallel is None:
        transport.set_parallel(traits.slots * max(len(settings.base_url), 1))
    again = None
    if file is not None and known is not None and traits is known.traits:
        again = partial(_tried_again, transport, file)
    vocabulary, whole = _vocabulary(transport, dialect, listing, room), listing.whole
    template = chosen or settings.chat_template
    chats = chats_of(transport, dialect, vocabulary, template, whole=whole)
    client = Client(name, transport, dialect, vocabulary, streams=not policy.steady)
    keep = partial(_keep_context, file) if file is not None else lambda _: None
    return RemoteBackend(
        client, policy, context=room, whole=whole, chats=chats, again=again, keep=keep
    )


def _keep_context(file: Path, tokens: int) -> None:
    """Remember how much this server's model sees, which only a refusal told."""
    if (memory := recall(file)) is not None:
        traits = replace(memory.traits, context=tokens, context_told=True)
        remember(file, replace(memory, traits=traits))


async def _tried_again(transport: Transport, file: Path, dialect: Dialect) -> Dialect:
    """What trying shows of a server that is not as it was remembered."""
    await asyncio.to_thread(forget, file)
    return await with_trials(transport, dialect)


async def _get_to_know(
    discovery: Discovery, settings: ServerSettings, file: Path | None, known: ServerMemory | None
) -> tuple[Dialect, TokenListing]:
    """The dialect and its vocabulary: as they are remembered, where the server is the same."""
    if known is not None:
        same = await detect_again(discovery, known.dialect, settings.model)
        if same is not None and same[1] == known.identity:
            dialect = same[0].with_traits(known.traits)
            if known.listing.tokens and isinstance(dialect, TellsVocabulary | ListsTokens):
                dialect.learn(known.listing.tokens)
            return dialect, known.listing
    dialect = await find_dialect(discovery, settings.dialect, settings.model)
    listing = await _list_tokens(discovery.transport, dialect)
    if listing.tokens:
        dialect = dialect.with_traits(replace(dialect.traits, bytes_out=True))
    same = None
    if file is not None:
        same = await detect_again(discovery, dialect.name, settings.model)
    if file is not None and same is not None:
        memory = ServerMemory(dialect.name, same[1], dialect.traits, listing)
        await asyncio.to_thread(remember, file, memory)
    return dialect, listing


async def _list_tokens(transport: Transport, dialect: Dialect) -> TokenListing:
    traits = dialect.traits
    if not (traits.ids_in and traits.ids_out):
        return TokenListing()
    listed = None
    if isinstance(dialect, TellsVocabulary):
        listed = await dialect.vocabulary(transport, WHOLE)
    prefix = await dialect.prefix(transport) if isinstance(dialect, Tokenizes) else ()
    if listed:
        return TokenListing(prefix, *listed, whole=True)
    tokens: Sequence[Token] = ()
    if isinstance(dialect, ListsTokens):
        # Where it does not, its tokens are learned as they are seen.
        with suppress(LltermError):
            tokens = await dialect.listing(transport, WHOLE)
    return TokenListing(prefix, tokens=[_marked(token, prefix) for token in tokens])


def _vocabulary(
    transport: Transport, dialect: Dialect, listing: TokenListing, room: KnownContext
) -> RemoteVocabulary:
    traits = dialect.traits
    if not (traits.ids_in and traits.ids_out):
        return _texts(transport, dialect, room)
    own = fingerprint_of(dialect.name, traits.model)
    encoder = _encoder(transport, dialect)
    if listing.whole:
        tokens = listing.tokens
        fingerprint = vocabulary_fingerprint(listing.kind, tokens) if listing.kind else own
        return RemoteVocabulary(
            fingerprint, tokens, size=len(tokens), prefix=listing.prefix, encoder=encoder
        )
    vocabulary = RemoteVocabulary(own, prefix=listing.prefix, encoder=encoder)
    vocabulary.learn(listing.tokens)
    vocabulary.learn(Token(id, b"", special=True) for id in listing.prefix)
    return vocabulary


def _marked(token: Token, prefix: Tail) -> Token:
    """One that begins or ends texts stands for none."""
    end = is_end(token.data)
    return replace(token, special=end or token.id in prefix, end=end)


def _encoder(transport: Transport, dialect: Dialect) -> Encoder | None:
    if not isinstance(dialect, Tokenizes):
        return None
    tokenizer = dialect

    async def encode(text: str) -> Sequence[Token]:
        return await tokenizer.tokenize(transport, text)

    return encode


def _texts(transport: Transport, dialect: Dialect, room: KnownContext) -> RemoteVocabulary:
    """Tokens known by their text alone. Their ids mean nothing to another connection."""
    own = f"texts-{uuid4().hex[:16]}"
    if not (dialect.traits.reads and isinstance(dialect, EchoesLogprobs)):
        return RemoteVocabulary(own, texts_only=True)
    reader = dialect

    async def encode(text: str) -> Sequence[Token]:
        """A server that echoes a text tells how it cuts it; of a long one part after part."""
        tokens: list[Token] = []
        pieces = vocabulary.pieces(text.encode())
        while pieces:
            part = text_bytes(vocabulary, pieces[: room.tokens])
            call = reader.scoring_call(part.decode(), 1)
            try:
                answer = await transport.post(call.path, call.body)
            except RequestRefused as error:
                if not room.learn(error, len(pieces[: room.tokens])):
                    raise
                continue
            pieces = pieces[room.tokens :]
            positions = reader.read_scoring(answer.data)
            data = spread([chosen.data for chosen, _ in positions], part) or ()
            tokens += (vocabulary.token(vocabulary.own(one)) for one in data if one)
        return tokens

    vocabulary = RemoteVocabulary(own, encoder=encode, texts_only=True)
    return vocabulary


async def server_models(servers: Mapping[str, ServerSettings]) -> Mapping[str, str]:
    """By the model's name: what its server has, or why that is not known. All are asked at once."""
    offers = await asyncio.gather(*map(_ask, servers.values()))
    return dict(zip(servers, offers, strict=True))


async def _ask(settings: ServerSettings) -> str:
    if settings.key_command:
        return "not asked: a program would be run for its key"
    try:
        async with asyncio.timeout(LIST_PATIENCE):
            transport = await open_transport(settings)
            try:
                async with aclosing(Discovery(transport)) as discovery:
                    return _offered(await discovery.model_names())
            finally:
                await transport.close()
    except TimeoutError:
        return f"no answer in {LIST_PATIENCE:g} s"
    except LltermError as error:
        return error.title


def _offered(names: list[str]) -> str:
    if not names:
        return "reached; it lists no models"
    shown = [shown_name(one) for one in names[:NAMED]]
    more = len(names) - NAMED
    return "has " + ", ".join(shown) + (f" and {more} more" if more > 0 else "")
