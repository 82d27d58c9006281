"""`llterm classify`: from typed words to texts and labels, and its result to the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llterm.cli.arguments import Values, as_text
from llterm.cli.options import model_flags
from llterm.cli.recording import with_recording
from llterm.cli.row_source import opened_rows
from llterm.cli.settings import load
from llterm.core.chat_messages import Chat, ChatMessage
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    usual_template,
)
from llterm.core.classification.labels import Label, typed_label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.core.classification.text_rows import OneText
from llterm.errors import UsageError
from llterm.event_loop import run_coroutine
from llterm.formats.label_files import read_labels
from llterm.formats.labelled_table import LabelledTable, TextLines
from llterm.formats.template_rows import RowTable
from llterm.jobs import classify as job
from llterm.jobs.batch_output import BatchFiles
from llterm.jobs.classify import ClassifiedText, ClassifyOptions, ClassifyResult
from llterm.jobs.inputs import argument_text, is_loom, read_stdin, read_text
from llterm.jobs.request import Request
from llterm.output import ProgressLine, put, put_parts, say
from llterm.reports import classify_json, classify_text

if TYPE_CHECKING:
    from llterm.core.classification.text_rows import TextRows
    from llterm.core.classification.verdicts import Verdict

TABLES = (".csv", ".jsonl")


def classify(values: Values) -> int:
    """Print what the texts are called, from a command's parameters. Returns the exit code."""
    settings = _settings(values)
    config = load({"model": values["model"]}, values["config"])
    config = with_recording(config, values["model"], values["record"], values["replay"])
    request = Request(config=config, models=(config.model,), overrides=model_flags(values))
    options = ClassifyOptions(
        classify_json.ClassifyLineFormat(),
        None if values["output"] is None else BatchFiles(values["output"]),
        classify_json.settings_fields(settings),
        values["limit"],
        accept_changes=bool(values["accept_changes"]),
    )
    early = values["format"] == "jsonl" and settings.calibrate not in job.OF_ALL
    with _texts(values, settings) as texts, ProgressLine() as line:

        def ended(text: ClassifiedText, verdicts: Sequence[Verdict]) -> None:
            if early:
                line.clear()
                put(options.lines.line(text, verdicts))

        result = run_coroutine(job.classify(request, texts, settings, options, line, ended))
    _print(result, values["format"], options, early=early)
    say(classify_text.classify_summary(result))
    return 1 if result.failed else 0


def _print(result: ClassifyResult, format: str, options: ClassifyOptions, *, early: bool) -> None:
    if format == "json":
        put_parts(classify_json.classify_json(result))
    elif format == "jsonl":
        if not early:
            put_parts(options.lines.line(*each) + "\n" for each in result.judged())
    elif format == "csv":
        from llterm.reports.classify_csv import classify_csv

        put_parts(classify_csv(result))
    elif format == "html":
        from llterm.reports.classify_html import classify_page

        put(classify_page(result))
    else:
        put_parts(classify_text.classify_text(result))


def _settings(values: Values) -> ClassifySettings:
    """Everything that counts for a verdict. Raises UsageError."""
    labels = tuple(_described(_labels(values), values["description"] or ()))
    questions = tuple(as_text(text) or "" for text in values["question"] or ("",))
    typed = as_text(values["template"])
    several = bool(values["multi"])
    settings = ClassifySettings(
        tuple(LabelQuestion(text, labels) for text in questions),
        QuestionTemplate(typed) if typed is not None
        else usual_template(questions=any(questions), several=several),
        spellings=values["spellings"] or "all",
        normalize=values["normalize"] or "none",
        calibrate=values["calibrate"],
        temperature=values["temperature"],
        orders=values["shuffle"] or 1,
        seed=values["seed"] or 0,
        threshold=values["threshold"] or 0.0,
        several=several,
        prefix=as_text(values["prefix"]) or "",
        chat=_chat(values),
        premise=as_text(values["premise"]) or "",
    )  # fmt: skip
    for name, needed, why in (
        ("temperature", settings.calibrate == "temperature", "--calibrate temperature"),
        ("premise", settings.normalize == "pmi", "--normalize pmi"),
        ("seed", settings.orders > 1, "--shuffle"),
    ):
        if values[name] is not None and not needed:
            raise UsageError(f"--{name} needs {why}", "", "Leave it out, or give that too.")
    settings.check()
    if any(label.description for label in labels) and not (
        {"labels", "label"} & settings.template.places
    ):
        say("The descriptions are not told: the template has no {labels}.")
    return settings


def _labels(values: Values) -> list[Label]:
    labels = [typed_label(as_text(text) or "") for text in values["label"] or ()]
    if values["labels"] is not None:
        labels += read_labels(read_text(values["labels"]), values["labels"].name)
    if not labels:
        raise UsageError(
            "There are no labels", "", "Give them with --label, or a file with --labels."
        )
    return labels


def _described(labels: Sequence[Label], typed: Sequence[str]) -> Iterator[Label]:
    """The labels with what was typed of them. Raises UsageError for another one."""
    told = dict[str, str]()
    for text in typed:
        name, equals, description = (as_text(text) or "").partition("=")
        if not equals or name not in [label.name for label in labels]:
            raise UsageError(
                f"--description {name} is of no label",
                f"Labels are {', '.join(label.name for label in labels)}." if equals else "",
                "Write it as --description NAME=TEXT.",
            )
        told[name] = description
    for label in labels:
        yield replace(label, description=told.get(label.name, label.description))


def _chat(values: Values) -> Chat | None:
    """What stands before the person's turn, which the template is; None where there is no chat."""
    system = as_text(values["system"]) or ""
    if values["chat_file"] is None:
        return Chat(system) if values["chat"] or system else None
    from llterm.formats.dialogue import load_dialogue

    dialogue = load_dialogue(values["chat_file"])
    reply = ChatMessage("assistant", dialogue.reply)
    said = [each for each in (*dialogue.chat.said(), reply) if each.role != "system"]
    if system and dialogue.chat.system:
        raise UsageError(
            "There are two system messages",
            f"{values['chat_file'].name} has one, and so has --system.",
            "Leave one of them out.",
        )
    earlier = tuple(each for each in said if each.content)
    return Chat(system or dialogue.chat.system, "", earlier)


@contextmanager
def _texts(values: Values, settings: ClassifySettings) -> Iterator[TextRows]:
    """The texts that were named, while they are read. Raises UsageError."""
    file: Path | None = values["file"]
    if file is not None and values["prompt"] is not None:
        raise UsageError("Both a file and --prompt are given", "", "Leave one of them out.")
    if values["prompt"] is not None:
        yield _one(argument_text(values["prompt"]))
        return
    if file is None:
        raise UsageError("There is no text", "", "Name a file, - for standard input, or --prompt.")
    table = file.suffix.lower() in TABLES or any(
        values[name] is not None for name in ("text_column", "truth_column")
    )
    if table or values["lines"]:
        with opened_rows(file) as rows:
            if not table:
                yield TextLines(rows)
                return
            yield LabelledTable(
                RowTable(rows),
                [question.text for question in settings.questions],
                as_text(values["text_column"]) or "text",
                as_text(values["truth_column"]) or "label",
                settings.several,
            )
        return
    if str(file) == "-":
        yield _one(read_stdin())
    elif is_loom(file):
        from llterm.jobs.loom_story import read_story

        story = read_story(file, tokens=False)
        if story.damage:
            say(f"llterm: {story.damage}")
        yield _one(story.text)
    else:
        yield _one(read_text(file))


def _one(data: bytes) -> OneText:
    # Editors end a file with a line break, which is none of the text's.
    text = data.decode("utf-8", "surrogateescape").removesuffix("\n")
    if not text:
        raise UsageError("The text is empty", "", "There is nothing in it to read.")
    return OneText(text)
