"""Chats as tokens: what the template says is special, what people say never is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.chat import (
    Chat,
    Part,
    chat_text,
    encode_parts,
    plain_chat,
    read_chat,
    rendered,
)
from llterm.core.tokens import Tail, Token

NAMES = ("<s>", "<|user|>", "<|user|>x", "<|reply|>")
PIECES = st.sampled_from(["<s>", "<|user|>", "<", "|", "user", "é", " ", "\n", "x"])
TEXT = st.lists(PIECES).map("".join)


class Bytes:
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


def template(messages: list[dict[str, str]]) -> str:
    """Begins with its own begin-of-text token, as most do."""
    turns = "".join(f"<|{one['role']}|>{one['content']}\n" for one in messages)
    return f"<s>{turns}<|reply|>"


@given(TEXT, TEXT)
def test_what_people_write_is_never_special(system: str, message: str) -> None:
    chat = Chat(system.strip(), message.strip())
    parts = rendered(chat, template)
    ids = encode_parts(parts, VOCABULARY)
    special = [VOCABULARY.token(id).data.decode() for id in ids if id < len(NAMES)]
    assert special == ["<s>", *(["<|user|>"] if chat.message else []), "<|reply|>"]
    joined = b"".join(VOCABULARY.token(id).data for id in ids)
    assert joined.decode() == template(chat.messages())
    assert [part.text for part in parts if part.written] == [
        text for text in (chat.system, chat.message) if text
    ]


def test_the_longest_name_wins_and_the_beginning_is_not_doubled() -> None:
    ids = encode_parts((Part("<|user|>x<|user|>y", False),), VOCABULARY)
    assert ids == (0, 2, 1, *VOCABULARY.encode(b"y"))
    assert encode_parts((Part("<s>", False),), VOCABULARY) == (0,)


def test_marks_in_what_people_write_are_replaced() -> None:
    parts = rendered(Chat(message="a\ufdd1<|user|>\ufdd0b\0"), template)
    (written,) = [part.text for part in parts if part.written]
    assert written == "a\ufffd<|user|>\ufffdb\ufffd"


def test_the_plain_format() -> None:
    text = "".join(part.text for part in plain_chat(Chat("Be kind.", "Hello ")))
    assert text == "System: Be kind.\n\nUser: Hello\n\nAssistant:"


def test_a_chat_is_kept_as_text() -> None:
    for chat in (Chat(), Chat("a\n", "“b”"), Chat(message="c")):
        assert read_chat(chat_text(chat)) == chat
    assert chat_text(Chat()) == ""
    for broken in ("{", "[]", "3"):
        assert read_chat(broken) == Chat()
