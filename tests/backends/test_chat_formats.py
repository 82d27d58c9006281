"""Chat formats of a person's own: tables of texts, and templates in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.backends.chat_formats import chosen_format, own_format, table_format
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.registry import open_model
from llterm.config import load_config
from llterm.config.schema import FormatConfig
from llterm.core.chat_messages import Chat, ChatMessage, chat_draft
from llterm.engine.prompt_heads import head_of
from llterm.errors import ConfigError, ModelError
from tests.helpers.tiny_models import tiny_llama

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|stop|>")
TABLE = """
[models.tiny]
path = "tiny.gguf"
context = 128
chat_template = "mine"
[formats.mine]
begin = "A talk.\\n"
user_start = "<|im_start|>"
user_end = "<|im_end|>\\n"
assistant_start = "> "
assistant_end = "\\n"
end = ["<|stop|>"]
"""
CHAT = Chat("Be kind.", "Hi <|stop|> ", (ChatMessage("user", "A"), ChatMessage("assistant", "B")))


async def opened(folder: Path, text: str) -> LlamaBackend:
    (folder / "own.toml").write_text(text)
    tiny_llama(folder / "tiny.gguf", special=SPECIAL)
    config = load_config(file=folder / "own.toml", environment={})
    chosen = chosen_format(config.models["tiny"], config)
    return await open_llama(folder / "tiny.gguf", LlamaSettings(context=128, chat_template=chosen))


async def test_a_table_of_texts_is_a_format(tmp_path: Path) -> None:
    backend = await opened(tmp_path, TABLE)
    head = await head_of(backend, CHAT)
    tokens = [backend.vocabulary.token(id) for id in head[len(backend.vocabulary.prefix) :]]
    assert b"".join(token.data for token in tokens).decode() == (
        "A talk.\n<|im_start|>Be kind.\n\nA<|im_end|>\n> B\n<|im_start|>Hi <|stop|> <|im_end|>\n> "
    ), "without texts of its own the system message goes before what is said first"
    names = [token.data.decode() for token in tokens if token.special]
    assert names == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]
    assert backend.chat_format == "mine"
    ends = {
        token.data.decode()
        for token in map(backend.vocabulary.token, range(backend.vocabulary.size))
        if token.end
    }
    assert "<|stop|>" in ends
    plain = await opened(tmp_path, '[models.tiny]\npath = "tiny.gguf"\n')
    assert plain.vocabulary.fingerprint == backend.vocabulary.fingerprint
    await plain.close()
    await backend.close()


async def test_a_template_in_a_file_is_rendered_in_place_of_the_models_own(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ messages[-1].content }}<|im_end|>{{ eos_token }}")
    text = '[models.tiny]\npath = "tiny.gguf"\nchat_template_file = "own.jinja"\n'
    await (await opened(tmp_path, text)).close()
    config = load_config(file=tmp_path / "own.toml", environment={})
    backend = await open_model("tiny", config)
    assert isinstance(backend, LlamaBackend)
    assert backend.open_chat(CHAT) is None, "the event loop never waits for one"
    parts = await backend.opened_chat(CHAT)
    assert "".join(one.text for one in parts).startswith("Hi <|stop|> <|im_end|>")
    assert chat_draft(parts, backend.vocabulary).known(backend.vocabulary)
    assert backend.chat_format == "own.jinja"
    await backend.close()


@pytest.mark.parametrize("kind", ["missing", "a folder", "a model", "not a text"])
async def test_a_file_that_is_no_template_is_refused(tmp_path: Path, kind: str) -> None:
    at = tmp_path / "own.jinja"
    if kind == "a folder":
        at.mkdir()
    elif kind != "missing":
        at.write_bytes(b"GGUF" if kind == "a model" else b"a\0b")
    text = '[models.tiny]\npath = "tiny.gguf"\nchat_template_file = "own.jinja"\n'
    with pytest.raises(ModelError, match="chat template cannot be read") as raised:
        await opened(tmp_path, text)
    assert "own.jinja" in raised.value.cause


async def test_an_end_that_is_no_token_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no token of this model"):
        await opened(tmp_path, TABLE.replace("<|stop|>", "<|gone|>"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[formats.x]\nuser = 3", "Unknown key user"),
        ("[formats.x]\nbegin = 'a'", "says nothing of who speaks"),
        ("[formats]\nx = 'a'", "formats.x is a table"),
        ("[formats.'a b']\nuser_start = 'a'", "cannot be a format's name"),
        (
            "[models.fable]\nchat_template = 'plain'\nchat_template_file = 'a'",
            "Two chat templates are set",
        ),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError) as wrong:
        load_config(file=tmp_path / "own.toml", environment={})
    assert told in wrong.value.title
    assert "line" in wrong.value.cause


def test_every_role_has_its_texts_around_it() -> None:
    edges = ("<system start>", "<system end>", "<user start>", "<user end>")
    table = FormatConfig("", *edges, "<assistant start>", "<assistant end>")
    text = "".join(
        part.text for part in table_format("x", table).open(Chat("S ", "U", CHAT.earlier))
    )
    assert text == (
        "<system start>S <system end><user start>A<user end><assistant start>B<assistant end>"
        "<user start>U<user end><assistant start>"
    )


def test_a_name_that_is_nobodys_own_is_a_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[models.fable]\nchat_template = 'chatml'\n")
    config = load_config(file=tmp_path / "own.toml", environment={})
    assert chosen_format(config.models["fable"], config) == "chatml"


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "Hi!"),
        ("{{ '<a>'|safe + messages[0].content + '\"' }}", '<a>Hi"'),
        ("{% for tool in tools %}{{ tool }}{% endfor %}{{ messages[0].content }}", "Hi"),
        ("{{ messages[0].content + functions }}", "Hi"),
        ("{{ messages[0].content }}{{ ' tools' if tools is not none }}", "Hi"),
    ],
)
def test_templates_are_rendered_as_their_makers_meant_them(template: str, written: str) -> None:
    """A tag of Hugging Face's for training, text that is never a page's, tools that are none."""
    parts = own_format(template, "", "").open(Chat("", "Hi"))
    assert "".join(part.text for part in parts) == written
