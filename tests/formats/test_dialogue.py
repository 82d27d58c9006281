"""Files of messages: read as they are, or refused with the place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.chat_messages import ROLES, Chat, ChatMessage
from llterm.errors import UsageError
from llterm.formats.dialogue import read_dialogue

TEXT = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() != "")
MESSAGES = st.lists(st.builds(ChatMessage, st.sampled_from(ROLES), TEXT), min_size=1, max_size=6)


@given(MESSAGES, st.booleans())
def test_every_message_is_read_as_it_stands(said: list[ChatMessage], inside: bool) -> None:
    messages = [one._asdict() for one in said]
    data = json.dumps({"model": "x", "messages": messages} if inside else messages).encode()
    before = said[:-1] if said[-1].role == "assistant" else said
    if not before:
        with pytest.raises(UsageError, match="is no chat"):
            read_dialogue(data, "talk.json")
        return
    found = read_dialogue(data, "talk.json")
    assert found.chat.said() == tuple(before)
    assert found.reply == (said[-1].content if len(before) < len(said) else "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Line 1, column 1"),
        ("[{", "Line 1, column 3"),
        ("3", "the file is 3, not a list"),
        ("{}", "the file has no messages"),
        ('{"messages": {}}', "messages is an object, not a list"),
        ("[]", "Nothing in it is said"),
        ("[3]", "[0] is 3, not an object"),
        ('[{"role": "user"}]', "[0] has no content"),
        ('[{"content": "a"}]', "[0] has no role"),
        ('[{"role": "tool", "content": "a"}]', "[0].role is 'tool', not one of system, user"),
        ('{"messages": [{"role": ["user"], "content": "a"}]}', "messages[0].role is a list"),
        ('[{"role": "user", "content": ["a"]}]', "[0].content is a list, not a text"),
        ('[{"role": "user", "content": "a", "tool_calls": []}]', "[0].tool_calls is no part"),
        ('[{"role": "user", "content": ""}]', "message 1 is empty"),
        ('[{"role": "user", "content": " "}]', "Nothing in it is said"),
        ('[{"role": "assistant", "content": "a"}]', "Nothing in it is said"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(UsageError, match="is no chat") as refused:
        read_dialogue(text.encode(), "talk.json")
    assert told in refused.value.cause
    assert '"role": "user"' in refused.value.hint


def test_a_reply_that_has_not_begun() -> None:
    asked = '[{"role": "user", "content": " a "}, {"role": "assistant", "content": ""}]'
    assert read_dialogue(asked.encode(), "talk.json").chat == Chat("", " a ")
    assert read_dialogue(asked.encode(), "talk.json").reply == ""
