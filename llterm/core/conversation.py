"""A chat as programs have it: messages with whatever templates read in them, and what comes after.

Rendered twice, with marks around what people wrote and without: where the marks change nothing
they say which of the text is theirs, and otherwise it is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from llterm.core.chat_messages import ChatPart, ChatParts
from llterm.core.json_text import json_text, parsed
from llterm.errors import ModelError

_OPEN, _SHUT = "\ufdd0", "\ufdd1"
"""Around what people wrote while a template works: code points that no text may hold."""
_WRITTEN = ("content", "reasoning_content", "thinking")
"""Of a message, what people and models wrote."""
Message = Mapping[str, Any]
ConversationEnd = Literal["opened", "continued", "closed"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages as OpenAI's clients send them, and as chat templates want them."""

    messages: tuple[Message, ...]
    """`role` and `content`, and what else templates know, such as `tool_calls`."""
    tools: tuple[Mapping[str, Any], ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What the template may see besides."""
    ending: ConversationEnd = "opened"
    """A reply begins after it; or its last message goes on; or nothing comes."""

    def with_role(self, role: str, new: str) -> Conversation:
        """With the messages of a role said by another."""
        messages = ({**one, "role": new} if one["role"] == role else one for one in self.messages)
        return replace(self, messages=tuple(messages))

    def with_words(self, words: str) -> Conversation:
        """With this told to the model first of all, after what a system message says."""
        if not self.messages or self.messages[0]["role"] != "system":
            return replace(self, messages=({"role": "system", "content": words}, *self.messages))
        first, *others = self.messages
        told = {**first, "content": f"{first['content']}\n\n{words}"}
        return replace(self, messages=(told, *others))

    def without_system(self) -> Conversation | None:
        """With the system message before what the person says first; None without either."""
        if not self.messages or self.messages[0]["role"] != "system":
            return None
        system, *others = self.messages
        for index, message in enumerate(others):
            if message["role"] == "user":
                content = f"{system['content']}\n\n{message['content']}"
                others[index] = {**message, "content": content}
                return replace(self, messages=tuple(others))
        return None


def conversation_text(conversation: Conversation) -> str:
    """As JSON has it."""
    return json_text(asdict(conversation))


def read_conversation(text: str) -> Conversation:
    """What `conversation_text` wrote."""
    fields = parsed(text)
    return Conversation(
        tuple(fields["messages"]), tuple(fields["tools"]), fields["variables"], fields["ending"]
    )


THOUGHTLESS: Mapping[str, Any] = {"enable_thinking": False}
"""For templates that know thinking: the reply is what is woven, not the thoughts before it."""


@dataclass(frozen=True, slots=True)
class ChatTraits:
    """What writes a source's chats."""

    name: str
    """Of the format, for people."""
    template: str = ""
    """In Jinja; empty where it is by none, or nobody tells it."""
    known: bool = True
    """False: nothing is known of how the model wants chats, and a dialogue in plain text is written
    for want of better."""
    stops: tuple[str, ...] = ()
    """Texts by which a reply ends, besides tokens that end one."""


@runtime_checkable
class WritesChats(Protocol):
    """A source that writes whole conversations."""

    @property
    def chat_traits(self) -> ChatTraits: ...

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        """As the model reads it. Raises LltermError where that cannot be."""


Render = Callable[[Conversation], str]
"""A conversation to text, by a template or otherwise. The last message of one to be continued is
written as any other."""


def conversation_parts(conversation: Conversation, render: Render) -> ChatParts:
    """The parts that a template makes of a conversation. Raises what `render` does."""
    clean = replace(
        conversation,
        messages=tuple(_mapped(message, _clean) for message in conversation.messages),
        tools=tuple(_mapped(tool, _clean) for tool in conversation.tools),
    )
    return _continued(clean, render) if clean.ending == "continued" else _parts(clean, render)


def _continued(conversation: Conversation, render: Render) -> ChatParts:
    """Up to the end of what the last message says, as the template writes one; where the template
    does not, that after an opened reply."""
    last = conversation.messages[-1]
    said = str(next(filter(None, map(last.get, _WRITTEN)), ""))
    blanks = said[len(said.rstrip()) :]
    parts: ChatParts = ()
    if said.strip():
        with suppress(ModelError):
            parts = _parts(conversation, render)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index].written:
            if parts[index].text.strip() != said.strip():
                break
            return parts[: index + 1] + ((ChatPart(blanks, True),) if blanks else ())
    opened = replace(conversation, messages=conversation.messages[:-1], ending="opened")
    return _parts(opened, render) + ((ChatPart(said, True),) if said else ())


def _parts(conversation: Conversation, render: Render) -> ChatParts:
    conversation, text = _rendered(conversation, render)
    marked = render(_marked(conversation))
    if marked.replace(_OPEN, "").replace(_SHUT, "") == text:
        return tuple(_split(marked))
    said = (str(message.get(name) or "") for message in conversation.messages for name in _WRITTEN)
    return tuple(sought_parts(text, [words for each in said if (words := each.strip())]))


def _rendered(conversation: Conversation, render: Render) -> tuple[Conversation, str]:
    """The text, and the conversation in the form that the template reads: some want contents as
    lists of parts, some the arguments of calls as texts, some thoughts by another name or as
    parts."""
    try:
        text = render(conversation)
    except ModelError:
        texts = _with_text_arguments(conversation)
        if texts == conversation:
            raise
        conversation, text = texts, render(texts)
    for reform, misses in (
        (_with_typed_contents, _misses_words),
        (_with_text_arguments, _misses_arguments),
        (_with_named_thoughts, _misses_thoughts),
        (_with_typed_thoughts, _misses_thoughts),
    ):
        if misses(conversation, text):
            other = reform(conversation)
            with suppress(ModelError):
                other_text = render(other)
                if not misses(other, other_text):
                    conversation, text = other, other_text
    return conversation, text


def _misses_words(conversation: Conversation, text: str) -> bool:
    """Whether what a person said last is not there."""
    said = [one["content"] for one in conversation.messages if one["role"] == "user"]
    if not said:
        return False
    last = said[-1] if isinstance(said[-1], str) else said[-1][0]["text"]
    return last.strip() not in text


def _misses_thoughts(conversation: Conversation, text: str) -> bool:
    """Whether no thought is there, or one as Python or JSON write it. Most templates leave out
    those of earlier turns."""
    thoughts = [str(one.get("reasoning_content") or "").strip() for one in conversation.messages]
    said = [each for each in thoughts if each]
    quoted = "'thinking'" in text or '"thinking"' in text
    return bool(said) and (quoted or not any(each in text for each in said))


def _misses_arguments(conversation: Conversation, text: str) -> bool:
    """Whether arguments stand there as Python writes them."""
    arguments = (call["function"]["arguments"] for call in _calls(conversation))
    return any(each and not isinstance(each, str) and str(each) in text for each in arguments)


def _calls(conversation: Conversation) -> Iterator[Mapping[str, Any]]:
    for message in conversation.messages:
        yield from message.get("tool_calls") or ()


def _with_typed_contents(conversation: Conversation) -> Conversation:
    messages = (
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message.get("content"), str)
        else message
        for message in conversation.messages
    )
    return replace(conversation, messages=tuple(messages))


def _with_named_thoughts(conversation: Conversation) -> Conversation:
    """With thoughts by the name that gpt-oss's template knows."""
    return _with_thoughts(conversation, lambda message, said: {**message, "thinking": said})


def _with_typed_thoughts(conversation: Conversation) -> Conversation:
    """With thoughts as a part of what is said, as Mistral's templates want them."""

    def typed(message: Message, said: str) -> Message:
        text = message.get("content")
        parts = [{"type": "thinking", "thinking": said}]
        parts += [{"type": "text", "text": text}] if isinstance(text, str) and text else []
        return {**message, "content": parts}

    return _with_thoughts(conversation, typed)


def _with_thoughts(
    conversation: Conversation, change: Callable[[Message, str], Message]
) -> Conversation:
    """With the messages changed in which there are thoughts."""
    messages = (
        change(message, str(message["reasoning_content"]))
        if message.get("reasoning_content")
        else message
        for message in conversation.messages
    )
    return replace(conversation, messages=tuple(messages))


def _with_text_arguments(conversation: Conversation) -> Conversation:
    return _with_arguments(
        conversation, lambda value: value if isinstance(value, str) else json_text(value)
    )


def _with_arguments(conversation: Conversation, change: Callable[[Any], Any]) -> Conversation:
    """With the arguments of all calls changed."""
    messages = []
    for message in conversation.messages:
        if calls := message.get("tool_calls"):
            changed = [
                {**call, "function": {**call["function"],
                                      "arguments": change(call["function"]["arguments"])}}
                for call in calls
            ]  # fmt: skip
            message = {**message, "tool_calls": changed}
        messages.append(message)
    return replace(conversation, messages=tuple(messages))


def _marked(conversation: Conversation) -> Conversation:
    """With marks around what was written: contents, thoughts, and texts in calls of tools."""
    messages = (
        {name: _mapped(value, _in_marks) if name in _WRITTEN else value
         for name, value in message.items()}
        for message in conversation.messages
    )  # fmt: skip
    marked = replace(conversation, messages=tuple(messages))
    return _with_arguments(marked, lambda value: _mapped(value, _in_marks))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """With every text changed that is a value in it; a part's `type` is a name."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {
                name: inner if name == "type" else _mapped(inner, change)
                for name, inner in value.items()
            }
        case list() | tuple():
            return [_mapped(inner, change) for inner in value]
    return value


def _clean(text: str) -> str:
    """Without the marks, and without what ends a text in C."""
    for one in (_OPEN, _SHUT, "\0"):
        text = text.replace(one, "\ufffd")
    return text


def _in_marks(text: str) -> str:
    """With the marks inside the blanks at both ends: a template that strips finds them."""
    said = text.strip()
    if not said:
        return text
    start = text.index(said)
    return f"{text[:start]}{_OPEN}{said}{_SHUT}{text[start + len(said) :]}"


def _split(text: str) -> Iterator[ChatPart]:
    """At the marks. A template that dropped one of a pair has its words taken as written."""
    written = False
    start = 0
    for at, character in enumerate(text):
        if character in (_OPEN, _SHUT):
            if at > start:
                yield ChatPart(text[start:at], written)
            written, start = character == _OPEN, at + 1
    if start < len(text):
        yield ChatPart(text[start:], written)


def sought_parts(text: str, written: Sequence[str]) -> Iterator[ChatPart]:
    """A chat that somebody else wrote: what people said is looked for in it, in its order."""
    start = 0
    for said in written:
        at = text.find(said, start)
        if at < 0:
            continue
        if at > start:
            yield ChatPart(text[start:at], False)
        yield ChatPart(said, True)
        start = at + len(said)
    if start < len(text):
        yield ChatPart(text[start:], False)


def said_in(message: Message) -> str:
    """What a message says, for formats that know texts alone."""
    return str(message.get("content") or "")


def plain_text(conversation: Conversation) -> str:
    """For models that know no format: lines of a dialogue, as in a book."""
    lines = (f"{one['role'].title()}: {said_in(one)}\n\n" for one in conversation.messages)
    return "".join(lines) + ("Assistant:" if conversation.ending == "opened" else "")


PLAIN_STOPS = ("\n\nUser:", "\n\nSystem:")
"""Where a dialogue in plain text goes on with another's words."""
