"""How a chat is opened on a server: by a template that it tells, by itself, or as messages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from llterm.backends.chat_formats import ChatFormat, Chosen, TemplateFile, own_format
from llterm.backends.chat_opener import ChatOpener, DeferredOpener, OpensAtOnce, opener
from llterm.backends.remote.dialect import AppliesTemplate, ChatOnly, Dialect, TellsTemplate
from llterm.backends.remote.server_vocabulary import RemoteVocabulary, is_end
from llterm.backends.remote.transport import Transport
from llterm.core.chat_messages import OWN, UNSEEN, Chat, ChatPart, ChatParts
from llterm.core.conversation import sought_parts
from llterm.core.tokens import Token
from llterm.errors import ConfigError

_MARK = re.compile(rb"<\|?[\w/.: -]+\|?>|\[/?[A-Z_]+\]")
"""What special tokens of chats are called."""


def chats_of(
    transport: Transport,
    dialect: Dialect,
    vocabulary: RemoteVocabulary,
    template: Chosen | None,
    *,
    whole: bool,
) -> ChatOpener | None:
    """How this server's chats are opened, or None where nobody can tell.

    `template` is a format that the person chose; `whole`: every token is known. Raises
    ConfigError where the server would not follow it, ModelError where there is none of that name.
    """
    by_itself = isinstance(dialect, ChatOnly) or (
        isinstance(dialect, AppliesTemplate) and dialect.by_ids
    )
    if template is not None and by_itself:
        raise ConfigError(
            f"chat_template does not go with the dialect {dialect.name}",
            f"{dialect.traits.server} writes chats itself.",
            "Take the setting out; the server's own options name another template.",
        )
    if isinstance(dialect, ChatOnly):
        return MessageChats(vocabulary)
    form: ChatOpener | None = None
    if template is not None:
        from llterm.backends.llamacpp.binding import library
        from llterm.backends.llamacpp.llama_chat import known_format

        if isinstance(template, TemplateFile):
            # The server's own first token stands before it in any case.
            chat_format = own_format(template.text, "", "", template.name)
        else:
            chat_format = known_format(library(), template)
        form = opener(chat_format, asyncio.get_running_loop())
    elif isinstance(dialect, AppliesTemplate):
        return ServerWrittenChats(transport, dialect, vocabulary)
    elif isinstance(dialect, TellsTemplate):
        tokens = map(vocabulary.token, range(vocabulary.size)) if whole else ()
        written = dialect.chat_format({one.data for one in tokens if one.special})
        form = opener(written, asyncio.get_running_loop()) if written is not None else None
    if form is None or whole or (dialect.traits.ids_in and dialect.traits.ids_out):
        return form
    return TextChats(form, vocabulary)


class TextChats:
    """A template for a server that takes text: it finds the special tokens in it itself."""

    def __init__(self, form: ChatOpener, vocabulary: RemoteVocabulary) -> None:
        self.name = form.name
        self._form = form
        self._vocabulary = vocabulary

    def open(self, chat: Chat) -> ChatParts | None:
        parts = self._form.open(chat)
        return None if parts is None else tuple(_pieces(parts, self._vocabulary))

    async def opened(self, chat: Chat) -> ChatParts:
        return tuple(_pieces(await self._form.opened(chat), self._vocabulary))

    async def close(self) -> None:
        await self._form.close()

    def hear(self, told: Callable[[], None]) -> None:
        self._form.hear(told)


class ServerWrittenChats(DeferredOpener):
    """Chats that the server itself writes."""

    def __init__(
        self, transport: Transport, dialect: AppliesTemplate, vocabulary: RemoteVocabulary
    ) -> None:
        super().__init__(asyncio.get_running_loop(), OWN)
        self._transport = transport
        self._dialect = dialect
        self._vocabulary = vocabulary

    async def render(self, chat: Chat) -> ChatParts:
        messages = chat.messages()
        # Whether or not the template takes the blanks around them away.
        written = [text for one in messages if (text := one["content"].strip())]
        opened = await self._dialect.apply_template(self._transport, messages)
        if opened is None:
            written_here = await asyncio.to_thread(self._likely)
            self.name = written_here.name
            return written_here.open(chat)
        if isinstance(opened, str):
            return tuple(_pieces(sought_parts(opened, written), self._vocabulary))
        return tuple(self._known(opened, written))

    def _likely(self) -> ChatFormat:
        """For a model without a template: as in process."""
        from llterm.backends.llamacpp.binding import library
        from llterm.backends.llamacpp.llama_chat import likely_format

        return likely_format(library(), self._vocabulary.has)

    def _known(self, tokens: Sequence[Token], written: Sequence[str]) -> Iterator[ChatPart]:
        """The server's tokens, in stretches of people's and of the template's."""
        text = b"".join(token.data for token in tokens).decode("utf-8", "replace")
        edges = [(len(part.text.encode()), part.written) for part in sought_parts(text, written)]
        whose: list[tuple[bool, Token]] = []
        at, (until, theirs) = 0, edges.pop(0) if edges else (0, False)
        for token in tokens:
            while edges and at >= until:
                more, theirs = edges.pop(0)
                until += more
            whose.append((theirs, token))
            at += len(token.data)
        for theirs, group in groupby(whose, key=itemgetter(0)):
            run = [token if theirs else _marked(token) for _, token in group]
            self._vocabulary.learn(run)
            data = b"".join(token.data for token in run)
            yield ChatPart(
                data.decode("utf-8", "replace"), theirs, tuple(token.id for token in run)
            )


class MessageChats(OpensAtOnce):
    """Chats that go to the server as messages: what it puts around them is not told.

    A token of llterm's own stands where a message begins.
    """

    name = UNSEEN

    def __init__(self, vocabulary: RemoteVocabulary) -> None:
        self._vocabulary = vocabulary

    def open(self, chat: Chat) -> ChatParts:
        parts: list[ChatPart] = []
        for one in chat.messages():
            parts += [self._role(one["role"]), ChatPart(one["content"], True)]
        return (*_pieces(parts, self._vocabulary), self._role("assistant"))

    async def opened(self, chat: Chat) -> ChatParts:
        return self.open(chat)

    def _role(self, role: str) -> ChatPart:
        return ChatPart(f"[{role}]", False, (self._vocabulary.role(role),))


def _pieces(parts: Iterable[ChatPart], vocabulary: RemoteVocabulary) -> Iterator[ChatPart]:
    """With tokens of llterm's own, for servers that take text."""
    for part in parts:
        data = part.text.encode("utf-8", "replace")
        yield part if part.ids is not None else part._replace(ids=vocabulary.pieces(data))


def _marked(token: Token) -> Token:
    """One of a template's: special where it is called so."""
    special = not token.data or _MARK.fullmatch(token.data) is not None or is_end(token.data)
    return replace(token, special=special, end=is_end(token.data))
