"""The dialog of a chat of several turns, by keys."""

from __future__ import annotations

import json
from pathlib import Path

from textual.widgets import Static, TextArea

from llterm.core.chat_messages import Chat, ChatMessage, read_chat
from tests.helpers.driven_app import Start

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "A tale"},
    {"role": "assistant", "content": "Once"},
]


async def test_turns_from_a_file_and_by_hand(start: Start, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(TALK))
    async with start("") as at:
        await at.press("alt+c", "f8", *str(tmp_path / "talk.json"), "enter")
        await at.until(lambda: bool(at.app.screen.query("#message")))
        dialog = at.app.screen
        assert str(dialog.query_one("#whose", Static).render()) == (
            "Turn 4 of 4: the model's reply begins"
        )
        assert dialog.query_one("#system", TextArea).text == "Be kind."
        await at.press("f3", "!", "f3", "f3", "f3")
        assert dialog.query_one("#message", TextArea).text == " Hi "
        await at.press("f5", *"Me?", "f6", "f6", "ctrl+j")
        await at.until(lambda: at.story == "Once")
        said = (
            ChatMessage("user", " Hi "),
            ChatMessage("user", "Me?"),
            ChatMessage("assistant", "Hello."),
        )
        assert read_chat(at.session.document.chat) == Chat("Be kind.", "A tale!", said)
        await at.press("ctrl+z")
        await at.until(lambda: at.story == "")
        await at.press("ctrl+z")
        await at.until(lambda: not at.session.document.chat)


async def test_a_file_that_is_no_chat_is_refused_and_nothing_typed_is_lost(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "talk.json").write_text('[{"role": "tool"}]')
    async with start() as at:
        story = at.story
        await at.press("alt+c", *"Hi", "f8", *str(tmp_path / "talk.json"), "enter")
        await at.until(
            lambda: "[0].role is 'tool'" in str(at.app.screen.query_one("#told").render())
        )
        await at.press("f5", *"Yes", "f3", "!", "f4", *["backspace"] * 3, "ctrl+j")
        await at.until(lambda: bool(at.session.document.chat))
        assert read_chat(at.session.document.chat) == Chat("", "Hi!")
        assert at.story == story, "a story that there is stays as it is"
