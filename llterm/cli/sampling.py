"""`llterm sample`: from typed words to continuations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llterm.cli.asked import constraint_of
from llterm.cli.chatting import as_text, typed_chat
from llterm.cli.options import checked, model_flags, sampling_flags
from llterm.cli.settings import load
from llterm.cli.suggesting import story_of
from llterm.cli.taping import taped
from llterm.core.rules import Rules
from llterm.errors import LltermError
from llterm.output import put, say

if TYPE_CHECKING:
    from llterm.headless.sample import Continuation, SampleJob


def sample(values: Mapping[str, Any]) -> int:
    """Draw and print, from a command's parameters; the exit code."""
    format = values["format"]
    job = _job(values)
    from llterm.headless import sample_formats
    from llterm.headless.sample import run

    def ended(one: Continuation) -> None:
        if format == "jsonl":
            put(sample_formats.as_line(one))

    sampled = run(job, ended)
    if format != "jsonl":
        put(
            sample_formats.as_json(sampled) if format == "json" else sample_formats.as_text(sampled)
        )
    say(sample_formats.summary(sampled))
    if all(one.line.finish == "stuck" and not one.drawn for one in sampled.continuations):
        raise LltermError(
            "Nothing may be drawn",
            "Model, constraint and bans together forbid every first token.",
            "Loosen one of them.",
        )
    return 0


def _job(values: Mapping[str, Any]) -> SampleJob:
    typed = sampling_flags(values)
    config = load({"model": values["model"], **typed}, values["config"])
    config = taped(config, values["model"], values["record"], values["replay"])
    from llterm.config.load import checked_flag
    from llterm.headless.sample import SampleJob

    chat, prompt = typed_chat(values)
    text, loom = story_of(values["file"], prompt, chat)
    return SampleJob(
        text=text,
        loom=loom,
        prefix=as_text(values["prefix"]),
        config=config,
        model=config.model,
        overrides=model_flags(values),
        typed=checked(typed),
        lines=values["number"],
        tokens=values["tokens"],
        stops=Rules(
            auto_stop=values["sentence"],
            stops=checked_flag("weave.stop", values["stop"] or []),
            heal=config.weave.heal if values["heal"] is None else values["heal"],
        ),
        constraint=constraint_of(values),
        chat=chat,
    )
