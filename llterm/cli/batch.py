"""`llterm batch`: from typed words to rows, and how far they are to the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.backends.registry import find_model
from llterm.cli.arguments import Values, as_text, constraint_of
from llterm.cli.options import checked, model_flags, sampling_flags, serve_flags
from llterm.cli.recording import with_recording
from llterm.cli.row_source import opened_rows
from llterm.cli.settings import load
from llterm.config import Config
from llterm.config.config_loader import checked_flag
from llterm.config.sampling_values import BANS, preset_values, value_of
from llterm.core.row_template import RowTemplate
from llterm.errors import LltermError, UsageError, reason
from llterm.event_loop import run_coroutine
from llterm.formats.request_lines import RequestLines
from llterm.formats.row_lines import json_object
from llterm.formats.template_rows import RowTable, TemplateRows
from llterm.jobs.batch import BatchOptions, BatchProgress, BatchResult
from llterm.jobs.batch import batch as batch_job
from llterm.jobs.batch_models import SlotOptions
from llterm.jobs.batch_output import BatchFiles, result_lines
from llterm.jobs.batch_trial import try_batch
from llterm.jobs.inputs import read_text
from llterm.jobs.request import Request
from llterm.output import ProgressLine, put, say
from llterm.reports import batch_text
from llterm.reports.batch_json import result_line
from llterm.whole_file import write_whole

if TYPE_CHECKING:
    from llterm.core.batch_row import BatchInput
    from llterm.core.query import Backend
    from llterm.engine.generation import Generator
    from llterm.jobs.batch_answers import Answering, RowAnswers

VIEWED = 5
"""Candidates of each token on a page."""
TOKENS = 256
"""Most tokens of a template's texts, where nothing is said."""


def batch(values: Values) -> int:
    """Answer what is asked, from a command's parameters. Returns the exit code."""
    request, options = _asked(values)
    with _rows(values) as rows, ProgressLine() as line:
        how = request, rows, options, _answering(request.config)
        if values["dry_run"]:
            trial = run_coroutine(try_batch(*how, line))
            line.clear()
            put(batch_text.forecast(trial))
            return 1 if len(trial.failures) == trial.tried else 0
        watch = _Watch(line)
        try:
            result = run_coroutine(batch_job(*how, result_line, line, watch.show))
        except (KeyboardInterrupt, LltermError):
            line.clear()
            if watch.progress.rows:
                say(batch_text.stopped(watch.progress))
            raise
        line.clear()
        if values["token_view"] is not None:
            _write_page(values["token_view"], result)
    say(batch_text.summary(result))
    return 1 if result.progress.failed else 0


def _write_page(path: Path, result: BatchResult) -> None:
    from llterm.reports.batch_html import token_page

    lines = (line.result for line in result_lines(result.files.results))
    try:
        write_whole(path, token_page(lines, result.model).encode())
    except OSError as error:
        raise LltermError(
            f"{path} cannot be written", f"{reason(error)}.", "The results are kept."
        ) from error


@dataclass(slots=True)
class _Watch:
    """Shows how far it is, and knows it afterwards."""

    line: ProgressLine
    progress: BatchProgress = field(default_factory=BatchProgress)

    def show(self, progress: BatchProgress) -> None:
        self.progress = progress
        if self.line.on:
            self.line.say(batch_text.progress_line(progress))


def _answering(config: Config) -> Answering:
    """What reads bodies and draws them, with a model in this process."""

    def answers(generator: Generator, backend: Backend, parallel: int) -> RowAnswers:
        from llterm.serve.batch_bodies import BodyAnswers
        from llterm.serve.request_rules import RequestRules

        rules = RequestRules(presets=config.presets)
        return BodyAnswers(generator, backend, rules, parallel)

    return answers


def _asked(values: Values) -> tuple[Request, BatchOptions]:
    typed = sampling_flags(values)
    config = load({"model": values["model"], **typed, **serve_flags(_slots(values))},
                  values["config"])  # fmt: skip
    config = with_recording(config, values["model"], values["record"], values["replay"])
    request = Request(config=config, models=(config.model,), overrides=model_flags(values))
    memory = config.serve.cache_memory
    slots = SlotOptions(
        parallel=values["parallel"],
        context=config.serve.slot_context,
        memory=None if memory is None else memory << 20,
    )
    if str(values["output"] or "-") == "-" and not values["dry_run"]:
        raise UsageError(
            "There is no place for the results",
            "They go to a file, so that the same command can go on.",
            "Name it with -o OUT.jsonl.",
        )
    shown = values["token_view"] is not None
    options = BatchOptions(
        files=BatchFiles(values["output"] or Path()),
        defaults=_defaults(values, config),
        logprobs=VIEWED if shown and values["logprobs"] is None else values["logprobs"],
        seed=checked(typed).get("seed"),
        slots=slots,
        limit=values["limit"],
        most_failures=values["most_failures"],
        accept_changes=bool(values["accept_changes"]),
        dropped=values["drop_duplicates"] or "none",
    )
    return request, options


def _slots(values: Values) -> Values:
    """The flags of slots alone: others are called as a server's settings are."""
    return {name: values[name] for name in ("slot_context", "cache_memory")}


def _defaults(values: Values, config: Config) -> dict[str, Any]:
    """Fields of bodies that do not have them: what was typed. A template's texts are drawn by a
    model in this process as `llterm sample` does; a server draws as it does itself."""
    typed: dict[str, Any] = checked(sampling_flags(values))
    here = find_model(config.model, config).settings.server is None
    if values["template"] is not None and here:
        sampling = config.sampling
        others = {name: value_of(sampling, name) for name in (*BANS, "bias", "ideal_length")}
        typed = preset_values(sampling.settings) | {
            name: value for name, value in others.items() if value
        }
    typed.pop("seed", None)
    tokens = values["tokens"] or (TOKENS if values["template"] is not None else None)
    stops = list(checked_flag("weave.stop", values["stop"] or []))
    fields = {"max_tokens": tokens, "stop": stops or None, **_constraint(values)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in (typed | fields).items()
        if value is not None
    }


def _constraint(values: Values) -> dict[str, Any]:
    """What texts are to fit, as bodies say it."""
    constraint = constraint_of(values)
    if constraint is None:
        return {}
    if values["json_schema"]:
        try:
            schema = json_object(constraint.text)
        except ValueError as error:
            raise UsageError("The schema is no JSON", f"{error}.", "") from error
        described = {"name": "text", "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": described}}
    if values["choice"]:
        return {"structured_outputs": {"choice": values["choice"]}}
    name = "regex" if values["regex"] else "grammar"
    return {"structured_outputs": {name: constraint.text}}


@contextmanager
def _rows(values: Values) -> Iterator[BatchInput]:
    """The rows that were named, while they are read. Raises UsageError."""
    file, template, table = values["file"], values["template"], values["rows"]
    chat = bool(values["chat"] or values["system"] is not None)
    if template is None:
        for name in ("rows", "number", "chat", "system"):
            if values[name]:
                raise UsageError(f"--{name} needs --template", "", "Name the template's file.")
        if file is None:
            raise UsageError(
                "There are no requests", "", "Name a file of them, or --template and --rows."
            )
        with opened_rows(file) as lines:
            yield RequestLines(lines)
        return
    if file is not None or table is None:
        raise UsageError(
            "--template and --rows go together" if table is None else
            "Both a file and --template are given",
            "", "A batch is a file of requests, or a template with rows.",
        )  # fmt: skip
    # Editors end a file with a line break, which is none of the text's.
    text = read_text(template).decode("utf-8", "replace").removesuffix("\n")
    system = as_text(values["system"])
    with opened_rows(table) as lines:
        yield TemplateRows(
            RowTable(lines),
            RowTemplate.parse(text, template.name),
            values["number"] or 1,
            chat,
            None if system is None else RowTemplate.parse(system, "--system"),
        )
