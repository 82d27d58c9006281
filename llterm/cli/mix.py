"""`llterm mix`: from typed words to a request, and its result to the terminal."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llterm.cli.arguments import (
    ReadText,
    Values,
    WeaveArguments,
    as_text,
    check_sampling,
    constraint_of,
    given_text,
    index_of,
    recipe_of,
    story_of,
    typed_chat,
)
from llterm.cli.options import checked, model_flags, sampling_flags
from llterm.cli.recording import with_recordings
from llterm.cli.settings import load
from llterm.cli.weave import weave
from llterm.core.comparison.conditions import parse
from llterm.core.comparison.quant_statistics import NAMES
from llterm.errors import ConditionFailed, UsageError
from llterm.event_loop import run_coroutine
from llterm.jobs import compare as compare_job
from llterm.jobs import mix as mix_job
from llterm.jobs.comparison_plan import CompareOptions
from llterm.jobs.inputs import is_loom
from llterm.jobs.request import Request
from llterm.number_format import count_of
from llterm.output import ProgressLine, put_parts, say
from llterm.regular_file import present
from llterm.reports import comparison_text, mix_json, mix_text
from llterm.terminal import why_not_interactive

if TYPE_CHECKING:
    from llterm.config import Config
    from llterm.config.schema import MixConfig
    from llterm.core.chat_messages import Chat

TOKENS = 64
"""How many tokens a report goes on for."""
_REPORT = (
    "format",
    "tokens",
    "further",
    "require",
    "base",
    "write_base",
    "window",
    "stride",
    "method",
)
"""Flags that ask for a report."""


def mix(values: Values) -> int:
    """Mix or compare, and print a report. Returns the exit code."""
    config = load(file=values["config"])
    check_sampling(checked(sampling_flags(values)), config)
    compared = values["text"] is not None or values["base"] is not None
    mode = values["mode"] or ("reference" if compared else config.mix.mode)
    values = {**values, "mode": mode, **_configured(values, config.mix, mode)}
    models = tuple(values["model"])
    chat, prompt = typed_chat(values)
    values = {**values, "prompt": prompt}
    least = 1 if values["base"] is not None else 2
    if len(models) < least:
        raise UsageError(
            "There is nothing to mix" if least > 1 else "There is no model to compare",
            f"Given: {count_of(len(models), 'model')}.",
            "Give -m for each model: `llterm mix -m A -m B --prompt …`.",
        )
    if all(values[name] is None for name in _REPORT) and not why_not_interactive(os.environ):
        return _open_screen(values, models, mode, config, chat)
    config = with_recordings(config, models, values["record"] or (), values["replay"] or ())
    if mode == "reference":
        return _compare(values, models, config, chat)
    return _play(values, models, config, mode, chat)


def _configured(values: Values, own: MixConfig, mode: str) -> dict[str, Any]:
    """What the configuration says where no flag was typed."""
    configured: dict[str, Any] = {"model": values["model"] or list(own.models)}
    if mode != "reference":
        weights = own.weights if configured["model"] == list(own.models) else ()
        given = {"pool": own.pool, "weight": list(weights), "plausible": own.plausible,
                 "turn": own.turn}  # fmt: skip
        configured |= {name: value for name, value in given.items() if not values[name]}
    return configured


def _open_screen(
    values: Values, models: tuple[str, ...], mode: str, config: Config, chat: Chat | None
) -> int:
    """The models side by side, in the app."""
    file, prompt = values["file"], values["prompt"]
    prefix = as_text(values["prefix"])
    if values["text"] is not None:
        # What is compared is not gone on with: the loom beside the text is not for that.
        read = given_text(values["text"], None, chat, prefix)
        file, prompt = None, read.text.decode("utf-8", "surrogateescape")
        prefix, chat = read.prefix or None, read.chat
    typed, rules = sampling_flags(values), dict[str, Any]()
    if file is None or not (is_loom(file) and present(file)):
        # What is on show is what is drawn from: no half-written word is finished first.
        typed, rules = {"sampling.preset": config.mix.preset, **typed}, {"weave.heal": False}
    recipe = replace(recipe_of(values, models, mode), reference=_reference(values, models))
    arguments = WeaveArguments(
        file=file,
        prompt=prompt,
        prefix=prefix,
        models=models,
        config=values["config"],
        weave=rules,
        overrides=model_flags(values),
        record=tuple(values["record"] or ()),
        replay=tuple(values["replay"] or ()),
        recipe=recipe,
        constraint=constraint_of(values),
        sampling=typed,
        chat=chat,
        beside=True,
    )
    return weave(arguments)


def _play(
    values: Values, models: tuple[str, ...], config: Config, mode: str, chat: Chat | None
) -> int:
    for name in ("text", "base", "write_base", "require", "reference", "further"):
        if values[name] is not None:
            flag = "continue" if name == "further" else name.replace("_", "-")
            raise UsageError(
                f"--{flag} belongs to --mode reference",
                "", f"Leave it out, or --mode {mode}.",
            )  # fmt: skip
    if values["format"] == "html":
        raise UsageError("There is no page of a mixed text", "", "Use --format text or json here.")
    text, loom = story_of(values["file"], values["prompt"], chat)
    request = replace(
        _request(values, models, config),
        text=text,
        loom=loom,
        prefix=as_text(values["prefix"]),
        chat=chat,
        recipe=recipe_of(values, models, mode),
        constraint=constraint_of(values),
    )
    with ProgressLine() as line:
        result = run_coroutine(mix_job.mix(request, values["tokens"] or TOKENS, line))
    if values["format"] == "json":
        put_parts(mix_json.mix_json(result))
    else:
        put_parts([mix_text.mix_text(result), "\n"])
    say(mix_text.mix_summary(result))
    return 0


def _compare(values: Values, models: tuple[str, ...], config: Config, chat: Chat | None) -> int:
    for name in ("pool", "weight", "plausible", "turn"):
        if values[name]:
            raise UsageError(
                f"--{name} does not belong to --mode reference",
                "There the reference alone decides.", "Leave it out.",
            )  # fmt: skip
    if constraint_of(values) is not None:
        raise UsageError(
            "A comparison has no constraint", "All models read the same text.", "Leave it out."
        )
    read, source = _compared_text(values, chat)
    if read.in_force:
        say(read.in_force)
    request = replace(
        _request(values, models, config), text=read.text, prefix=read.prefix, chat=read.chat
    )
    options = CompareOptions(
        reference=_reference(values, models),
        source=source,
        tokens=values["tokens"] or 0,
        further=values["further"] or 0,
        window=values["window"],
        stride=values["stride"],
        method=values["method"] or "overlap",
        base=values["base"],
        write_base=values["write_base"],
        conditions=() if values["require"] is None else parse(values["require"], NAMES),
    )
    with ProgressLine() as line:
        result = run_coroutine(compare_job.compare(request, options, line))
    if values["format"] == "json":
        from llterm.reports.comparison_json import comparison_json

        put_parts(comparison_json(result))
    elif values["format"] == "html":
        from llterm.reports.comparison_html import comparison_page

        put_parts(comparison_page(result))
    else:
        put_parts([comparison_text.comparison_text(result), "\n"])
    say(comparison_text.comparison_summary(result))
    broken = comparison_text.broken_conditions(result)
    if broken:
        raise ConditionFailed(
            "A required condition does not hold",
            "; ".join(f"{name}: {why}" for name, why in broken) + ".",
        )  # fmt: skip
    return 0


def _request(values: Values, models: tuple[str, ...], config: Config) -> Request:
    return Request(
        config,
        models,
        overrides=model_flags(values),
        sampling=checked(sampling_flags(values)),
    )


def _compared_text(values: Values, chat: Chat | None) -> tuple[ReadText, str]:
    """The text that is read, with what stands before it, and where it is from."""
    begun = values["file"] is not None or values["prompt"] is not None
    if values["base"] is not None:
        if begun or values["text"] is not None:
            raise UsageError("A base file brings its own text", "", "Leave the other text out.")
        for name, flag in (("further", "continue"), ("tokens", "tokens")):
            if values[name] is not None:
                raise UsageError(
                    f"A base file is read as it is, without --{flag}", "", "Leave it out."
                )
        if values["write_base"] is not None or values["reference"] is not None:
            raise UsageError(
                "A base file is the reference already", "",
                "Leave --reference and --write-base out.",
            )  # fmt: skip
        return ReadText(b"", as_text(values["prefix"]) or "", chat), ""
    if values["text"] is not None and begun:
        raise UsageError("Two texts are given", "", "Leave --text, the file or --prompt out.")
    file, prompt = values["text"] or values["file"], values["prompt"]
    source = "standard input" if str(file) == "-" else file.name if file is not None else "--prompt"
    if file is None and chat is not None:
        source = "the reply"
    prefix = as_text(values["prefix"])
    if values["further"] is not None and file is None and prompt is None and chat is not None:
        # The reply may be all the reference's.
        return ReadText(b"", "", chat.with_prefix(prefix or "")), source
    return given_text(file, prompt, chat, prefix), source


def _reference(values: Values, models: tuple[str, ...]) -> int:
    return 0 if values["reference"] is None else index_of(values["reference"], models)
