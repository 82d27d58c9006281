"""Chat templates: a chat as a model wants it written, by the model's own Jinja template.

A template comes with the model or from its server, from strangers: it is rendered apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llterm.backends.rendering import render_template
from llterm.core.chat_messages import OWN, Chat, ChatParts, plain_chat, rendered
from llterm.errors import ModelError

Messages = list[dict[str, str]]
THOUGHTLESS = {"enable_thinking": False}
"""For templates that know thinking: the reply is what is woven, not the thoughts before it."""
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way to write chats."""

    name: str
    render: Callable[[Messages], str] | None
    """Messages to text; None is the plain one."""
    ends: tuple[str, ...] = ()
    """Names of tokens that end a reply, besides the model's own."""
    foreign: bool = False
    """By a template from outside: rendering it takes as long as the template likes, up to a limit.
    """

    def open(self, chat: Chat) -> ChatParts:
        """The chat up to where the reply begins. Raises ModelError where the template fails."""
        if self.render is None:
            return plain_chat(chat)
        try:
            return rendered(chat, self.render)
        except ModelError:
            if not chat.system or all(one.role != "user" for one in chat.said()):
                raise
        # Some templates know no system message: it goes before what the person says.
        return rendered(chat.without_system(), self.render)


def own_format(template: str, begin: str, end: str, name: str = OWN) -> ChatFormat:
    """By a model's own template, or one with another `name`; `begin` and `end` name its tokens
    around a text, or are empty.

    It comes from outside: rendering waits for another process (see `llterm.backends.rendering`).
    """

    def render(messages: Messages) -> str:
        return render_template(
            template,
            {
                "messages": messages,
                "bos_token": begin,
                "eos_token": end,
                "add_generation_prompt": True,
                **THOUGHTLESS,
                "tools": None,
            },
        )

    return ChatFormat(name, render, foreign=True)
