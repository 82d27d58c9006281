"""`llterm score`: from typed words to a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from llterm import terminal
from llterm.cli.chatting import typed_chat
from llterm.cli.options import model_flags
from llterm.cli.settings import load
from llterm.cli.taping import taped
from llterm.config import Config
from llterm.errors import UsageError
from llterm.output import put, put_drawn, say

if TYPE_CHECKING:
    from llterm.core.attribution_methods import Method
    from llterm.core.chat_messages import Chat
    from llterm.ramps import Depth

Format = Literal["text", "json", "html"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed."""

    file: Path | None
    prompt: str | None
    model: str | None
    config: Path | None
    record: Path | None
    replay: Path | None
    top: int
    window: int | None
    stride: int | None
    method: Literal["overlap", "halves"]
    measure: Literal["surprisal", "probability", "rank", "entropy"]
    attribution: Method | None
    at: int | None
    candidate: str | None
    layer: int
    last: int
    overrides: Mapping[str, int]
    chat: Chat | None = None
    """What the text is a reply to."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Asked:
        """From a command's parameters. Raises UsageError."""
        chat, prompt = typed_chat(values)
        names = (
            "file", "model", "config", "record", "replay", "top", "window", "stride",
            "method", "measure", "attribution", "at", "candidate", "layer", "last",
        )  # fmt: skip
        typed = {name: values[name] for name in names}
        return cls(**typed, prompt=prompt, overrides=model_flags(values), chat=chat)


def score(asked: Asked, format: Format) -> int:
    """Print a report; the exit code."""
    config = load({"model": asked.model}, asked.config)
    config = taped(config, asked.model, asked.record, asked.replay)
    from llterm.headless import score_formats
    from llterm.headless.score import ScoreJob, run

    given = given_text(asked.file, asked.prompt, asked.chat)
    job = ScoreJob(
        text=given.text,
        chat=given.chat,
        config=config,
        model=config.model,
        overrides=asked.overrides,
        top=asked.top,
        window=asked.window,
        stride=asked.stride,
        method=asked.method,
    )
    report = run(job)
    if format == "json":
        put(score_formats.as_json(report))
    elif format == "html":
        from llterm.headless.score_page import as_page

        put(as_page(report))
    else:
        depth = _depth(config)
        if depth == "none":
            put(score_formats.as_table(report))
        else:
            heat = score_formats.as_heat(report, depth, asked.measure)
            put_drawn(heat if heat.endswith("\n") else heat + "\n")
    say(score_formats.summary(report))
    return 0


def attribute(asked: Asked, format: Format) -> int:
    """Print what led to a token; the exit code."""
    if format == "html":
        raise UsageError("--attribution has no page", "", "Choose --format text or json.")
    config = load({"model": asked.model}, asked.config)
    from llterm.core.attribution_methods import How
    from llterm.headless.attribution import AttributionJob, as_json, as_table, run, summary
    from llterm.jobs.inputs import argument_text

    candidate = None if asked.candidate is None else argument_text(asked.candidate)
    given = given_text(asked.file, asked.prompt, asked.chat)
    job = AttributionJob(
        text=given.text,
        chat=given.chat,
        config=config,
        model=config.model,
        overrides=asked.overrides,
        how=How(asked.attribution or "attention", asked.layer, asked.last),
        at=asked.at,
        candidate=candidate,
    )
    report = run(job)
    put(as_json(report) if format == "json" else as_table(report))
    say(summary(report))
    return 0


class Given(NamedTuple):
    """What is to be read."""

    text: bytes
    chat: Chat | None
    """What it is a reply to."""


def given_text(file: Path | None, prompt: str | None, chat: Chat | None = None) -> Given:
    """A file, a loom's story, standard input, or the prompt. A loom brings its chat, where no
    other one is given. Raises UsageError."""
    from llterm.jobs.inputs import argument_text, is_loom, read_stdin, read_text
    from llterm.jobs.loom_story import read_story

    if file is not None and prompt is not None:
        raise UsageError("Both a file and --prompt are given", "", "Leave one of them out.")
    if prompt is not None:
        text = argument_text(prompt)
    elif file is None and chat is not None:
        raise UsageError(
            "There is no reply to read",
            "The chat is what stands before it.",
            "Name a file with the reply, or let a --chat-file end in the assistant's message.",
        )
    elif file is None:
        raise UsageError("There is no text", "", "Name a file, - for standard input, or --prompt.")
    elif str(file) == "-":
        text = read_stdin()
    elif is_loom(file):
        story = read_story(file, tokens=False)
        if story.damage:
            say(f"llterm: {story.damage}")
        text, chat = story.text, chat or story.replied
    else:
        text = read_text(file)
    if not text:
        raise UsageError("The text is empty", "", "There is nothing in it to read.")
    return Given(text, chat)


def _depth(config: Config) -> Depth:
    """Colours for a terminal; none for a pipe or a file."""
    ui = config.ui
    if ui.monochrome or not sys.stdout.isatty():
        return "none"
    found = terminal.colours_found(os.environ, ui.color)
    return "none" if found == "none" else cast("Depth", found)
