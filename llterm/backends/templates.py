"""Chat templates: a chat as a model wants it written, by the model's own Jinja template.

A template comes with the model, from strangers: it runs in Jinja's sandbox and sees the chat alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llterm.core.chat import OWN, Chat, Parts, plain_chat, rendered
from llterm.core.display import visible
from llterm.core.jsontext import json_text
from llterm.errors import LltermError, ModelError

Messages = list[dict[str, str]]
THOUGHTLESS = {"enable_thinking": False}
"""For templates that know thinking: the reply is what is woven, not the thoughts before it."""
PLAIN = "plain"
_FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What an expression of a template may raise besides Jinja's own errors."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way to write chats."""

    name: str
    render: Callable[[Messages], str] | None
    """Messages to text; None is the plain one."""

    def open(self, chat: Chat) -> Parts:
        """The chat up to where the reply begins. Raises ModelError where the template fails."""
        if self.render is None:
            return plain_chat(chat)
        try:
            return rendered(chat, self.render)
        except ModelError:
            if not (chat.system and chat.message):
                raise
        # Some templates know no system message: it goes before what the person says.
        return rendered(Chat("", f"{chat.system}\n\n{chat.message}"), self.render)


def own_format(template: str, begin: str, end: str) -> ChatFormat:
    """By a model's own template; `begin` and `end` name its tokens around a text, or are empty."""

    def render(messages: Messages) -> str:
        import jinja2

        try:
            return str(
                _compiled(template).render(
                    messages=messages,
                    bos_token=begin,
                    eos_token=end,
                    add_generation_prompt=True,
                    **THOUGHTLESS,
                    tools=None,
                )
            )
        except (jinja2.TemplateError, *_FAULTS) as fault:
            raise _refused(fault) from fault

    return ChatFormat(OWN, render)


@lru_cache(maxsize=2)
def _compiled(template: str) -> Any:
    """Ready to render, with what Hugging Face's library gives templates."""

    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: object) -> None:
        raise TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = time.strftime
    environment.filters["tojson"] = lambda value, **how: json_text(
        value, ascii=False, indent=how.get("indent")
    )
    return environment.from_string(template)


def _refused(fault: Exception) -> LltermError:
    return ModelError(
        "The model's chat template failed",
        f"It says: {visible(str(fault).encode('utf-8', 'replace'))[:200]}.",
        "Set chat_template of this model to a built-in format, such as chatml.",
    )
