"""`--chat`, `--system` and `--chat-file`, wherever a command takes a text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.cli.arguments import typed_chat
from llterm.core.chat_messages import Chat
from llterm.errors import UsageError
from tests.helpers.command_lines import commands
from tests.helpers.json_schema import run_json

FLAGS = ("chat", "system", "chat_file")
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Tell me a tale."},
    {"role": "assistant", "content": "Once upon a time"},
]
CHAT = {"system": "Be kind.", "message": "Tell me a tale.", "earlier": TALK[1:3]}
PAIR = ("-m", "fable", "-m", "fable-q8_0")
RUNS: dict[str, tuple[str, ...]] = {
    "suggest": (*PAIR, "--depth", "2", "--cutoff", "0.2"),
    "sample": ("-m", "fable", "--tokens", "2", "--seed", "1"),
    "mix": (*PAIR, "--tokens", "2"),
    "score": ("-m", "fable"),
}


def test_every_command_that_takes_a_text_takes_a_chat() -> None:
    taking = {
        name
        for name, command in commands().items()
        if "prompt" in {parameter.name for parameter in command.params}
    }
    assert taking == {*RUNS, "classify", "weave"}
    for name in taking:
        assert {parameter.name for parameter in commands()[name].params}.issuperset(FLAGS), name


@pytest.mark.parametrize("command", sorted(RUNS))
def test_a_file_of_messages_is_the_chat_and_the_beginning_of_its_reply(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "talk.json").write_text(json.dumps({"messages": TALK}))
    printed = run_json(tmp_path, command, *RUNS[command], "--chat-file", "talk.json")
    assert printed["chat"] == CHAT
    if command == "score":
        text = "".join(token["text"] for token in printed["tokens"])
        assert text == "Once upon a time", "only the reply is scored, all of it"
    else:
        assert printed["prompt"] == "Once upon a time"


def test_models_are_compared_on_a_reply(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(TALK))
    compared = ("mix", *PAIR, "--mode", "reference", "--chat-file", "talk.json")
    printed = run_json(tmp_path, *compared)
    assert printed["chat"] == CHAT
    assert "".join(place["text"] for place in printed["tokens"]) == "Once upon a time"


def typed(folder: Path, **given: object) -> tuple[Chat | None, str | None]:
    (folder / "talk.json").write_text(json.dumps(TALK))
    (folder / "reply.txt").write_text("Once")
    return typed_chat({**dict.fromkeys((*FLAGS, "prompt", "file")), **given})


def test_what_is_said_after_a_file_goes_on_with_it(tmp_path: Path) -> None:
    chat, reply = typed(tmp_path, chat_file=tmp_path / "talk.json", prompt=" More ")
    assert chat is not None
    assert chat.messages() == [*TALK, {"role": "user", "content": " More "}]
    assert reply is None


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"chat_file": "talk.json", "system": "Be rude."}, "There are two system messages"),
        ({"chat_file": "talk.json", "file": "reply.txt"}, "The reply begins twice"),
        ({"chat_file": "talk.json", "file": "-"}, "The reply begins twice"),
        ({"chat_file": "gone.json"}, "gone.json cannot be read"),
        ({"chat_file": "reply.txt"}, "reply.txt is no chat"),
        ({"chat": True, "prompt": " "}, "There is nothing to reply to"),
    ],
)
def test_chats_that_cannot_be(tmp_path: Path, given: dict[str, object], title: str) -> None:
    files = {
        name: tmp_path / str(value) if value != "-" else Path("-")
        for name, value in given.items()
        if name in ("chat_file", "file")
    }
    with pytest.raises(UsageError, match=title):
        typed(tmp_path, **{**given, **files})
