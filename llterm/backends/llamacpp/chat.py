"""How a GGUF model's chats are written: by its own template, else in a format built into llama.cpp.

A template comes with the model, from strangers: it runs in Jinja's sandbox and sees the chat alone.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import ModuleType
from typing import Any

from llterm.backends.llamacpp.vocabulary import LlamaVocabulary
from llterm.core.chat import OWN, Chat, Parts, plain_chat, rendered
from llterm.core.display import visible
from llterm.errors import LltermError, ModelError

Messages = list[dict[str, str]]
PLAIN = "plain"
_MARKS = (
    (b"<|im_start|>", "chatml"),
    (b"<|start_header_id|>", "llama3"),
    (b"<start_of_turn>", "gemma"),
    (b"[SYSTEM_PROMPT]", "mistral-v7"),
    (b"[INST]", "mistral-v3"),
    (b"<|start_of_role|>", "granite"),
    (b"<|im_sep|>", "phi4"),
    (b"<|assistant|>", "phi3"),
)
"""Special tokens that give a format away."""
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


def chat_format(llama: ModuleType, model: Any, vocabulary: LlamaVocabulary) -> ChatFormat:
    """The model's own format, else what its special tokens look like, else the plain one."""
    own = llama.llama_model_chat_template(model, None)
    if own:
        return _own(llama, model, vocabulary, own.decode("utf-8", "replace"))
    special = {
        token.data for token in map(vocabulary.token, range(vocabulary.size)) if token.special
    }
    return named_format(llama, next((name for mark, name in _MARKS if mark in special), PLAIN))


def named_format(llama: ModuleType, name: str) -> ChatFormat:
    """A format of llama.cpp's, or the plain one. Raises ModelError for a name that is not known."""
    if name == PLAIN:
        return ChatFormat(PLAIN, None)
    room = 256
    names = (ctypes.c_char_p * room)()
    count = llama.llama_chat_builtin_templates(names, room)
    known = [PLAIN, *((one or b"").decode() for one in names[:count])]
    if name not in known:
        near = get_close_matches(name, known, 1, 0.5)
        raise ModelError(
            f"There is no chat format {name}",
            f"Known are {', '.join(known)}.",
            f"Did you mean {near[0]}?" if near else "Correct chat_template in the configuration.",
        )
    return ChatFormat(name, lambda messages: _built_in(llama, name, messages))


def _built_in(llama: ModuleType, name: str, messages: Messages) -> str:
    chat = (llama.llama_chat_message * len(messages))()
    for slot, one in zip(chat, messages, strict=True):
        slot.role, slot.content = one["role"].encode(), one["content"].encode("utf-8", "replace")
    room = 0
    while True:
        out = ctypes.create_string_buffer(room + 1)
        size = llama.llama_chat_apply_template(name.encode(), chat, len(messages), True, out, room)
        if size < 0:
            raise ModelError(
                f"The chat format {name} cannot write this chat",
                "",
                "Choose another chat_template.",
            )
        if size <= room:
            return out.raw[:size].decode("utf-8", "replace")
        room = size


def _own(llama: ModuleType, model: Any, vocabulary: LlamaVocabulary, template: str) -> ChatFormat:
    vocab = llama.llama_model_get_vocab(model)
    begin, end = llama.llama_vocab_bos(vocab), llama.llama_vocab_eos(vocab)
    names = [
        vocabulary.token(id).data.decode("utf-8", "replace") if id >= 0 else ""
        for id in (begin, end)
    ]

    def render(messages: Messages) -> str:
        import jinja2

        try:
            return str(
                _compiled(template).render(
                    messages=messages,
                    bos_token=names[0],
                    eos_token=names[1],
                    add_generation_prompt=True,
                    # The reply is what is woven, not the thoughts before it.
                    enable_thinking=False,
                    tools=None,
                )
            )
        except (jinja2.TemplateError, *_FAULTS) as fault:
            raise _refused(fault) from fault

    return ChatFormat(OWN, render)


@lru_cache(maxsize=2)
def _compiled(template: str) -> Any:
    """Ready to render, with what Hugging Face's library gives templates."""
    import json

    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: object) -> None:
        raise TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = time.strftime
    environment.filters["tojson"] = lambda value, **how: json.dumps(
        value, ensure_ascii=False, indent=how.get("indent")
    )
    return environment.from_string(template)


def _refused(fault: Exception) -> LltermError:
    return ModelError(
        "The model's chat template failed",
        f"It says: {visible(str(fault).encode('utf-8', 'replace'))[:200]}.",
        "Set chat_template of this model to a built-in format, such as chatml.",
    )
