"""Chats on servers: opened by a template that they tell, by themselves, or as messages."""

from __future__ import annotations

from typing import Any

import pytest

from llterm.backends.chat_formats import PLAIN
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import ServerSettings
from llterm.core.chat_messages import OWN, UNSEEN, Chat, ChatMessage, ChatParts, chat_draft
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import CapabilityMissing, ConfigError
from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.byte_tokenizers import PIECES, ByteModel, ByteTokenizer, ByteVllmServer
from tests.helpers.fake_servers import (
    SERVERS,
    ChatServer,
    CompletionsServer,
    EchoServer,
    MlxServer,
    OllamaServer,
    SglangServer,
    VllmServer,
)
from tests.helpers.little_model import END, Server, chat_text, cut

CHAT = Chat("Once", "Once.")
UNTOLD = (CompletionsServer, EchoServer, MlxServer)
MESSAGES = [{"role": "system", "content": "Once"}, {"role": "user", "content": "Once."}]


async def opened(server: Server, template: str | None = None) -> RemoteBackend:
    settings = ServerSettings(("http://server",))
    return await connect("tiny", server, settings, fresh=True, chosen=template)


async def chat_of(backend: RemoteBackend) -> tuple[ChatParts, Tail]:
    parts = await backend.opened_chat(CHAT)
    return parts, await chat_draft(parts, backend.vocabulary).told(backend.vocabulary)


async def asked(server: Server, backend: RemoteBackend, tokens: Tail) -> Any:
    """The body of the request that asks what follows these tokens."""
    found = [one async for one in backend.ask([Query(Path(Anchor(tokens)))])]
    assert isinstance(found[0], Fact), found
    return next(body for path, body in reversed(server.requests) if "okenize" not in path)


@pytest.mark.parametrize(
    "kind", [one for one in SERVERS if one not in (*UNTOLD, ChatServer)], ids=lambda it: it.__name__
)
async def test_the_story_goes_on_behind_the_models_own_template(kind: Any) -> None:
    server = kind()
    backend = await opened(server)
    assert backend.chat_format == OWN
    parts, tokens = await chat_of(backend)
    text = chat_text(MESSAGES)
    assert "".join(part.text for part in parts).removeprefix("<|endoftext|>") == text
    assert [part.text for part in parts if part.written] == ["Once", "Once."]
    story = await backend.vocabulary.tokenize(b" the")
    body = await asked(server, backend, tokens + (story if len(story) == 1 else ()))
    sent = body.get("prompt", body.get("input_ids"))
    if backend.capabilities.token_ids:
        assert [id for id in sent if id != END][: len(cut(text.encode()))] == [*cut(text.encode())]
    else:
        assert sent.startswith(text)


async def test_as_messages_the_story_is_the_begun_answer() -> None:
    server = ChatServer()
    backend = await opened(server)
    assert backend.chat_format == UNSEEN
    parts, tokens = await chat_of(backend)
    assert [part.text for part in parts if not part.written] == [
        "[system]",
        "[user]",
        "[assistant]",
    ]
    assert (await asked(server, backend, tokens))["messages"] == MESSAGES
    story = await backend.vocabulary.tokenize(b"Once the")
    body = await asked(server, backend, tokens + story)
    begun = {"role": "assistant", "content": "Once the", "prefix": True}
    assert body["messages"] == [*MESSAGES, begun]
    body = await asked(server, backend, story)
    assert [one["role"] for one in body["messages"]] == ["user", "assistant"]


async def test_as_messages_all_turns_are_told_with_their_blanks() -> None:
    server = ChatServer()
    backend = await opened(server)
    chat = Chat("", " Once.\n", (ChatMessage("user", "a "), ChatMessage("assistant", "\tb")))
    parts = await backend.opened_chat(chat)
    tokens = await chat_draft(parts, backend.vocabulary).told(backend.vocabulary)
    assert (await asked(server, backend, tokens))["messages"] == chat.messages()


@pytest.mark.parametrize("kind", UNTOLD, ids=lambda it: it.__name__)
async def test_where_no_template_is_told_the_person_names_one(kind: Any) -> None:
    server = kind()
    with pytest.raises(CapabilityMissing, match="cannot open a chat") as raised:
        (await opened(server)).open_chat(CHAT)
    assert "chat_template" in raised.value.hint
    backend = await opened(server, "chatml")
    assert backend.chat_format == "chatml"
    _, tokens = await chat_of(backend)
    assert (await asked(server, backend, tokens))["prompt"] == (
        "<|im_start|>system\nOnce<|im_end|>\n<|im_start|>user\nOnce.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("kind", [VllmServer, SglangServer, ChatServer], ids=lambda it: it.__name__)
async def test_a_format_that_the_server_would_not_follow_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="chat_template does not go with"):
        await opened(kind(), "chatml")


async def test_the_servers_special_tokens_are_seen_by_name() -> None:
    backend = await opened(VllmServer())
    _, (first, *_) = await chat_of(backend)
    token = backend.vocabulary.token(first)
    assert (token.data, token.special, token.end) == (b"<|endoftext|>", True, True)


async def test_a_weave_waits_for_a_chat_that_is_still_being_written() -> None:
    server = VllmServer()
    backend = await opened(server)
    session = Session(Document.scratch(b"", WeaveSettings(depth=2, beams=2)))
    try:
        session.attach(backend)
        session.set_chat(CHAT)
        session.weave()
        await session.wait()
        assert session.status.error is None
        prompts = [body["prompt"] for path, body in server.requests if path == "/v1/completions"]
        assert prompts[-1][: len(cut(chat_text(MESSAGES).encode())) + 1] == [
            END, *cut(chat_text(MESSAGES).encode())
        ]  # fmt: skip
        chats = [body for _, body in server.requests if "messages" in body]
        assert len(chats) == 1
    finally:
        session.stop()
        await backend.close()


NO_TEMPLATE = {
    VllmServer: "As of transformers v4.44, default chat template is no longer allowed, so you must"
    " provide a chat template if the tokenizer does not define one.",
    SglangServer: "Cannot use chat template functions because tokenizer.chat_template is not set",
}


@pytest.mark.parametrize("kind", NO_TEMPLATE, ids=lambda it: it.__name__)
async def test_a_chat_with_a_model_without_a_template_is_written_plainly(kind: Any) -> None:
    class Bare(kind):  # type: ignore[misc]
        def answer(self, path: str, body: Any) -> Any:
            if "messages" in body:
                raise RequestRefused(400, None, NO_TEMPLATE[kind], "The server refused")
            return super().answer(path, body)

    backend = await opened(Bare())
    parts = await backend.opened_chat(CHAT)
    text = "".join(part.text for part in parts)
    assert text == "System: Once\n\nUser: Once.\n\nAssistant:"
    assert backend.chat_format == PLAIN


async def test_without_a_template_special_tokens_give_the_format_away_as_in_process() -> None:
    class Bare(ByteVllmServer):
        def answer(self, path: str, body: Any) -> Any:
            if "messages" in body:
                raise RequestRefused(400, None, NO_TEMPLATE[VllmServer], "The server refused")
            return super().answer(path, body)

    model = ByteModel(0)
    model.tokenizer = ByteTokenizer((*PIECES, b"<|im_start|>", b"<|im_end|>"))
    backend = await opened(Bare(model))
    parts, _ = await chat_of(backend)
    assert "".join(part.text for part in parts).endswith("<|im_start|>assistant\n")
    assert backend.chat_format == "chatml"


class OldSglang(SglangServer):
    """Before 0.5.23: `/tokenize` takes no messages."""

    def answer(self, path: str, body: Any) -> Any:
        if "messages" in body:
            raise RequestRefused(
                400, None, "Invalid prompt type", "The server refused", "no prompt"
            )
        return super().answer(path, body)


class OldOllama(OllamaServer):
    """It does not know `_debug_render_only`, and answers."""

    def answer(self, path: str, body: Any) -> Any:
        if path == "/api/chat":
            assert body["options"]["num_predict"] == 1
            return {"message": {"role": "assistant", "content": "I"}}
        return super().answer(path, body)


@pytest.mark.parametrize("kind", [OldSglang, OldOllama], ids=lambda it: it.__name__)
async def test_a_server_too_old_to_write_chats_says_so_at_the_weave(kind: Any) -> None:
    backend = await opened(kind())
    session = Session(Document.scratch(b"", WeaveSettings(depth=2, beams=2)))
    try:
        session.attach(backend)
        session.set_chat(CHAT)
        session.weave()
        with pytest.raises(CapabilityMissing, match="This server did not open the chat"):
            await session.wait()
    finally:
        session.stop()
        await backend.close()
