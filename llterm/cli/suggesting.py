"""`llterm suggest`, and what `llterm weave` does without a terminal: one weave, printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llterm.cli.asked import Asked
from llterm.cli.options import checked
from llterm.config import Config
from llterm.errors import LltermError, UsageError
from llterm.output import put, say

if TYPE_CHECKING:
    from llterm.core.chat_messages import Chat
    from llterm.headless.job import Job, Woven


def suggest(asked: Asked, format: str) -> int:
    """Print suggestions; the exit code."""
    config = asked.load()
    text, loom = story_of(asked.file, asked.prompt, asked.chat)
    if text.endswith(b"\n"):
        say("The text ends in a line break: suggestions begin a new line.")
    woven = _weave(_job(asked, config, text, loom))
    _print(woven, format)
    return 0


def weave_once(asked: Asked, config: Config, reason: str) -> int:
    """One weave of the story, or of the first starting story; nothing is written to disk."""
    from llterm.core.starting_stories import STORIES
    from llterm.jobs.inputs import argument_text, is_loom, read_text

    text, loom, what = STORIES[0].text.encode(), None, f"the starting story “{STORIES[0].title}”"
    if asked.prompt is not None:
        text = argument_text(asked.prompt)
        what = "the prompt" if asked.chat is None else "the reply that has begun"
    elif asked.file is not None and is_loom(asked.file):
        text, loom, what = b"", asked.file, f"the story of {asked.file}"
    elif asked.file is not None:
        text, what = read_text(asked.file), str(asked.file)
    elif asked.chat is not None:
        text, what = b"", "the reply in a chat"
    say(f"One weave of {what}, because {reason}; on a terminal this opens the app.")
    _print(_weave(_job(asked, config, text, loom)), "tree")
    return 0


def story_of(
    file: Path | None, prompt: str | None, chat: Chat | None = None
) -> tuple[bytes, Path | None]:
    """The text to go on from, or the loom that holds it; a reply may be all new.

    Raises UsageError.
    """
    from llterm.jobs.inputs import argument_text, is_loom, read_stdin, read_text

    if file is not None and prompt is not None:
        raise UsageError(
            "Both a file and --prompt are given", "", "Leave one of them out: there is one text."
        )
    if prompt is not None:
        return argument_text(prompt), None
    if file is None and chat is not None:
        return b"", None
    if file is None:
        raise UsageError(
            "There is no text to go on from", "", "Name a file, - for standard input, or --prompt."
        )
    if str(file) == "-":
        return read_stdin(), None
    return (b"", file) if is_loom(file) else (read_text(file), None)


def _job(asked: Asked, config: Config, text: bytes, loom: Path | None) -> Job:
    from llterm.headless.job import Job

    typed = asked.typed_rules(config)
    return Job(
        text,
        loom,
        asked.prefix,
        typed,
        config,
        config.model,
        asked.overrides,
        asked.constraint,
        checked(asked.sampling),
        asked.chat,
        asked.mix,
    )


def _weave(job: Job) -> Woven:
    from llterm.headless.job import run

    return run(job)


def _print(woven: Woven, format: str) -> None:
    from llterm.core.chat_messages import OWN, UNSEEN
    from llterm.headless import formats, results

    write = {
        "text": formats.as_text,
        "tree": formats.as_tree,
        "json": results.as_json,
        "dot": formats.as_dot,
    }[format]
    text = write(woven)
    if text:
        put(text)
    say(formats.summary(woven))
    if woven.chat and woven.chat_format == UNSEEN:
        say(f"{woven.model} reads the chat by {UNSEEN}.")
    elif woven.chat and woven.mixed is not None and woven.chat_format != OWN:
        say(f"Each model reads the chat in its own way: {woven.chat_format}.")
    elif woven.chat and woven.chat_format != OWN:
        say(f"For the chat with {woven.model} the {woven.chat_format} format was used.")
    if not woven.view.suggestions and woven.constraint is not None:
        raise LltermError(
            "The constraint leads nowhere",
            "After what it allows first, no token can follow and the text may not end.",
            "Loosen it, or try another beginning.",
        )
    if not woven.view.suggestions:
        raise LltermError(
            "There are no suggestions",
            "The model's next tokens could not be woven under these settings.",
            "Try more --depth, or a longer text.",
        )
