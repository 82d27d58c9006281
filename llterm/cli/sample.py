"""`llterm sample`: from typed words to continuations."""

from __future__ import annotations

from llterm.cli.arguments import Values, as_text, constraint_of, story_of, typed_chat
from llterm.cli.options import checked, model_flags, sampling_flags
from llterm.cli.recording import with_recording
from llterm.cli.settings import load
from llterm.config.config_loader import checked_flag
from llterm.event_loop import run_coroutine
from llterm.jobs import sample as job
from llterm.jobs.request import Request
from llterm.jobs.sample import SampledText, SampleOptions
from llterm.output import ProgressLine, put, say
from llterm.reports import sample_json, sample_text


def sample(values: Values) -> int:
    """Draw and print, from a command's parameters. Returns the exit code."""
    format = values["format"]
    request, options = _asked(values)
    with ProgressLine() as line:

        def ended(sampled: SampledText) -> None:
            line.clear()
            if format == "jsonl":
                put(sample_json.as_line(sampled))

        result = run_coroutine(job.sample(request, options, line, ended))
    failure = result.failure
    if format == "json":
        put(sample_json.as_json(result))
    elif format == "text" and (failure is None or any(each.tokens for each in result.samples)):
        put(sample_text.as_text(result))
    say(sample_text.summary(result))
    if failure is not None:
        raise failure
    return 0


def _asked(values: Values) -> tuple[Request, SampleOptions]:
    typed = sampling_flags(values)
    config = load({"model": values["model"], **typed}, values["config"])
    config = with_recording(config, values["model"], values["record"], values["replay"])
    chat, prompt = typed_chat(values)
    text, loom = story_of(values["file"], prompt, chat)
    request = Request(
        config=config,
        models=(config.model,),
        text=text,
        loom=loom,
        prefix=as_text(values["prefix"]),
        chat=chat,
        overrides=model_flags(values),
        sampling=checked(typed),
        constraint=constraint_of(values),
    )
    options = SampleOptions(
        count=values["number"],
        tokens=values["tokens"],
        sentence=values["sentence"],
        stops=checked_flag("weave.stop", values["stop"] or []),
        heal=config.weave.heal if values["heal"] is None else values["heal"],
    )
    return request, options
