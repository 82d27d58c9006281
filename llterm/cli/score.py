"""`llterm score`: from typed words to a request, and its result to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from llterm import terminal
from llterm.cli.chat_flags import typed_chat
from llterm.cli.options import model_flags
from llterm.cli.recording import with_recording
from llterm.cli.settings import load
from llterm.config import Config
from llterm.errors import UsageError
from llterm.output import put, put_drawn, say

if TYPE_CHECKING:
    from llterm.core.attribution_methods import Method
    from llterm.core.chat_messages import Chat
    from llterm.jobs.request import Request
    from llterm.ramps import Depth

Format = Literal["text", "json", "html"]


@dataclass(frozen=True, slots=True)
class ScoreArguments:
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
    def of(cls, values: Mapping[str, Any]) -> ScoreArguments:
        """From a command's parameters. Raises UsageError."""
        chat, prompt = typed_chat(values)
        names = (
            "file", "model", "config", "record", "replay", "top", "window", "stride",
            "method", "measure", "attribution", "at", "candidate", "layer", "last",
        )  # fmt: skip
        typed = {name: values[name] for name in names}
        return cls(**typed, prompt=prompt, overrides=model_flags(values), chat=chat)


def score(arguments: ScoreArguments, format: Format) -> int:
    """Print a report. Returns the exit code."""
    config = load({"model": arguments.model}, arguments.config)
    config = with_recording(config, arguments.model, arguments.record, arguments.replay)
    from llterm.jobs import score as job
    from llterm.jobs.runner import run
    from llterm.output import ProgressLine
    from llterm.reports import score_text

    request = _request(arguments, config)
    options = job.ScoreOptions(
        top=arguments.top,
        window=arguments.window,
        stride=arguments.stride,
        method=arguments.method,
    )
    with ProgressLine() as line:
        result = run(job.score(request, options, line))
    if format == "json":
        from llterm.reports.score_json import score_json

        put(score_json(result))
    elif format == "html":
        from llterm.reports.score_html import score_page

        put(score_page(result))
    else:
        depth = _depth(config)
        if depth == "none":
            put(score_text.score_table(result))
        else:
            heat = score_text.score_heat(result, depth, arguments.measure)
            put_drawn(heat if heat.endswith("\n") else heat + "\n")
    say(score_text.score_summary(result))
    return 0


def attribute(arguments: ScoreArguments, format: Format) -> int:
    """Print what led to a token. Returns the exit code."""
    if format == "html":
        raise UsageError("--attribution has no page", "", "Choose --format text or json.")
    config = load({"model": arguments.model}, arguments.config)
    from llterm.core.attribution_methods import AttributionSettings
    from llterm.jobs import attribute as job
    from llterm.jobs.inputs import argument_text
    from llterm.jobs.runner import run
    from llterm.output import ProgressLine
    from llterm.reports import attribution_json, attribution_text

    candidate = None if arguments.candidate is None else argument_text(arguments.candidate)
    request = _request(arguments, config)
    how = AttributionSettings(arguments.attribution or "attention", arguments.layer, arguments.last)
    options = job.AttributeOptions(how, arguments.at, candidate)
    with ProgressLine() as line:
        result = run(job.attribute(request, options, line))
    if format == "json":
        put(attribution_json.attribution_json(result))
    else:
        put(attribution_text.attribution_table(result))
    say(attribution_text.attribution_summary(result))
    return 0


def _request(arguments: ScoreArguments, config: Config) -> Request:
    from llterm.jobs.request import Request

    given = given_text(arguments.file, arguments.prompt, arguments.chat)
    return Request(
        config=config,
        models=(config.model,),
        text=given.text,
        chat=given.chat,
        overrides=arguments.overrides,
    )


class ScoreInput(NamedTuple):
    """What is to be read."""

    text: bytes
    chat: Chat | None
    """What it is a reply to."""


def given_text(file: Path | None, prompt: str | None, chat: Chat | None = None) -> ScoreInput:
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
    return ScoreInput(text, chat)


def _depth(config: Config) -> Depth:
    """Colours for a terminal; none for a pipe or a file."""
    ui = config.ui
    if ui.monochrome or not sys.stdout.isatty():
        return "none"
    colours = terminal.colours_found(os.environ, ui.color)
    return "none" if colours == "none" else cast("Depth", colours)
