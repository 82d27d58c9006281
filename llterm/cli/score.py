"""`llterm score`: from typed words to a request, and its result to the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from llterm import terminal
from llterm.cli.arguments import Values, as_text, given_text, typed_chat
from llterm.cli.options import model_flags
from llterm.cli.recording import with_recording
from llterm.cli.settings import load
from llterm.config import Config
from llterm.core.attribution_methods import AttributionSettings
from llterm.errors import UsageError
from llterm.event_loop import run_coroutine
from llterm.jobs import attribute as attribute_job
from llterm.jobs import score as score_job
from llterm.jobs.inputs import argument_text
from llterm.jobs.request import Request
from llterm.output import ProgressLine, put, put_drawn, say
from llterm.reports import attribution_json, attribution_text, score_text

if TYPE_CHECKING:
    from llterm.ramps import Depth


def score(values: Values) -> int:
    """Print a report, from a command's parameters. Returns the exit code."""
    request = _request(values)
    options = score_job.ScoreOptions(
        values["top"], values["window"], values["stride"], values["method"]
    )
    with ProgressLine() as line:
        result = run_coroutine(score_job.score(request, options, line))
    if values["format"] == "json":
        from llterm.reports.score_json import score_json

        put(score_json(result))
    elif values["format"] == "html":
        from llterm.reports.score_html import score_page

        put(score_page(result))
    elif (depth := _depth(request.config)) == "none":
        put(score_text.score_table(result))
    else:
        heat = score_text.score_heat(result, depth, values["measure"])
        put_drawn(heat if heat.endswith("\n") else heat + "\n")
    say(score_text.score_summary(result))
    return 0


def attribute(values: Values) -> int:
    """Print what led to a token, from a command's parameters. Returns the exit code."""
    if values["format"] == "html":
        raise UsageError("--attribution has no page", "", "Choose --format text or json.")
    candidate = None if values["candidate"] is None else argument_text(values["candidate"])
    request = _request(values)
    how = AttributionSettings(values["attribution"], values["layer"], values["last"])
    options = attribute_job.AttributeOptions(how, values["at"], candidate)
    with ProgressLine() as line:
        result = run_coroutine(attribute_job.attribute(request, options, line))
    if values["format"] == "json":
        put(attribution_json.attribution_json(result))
    else:
        put(attribution_text.attribution_table(result))
    say(attribution_text.attribution_summary(result))
    return 0


def _request(values: Values) -> Request:
    chat, prompt = typed_chat(values)
    overrides = model_flags(values)
    config = load({"model": values["model"]}, values["config"])
    config = with_recording(config, values["model"], values["record"], values["replay"])
    read = given_text(values["file"], prompt, chat, as_text(values["prefix"]))
    if read.in_force:
        say(read.in_force)
    return Request(
        config,
        (config.model,),
        read.text,
        prefix=read.prefix or None,
        chat=read.chat,
        overrides=overrides,
    )


def _depth(config: Config) -> Depth:
    """Colours for a terminal; none for a pipe or a file."""
    ui = config.ui
    if ui.monochrome or not sys.stdout.isatty():
        return "none"
    colours = terminal.colours_found(os.environ, ui.color)
    return "none" if colours == "none" else cast("Depth", colours)
