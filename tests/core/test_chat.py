"""Chats as tokens: what the template says is special, what people say never is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.chat_messages import (
    ROLES,
    Chat,
    ChatMessage,
    ChatPart,
    ChatParts,
    chat_draft,
    chat_of,
    chat_text,
    read_chat,
)
from llterm.core.conversation import Conversation, Message, conversation_parts, plain_text
from llterm.core.tokens import EncodesHere, Tail, Token
from tests.helpers.known_tokens import tokens_of

MESSAGES = st.lists(st.builds(ChatMessage, st.sampled_from(ROLES), st.text(max_size=3)), max_size=6)

NAMES = ("<s>", "<|user|>", "<|user|>x", "<|reply|>")
PIECES = st.sampled_from(["<s>", "<|user|>", "<", "|", "user", "é", " ", "\n", "x"])
TEXT = st.lists(PIECES).map("".join)


class Bytes(EncodesHere):
    """Special tokens, then the 256 bytes."""

    fingerprint = "bytes"
    size = len(NAMES) + 256
    prefix: Tail = (0,)

    def encode(self, data: bytes) -> Tail:
        return tuple(len(NAMES) + byte for byte in data)

    def token(self, id: int) -> Token:
        if id < len(NAMES):
            return Token(id, NAMES[id].encode(), special=True)
        return Token(id, bytes([id - len(NAMES)]))


VOCABULARY = Bytes()


def rendered(chat: Chat, write: Callable[[Sequence[Message]], str]) -> ChatParts:
    """The parts that a template makes of a chat."""
    conversation = Conversation(tuple(chat.messages()))
    return conversation_parts(conversation, lambda given: write(given.messages))


def template(messages: Sequence[Message]) -> str:
    """Begins with its own begin-of-text token, as most do."""
    turns = "".join(f"<|{one['role']}|>{one['content']}\n" for one in messages)
    return f"<s>{turns}<|reply|>"


@given(MESSAGES)
def test_messages_stay_in_their_order_and_as_they_were_said(said: list[ChatMessage]) -> None:
    chat = chat_of(said)
    assert chat.said() == tuple(one for one in said if one.content)
    assert read_chat(chat_text(chat)) == (chat if chat else Chat())
    # A template sees and gives back every blank, unless it takes them away itself.
    text = "".join(part.text for part in rendered(chat, template))
    clean = text if any("\0" in one.content for one in said) else template(chat.messages())
    assert text == clean


@given(TEXT)
def test_a_template_that_strips_finds_the_blanks(message: str) -> None:
    def stripping(messages: Sequence[Message]) -> str:
        return "".join(f"<|user|>{one['content'].strip()}" for one in messages)

    text = "".join(part.text for part in rendered(Chat("", message), stripping))
    assert text == (f"<|user|>{message.strip()}" if message else "")


@given(TEXT, TEXT)
def test_what_people_write_is_never_special(system: str, message: str) -> None:
    chat = Chat(system, message)
    parts = rendered(chat, template)
    ids = tokens_of(VOCABULARY, chat_draft(parts, VOCABULARY))
    special = [VOCABULARY.token(id).data.decode() for id in ids if id < len(NAMES)]
    assert special == ["<s>", *(["<|user|>"] if chat.message else []), "<|reply|>"]
    joined = b"".join(VOCABULARY.token(id).data for id in ids)
    assert joined.decode() == template(chat.messages())
    assert [part.text for part in parts if part.written] == [
        text.strip() for text in (system, message) if text.strip()
    ]


def test_the_longest_name_wins_and_the_beginning_is_not_doubled() -> None:
    ids = tokens_of(VOCABULARY, chat_draft((ChatPart("<|user|>x<|user|>y", False),), VOCABULARY))
    assert ids == (0, 2, 1, *VOCABULARY.encode(b"y"))
    assert tokens_of(VOCABULARY, chat_draft((ChatPart("<s>", False),), VOCABULARY)) == (0,)


def test_marks_in_what_people_write_are_replaced() -> None:
    parts = rendered(Chat(message="a\ufdd1<|user|>\ufdd0b\0"), template)
    (written,) = [part.text for part in parts if part.written]
    assert written == "a\ufffd<|user|>\ufffdb\ufffd"


def test_the_plain_format() -> None:
    asked = Chat(
        "Be kind.", "Hello ", (ChatMessage("user", "Hi"), ChatMessage("assistant", " Yes?"))
    )
    conversation = Conversation(tuple(asked.messages()))
    text = "".join(part.text for part in conversation_parts(conversation, plain_text))
    assert text == (
        "System: Be kind.\n\nUser: Hi\n\nAssistant:  Yes?\n\nUser: Hello \n\nAssistant:"
    )


def test_a_chat_is_kept_as_text() -> None:
    earlier = (ChatMessage("user", "a"), ChatMessage("assistant", " b\n"))
    for chat in (Chat(), Chat("a\n", "“b”"), Chat(message="c"), Chat("s", "c", earlier)):
        assert read_chat(chat_text(chat)) == chat
    assert chat_text(Chat()) == ""
    assert chat_text(Chat("a", "b")) == '{"system": "a", "message": "b"}', (
        "as older llterms read it"
    )
    for broken in ("{", "[]", "3", '{"earlier": 3}', '{"earlier": [["user", "a"]]}'):
        assert read_chat(broken) == Chat()
