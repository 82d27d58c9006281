"""Chats as a GGUF model wants them: by its own template, else in a format of llama.cpp's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from llterm.backends.chat_formats import (
    PLAIN,
    ChatFormat,
    Chosen,
    TemplateFile,
    own_format,
    plain_format,
)
from llterm.backends.llamacpp.llama_vocabulary import LlamaVocabulary
from llterm.core.chat_messages import OWN
from llterm.core.conversation import Conversation, said_in
from llterm.errors import ModelError

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


def chat_format(llama: ModuleType, model: Any, vocabulary: LlamaVocabulary) -> ChatFormat:
    """The model's own format, else what its special tokens look like, else the plain one."""
    own = llama.llama_model_chat_template(model, None)
    if own:
        return _own(llama, model, vocabulary, own.decode("utf-8", "replace"))
    special = {
        token.data for token in map(vocabulary.token, range(vocabulary.size)) if token.special
    }
    return likely_format(llama, special.__contains__)


def likely_format(llama: ModuleType, has: Callable[[bytes], bool]) -> ChatFormat:
    """What a model's special tokens look like, else the plain one; `has` knows them by name."""
    likely = next((name for mark, name in _MARKS if has(mark)), None)
    return plain_format(known=False) if likely is None else named_format(llama, likely)


def format_of(
    llama: ModuleType, chosen: Chosen | None, model: Any, vocabulary: LlamaVocabulary
) -> ChatFormat:
    """The format that the person chose, else as `chat_format`. Raises ModelError."""
    if chosen is None:
        return chat_format(llama, model, vocabulary)
    if isinstance(chosen, TemplateFile):
        return _own(llama, model, vocabulary, chosen.text, chosen.name)
    return known_format(llama, chosen)


def known_format(llama: ModuleType, chosen: str | ChatFormat) -> ChatFormat:
    """A format of llama.cpp's by name, or one of the person's own. Raises ModelError."""
    return named_format(llama, chosen) if isinstance(chosen, str) else chosen


def named_format(llama: ModuleType, name: str) -> ChatFormat:
    """A format of llama.cpp's, or the plain one. Raises ModelError for a name that is not known."""
    if name == PLAIN:
        return plain_format()
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
    return ChatFormat(name, lambda conversation: _built_in(llama, name, conversation))


def _built_in(llama: ModuleType, name: str, conversation: Conversation) -> str:
    messages = conversation.messages
    opened = conversation.ending == "opened"
    chat = (llama.llama_chat_message * len(messages))()
    for slot, message in zip(chat, messages, strict=True):
        slot.role = message["role"].encode()
        slot.content = said_in(message).encode("utf-8", "replace")
    room = 0
    while True:
        out = ctypes.create_string_buffer(room + 1)
        size = llama.llama_chat_apply_template(
            name.encode(), chat, len(messages), opened, out, room
        )
        if size < 0:
            raise ModelError(
                f"The chat format {name} cannot write this chat",
                "",
                "Choose another chat_template.",
            )
        if size <= room:
            return out.raw[:size].decode("utf-8", "replace")
        room = size


def _own(
    llama: ModuleType, model: Any, vocabulary: LlamaVocabulary, template: str, name: str = OWN
) -> ChatFormat:
    vocab = llama.llama_model_get_vocab(model)
    begin, end = llama.llama_vocab_bos(vocab), llama.llama_vocab_eos(vocab)
    names = [
        vocabulary.token(id).data.decode("utf-8", "replace") if id >= 0 else ""
        for id in (begin, end)
    ]
    return own_format(template, names[0], names[1], name)
