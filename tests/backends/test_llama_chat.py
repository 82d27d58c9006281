"""Chat templates of GGUF files, and built-in formats where there is none."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import cast

import pytest

from benchmarks.server import server
from llterm.backends.chat_formats import PLAIN
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.llama_chat import named_format
from llterm.config.server_settings import ServerSettings
from llterm.core.chat_messages import OWN, UNSEEN, Chat, ChatMessage, Chatting, chat_draft
from llterm.core.conversation import Conversation
from llterm.core.query import Backend, Fact, Query
from llterm.core.tokens import Anchor
from llterm.core.tokens import Path as TokenPath
from llterm.errors import ModelError
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.foreign_servers import open_foreign
from tests.helpers.known_tokens import tokens_of
from tests.helpers.tiny_models import tiny_llama

SPECIAL = ("<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system') }}{% endif %}"
CHAT = Chat("Be kind.", "Hello <|im_end|>")
PLAIN_CHAT = Chat("Be kind.", "Hello")


async def opened(
    path: Path, template: str = "", chosen: str | None = None, special: tuple[str, ...] = SPECIAL
) -> LlamaBackend:
    model = tiny_llama(path / "tiny.gguf", template=template, special=special)
    return await open_llama(model, LlamaSettings(context=128, chat_template=chosen))


async def said(backend: LlamaBackend, chat: Chat = CHAT) -> tuple[str, list[str]]:
    """The chat's text as the model reads it, and the special tokens in it."""
    try:
        parts = await backend.opened_chat(chat)
        ids = tokens_of(backend.vocabulary, chat_draft(parts, backend.vocabulary))
        tokens = [backend.vocabulary.token(id) for id in ids]
    finally:
        await backend.close()
    special = [token.data.decode() for token in tokens if token.special]
    return b"".join(token.data for token in tokens).decode(), special


async def test_the_models_own_template(tmp_path: Path) -> None:
    backend = await opened(tmp_path, CHATML)
    assert backend.chat_format == OWN
    text, special = await said(backend)
    assert text == (
        "<|end|><|im_start|>system\nBe kind.<|im_end|>\n"
        "<|im_start|>user\nHello <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    assert special == ["<|end|>", *SPECIAL, *SPECIAL, SPECIAL[0]]


@pytest.mark.server
@pytest.mark.parametrize("kind", ["own", "none"])
async def test_on_a_server_a_chat_has_the_same_tokens(tmp_path: Path, kind: str) -> None:
    model = BUNDLED
    if kind == "own":
        model = tiny_llama(tmp_path / "tiny.gguf", template=CHATML, special=SPECIAL)
    local = await open_llama(model, LlamaSettings(context=128))
    with server(model, 1) as (host, port):
        remote = await open_foreign("tiny", ServerSettings((f"http://{host}:{port}",)))
        assert remote.chat_format == local.chat_format
        parts = await remote.opened_chat(CHAT)
        assert parts == await local.opened_chat(CHAT)
        ids = await chat_draft(parts, remote.vocabulary).told(remote.vocabulary)
        assert ids == chat_draft(parts, local.vocabulary).known(local.vocabulary)
        other = await remote.opened_chat(Chat("", "What is a lamp?"))
        draft = chat_draft(other, remote.vocabulary)
        assert draft.known(remote.vocabulary) is None, "nobody has asked the server yet"
        assert await draft.told(remote.vocabulary) == tokens_of(local.vocabulary, draft)
        await remote.close()
    await local.close()


@pytest.mark.server
async def test_as_messages_the_reply_goes_on_as_in_process() -> None:
    """The server gives a model without a template ChatML's."""
    local = await open_llama(BUNDLED, LlamaSettings(context=256, chat_template="chatml"))
    with server(BUNDLED, 1) as (host, port):
        settings = ServerSettings((f"http://{host}:{port}",), dialect="chat")
        remote = await open_foreign("fable", settings)
        assert remote.chat_format == UNSEEN
        for story in ("", "Once upon"):
            shown = await likely(remote, PLAIN_CHAT, story)
            known = await likely(local, PLAIN_CHAT, story)
            shared = shown.keys() & known.keys()
            assert len(shared) > 5
            assert {one: shown[one] for one in shared} == pytest.approx(
                {one: known[one] for one in shared}, rel=0.02
            )
        await remote.close()
    await local.close()


async def likely(backend: Backend, chat: Chat, story: str) -> dict[bytes, float]:
    """Probabilities of the candidates with a text of their own at the story's end."""
    vocabulary = backend.vocabulary
    parts = cast(Chatting, backend).open_chat(chat)
    assert parts is not None
    tokens = tokens_of(vocabulary, chat_draft(parts, vocabulary)) + tokens_of(
        vocabulary, story.encode()
    )
    (fact,) = [one async for one in backend.ask([Query(TokenPath(Anchor(tokens)))])]
    assert isinstance(fact, Fact), fact
    pairs = zip(fact.distribution.ids.tolist(), fact.distribution.logprobs.tolist(), strict=True)
    named = [(vocabulary.token(id), logprob) for id, logprob in pairs]
    return {token.data: math.exp(logprob) for token, logprob in named if not token.special}


async def test_a_template_without_system_messages(tmp_path: Path) -> None:
    text, _ = await said(await opened(tmp_path, NO_SYSTEM + CHATML))
    assert "<|im_start|>user\nBe kind.\n\nHello <|im_end|><|im_end|>" in text
    assert "system" not in text


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('never') }}",
        "{% if %}",
        "{{ messages[7].content }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append('x') }}",
        "{{ 1 // 0 }}",
    ],
)
async def test_a_template_that_fails_is_told(tmp_path: Path, template: str) -> None:
    backend = await opened(tmp_path, template)
    with pytest.raises(ModelError, match="chat template failed") as raised:
        await said(backend)
    assert "chat_template" in raised.value.hint


async def test_special_tokens_give_the_format_away(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    assert backend.chat_format == "chatml"
    text, special = await said(backend)
    assert text.endswith("<|im_start|>user\nHello <|im_end|><|im_end|>\n<|im_start|>assistant\n")
    assert special == ["<|end|>", *SPECIAL, *SPECIAL, SPECIAL[0]]


async def test_a_model_that_knows_no_format_reads_a_dialogue(tmp_path: Path) -> None:
    backend = await opened(tmp_path, special=())
    assert backend.chat_format == "plain"
    text, special = await said(backend)
    assert text == "<|end|>System: Be kind.\n\nUser: Hello <|im_end|>\n\nAssistant:"
    assert special == ["<|end|>"]


async def test_a_format_of_ones_own_choosing(tmp_path: Path) -> None:
    backend = await opened(tmp_path, CHATML, "gemma")
    text, _ = await said(backend)
    assert text.endswith("Hello <|im_end|><end_of_turn>\n<start_of_turn>model\n")
    with pytest.raises(ModelError, match="no chat format chatlm") as raised:
        await opened(tmp_path, chosen="chatlm")
    assert "Did you mean" in raised.value.hint
    long = Chat(message="word " * 5000)
    text, _ = await said(await opened(tmp_path, chosen="llama3"), long)
    assert text.count("word") == 5000


def test_every_built_in_format_gets_what_was_said_with_its_blanks() -> None:
    """Marks around it change nothing of what a format makes of it, stripping it or not."""
    llama = library()
    names = (ctypes.c_char_p * 256)()
    count = llama.llama_chat_builtin_templates(names, len(names))
    earlier = (ChatMessage("user", "\ta "), ChatMessage("assistant", " b "))
    chat, kept = Chat(" s\n", " hi \n\n", earlier), 0
    for name in [PLAIN, *((name_of or b"").decode() for name_of in names[:count])]:
        form = named_format(llama, name)
        text = "".join(part.text for part in form.open(chat))
        assert text == form.render(Conversation(tuple(chat.messages()))), name
        kept += all(name_of.content in text for name_of in chat.said())
    assert kept > count / 2, "most formats keep every blank"
