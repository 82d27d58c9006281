"""`llterm suggest`, and what `llterm weave` does without a terminal: one weave, printed."""

from __future__ import annotations

from typing import Literal

from llterm.cli.arguments import WeaveArguments, story_of
from llterm.config import Config
from llterm.core.chat_messages import OWN, UNSEEN
from llterm.errors import LltermError
from llterm.event_loop import run_coroutine
from llterm.jobs import suggest as job
from llterm.jobs.inputs import argument_text, is_loom, read_text
from llterm.jobs.request import Request
from llterm.jobs.suggest import SuggestResult
from llterm.output import ProgressLine, put, say
from llterm.reports import suggest_json, suggest_text
from llterm.session.stories import STORIES

Format = Literal["text", "tree", "json", "dot"]


def suggest(arguments: WeaveArguments, format: Format) -> int:
    """Print suggestions. Returns the exit code."""
    config = arguments.load()
    text, loom = story_of(arguments.file, arguments.prompt, arguments.chat)
    if text.endswith(b"\n"):
        say("The text ends in a line break: suggestions begin a new line.")
    _print(_suggested(arguments.request(config, text, loom)), format)
    return 0


def weave_once(arguments: WeaveArguments, config: Config, reason: str) -> int:
    """One weave of the story, or of the first starting story; nothing is written to disk."""
    text, loom, what = STORIES[0].text.encode(), None, f"the starting story “{STORIES[0].title}”"
    if arguments.prompt is not None:
        text = argument_text(arguments.prompt)
        what = "the prompt" if arguments.chat is None else "the reply that has begun"
    elif arguments.file is not None and is_loom(arguments.file):
        text, loom, what = b"", arguments.file, f"the story of {arguments.file}"
    elif arguments.file is not None:
        text, what = read_text(arguments.file), str(arguments.file)
    elif arguments.chat is not None:
        text, what = b"", "the reply in a chat"
    say(f"One weave of {what}, because {reason}; on a terminal this opens the app.")
    _print(_suggested(arguments.request(config, text, loom)), "tree")
    return 0


def _suggested(request: Request) -> SuggestResult:
    with ProgressLine() as line:
        return run_coroutine(job.suggest(request, line))


def _print(result: SuggestResult, format: Format) -> None:
    write = {
        "text": suggest_text.as_text,
        "tree": suggest_text.as_tree,
        "json": suggest_json.as_json,
        "dot": suggest_text.as_dot,
    }[format]
    if text := write(result):
        put(text)
    say(suggest_text.summary(result))
    if result.story.chat and result.chat_format == UNSEEN:
        say(f"{result.model} reads the chat by {UNSEEN}.")
    elif result.story.chat and result.mix is not None and result.chat_format != OWN:
        say(f"Each model reads the chat in its own way: {result.chat_format}.")
    elif result.story.chat and result.chat_format != OWN:
        say(f"For the chat with {result.model} the {result.chat_format} format was used.")
    if not result.view.suggestions and result.constraint is not None:
        raise LltermError(
            "The constraint leads nowhere",
            "After what it allows first, no token can follow and the text may not end.",
            "Loosen it, or try another beginning.",
        )
    if not result.view.suggestions:
        raise LltermError(
            "There are no suggestions",
            "The model's next tokens could not be woven under these settings.",
            "Try more --depth, or a longer text.",
        )
