"""One weave without a screen: a story, a model, the suggestions."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llterm.backends.registry import find_model, open_model
from llterm.backends.served import Counted, counted
from llterm.config import Config
from llterm.constraints.spec import Constraint
from llterm.core.bans import Bans
from llterm.core.chat_messages import Chat, chat_text, read_chat
from llterm.core.mixing.mix_recipe import Mode
from llterm.core.query import Backend
from llterm.core.rules import Rules
from llterm.core.suggestion_tree import View
from llterm.core.tokens import Vocabulary
from llterm.engine.mixture import Mix
from llterm.engine.opening import MixOf, open_mix
from llterm.errors import LltermError
from llterm.jobs.inputs import check_is_loom
from llterm.jobs.runner import absences, load_progress
from llterm.output import say
from llterm.progress_line import ProgressLine
from llterm.session.document import Document
from llterm.session.sampling import SamplerChoice
from llterm.session.session import Session
from llterm.session.status import Figures
from llterm.store.connection import to_look


@dataclass(frozen=True, slots=True)
class Job:
    """What to weave, and with what."""

    text: bytes
    loom: Path | None
    """A loom to weave the story of; it is not changed. `text` is empty then."""
    prefix: str | None
    typed: Mapping[str, Any]
    """Weave settings that were typed, by `Rules` field: they count more than the loom's own."""
    config: Config
    model: str
    overrides: Mapping[str, int]
    constraint: Constraint | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Sampler settings that were typed, by name; of these only bans count in a weave."""
    chat: Chat | None = None
    """What the story is a reply to; None: what a loom says itself."""
    mix: MixOf | None = None
    """Several models in the place of `model`."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """How several models decided."""

    mode: Mode
    formula: str
    by_id: bool
    """Token by token; otherwise byte by byte."""
    exact: bool
    unknown: float
    """The most mass that was only estimated."""


@dataclass(frozen=True, slots=True)
class Woven:
    """What a job gave."""

    model: str
    text: bytes
    prefix: str
    rules: Rules
    view: View
    figures: Figures
    vocabulary: Vocabulary
    constraint: Constraint | None
    bans: Bans
    dead_ends: int
    """Paths that the constraint led nowhere."""
    chat: Chat
    """What the story is a reply to; empty where it is none."""
    chat_format: str
    """How the model writes chats."""
    mixed: Mixed | None = None
    counted: tuple[Counted, ...] = ()
    """What went over the wire, of models on servers."""


def run(job: Job) -> Woven:
    """Weave until done. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    for name in job.mix.models if job.mix else (job.model,):
        find_model(name, job.config)
    if job.loom is None:
        return _run(job, Document.scratch(job.text, job.config.weave))
    with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
        return _run(job, copied(job.loom, Path(folder)))


def copied(loom: Path, folder: Path) -> Document:
    """A copy of the loom: weaving must not change the file, and another llterm may have it open."""
    import sqlite3

    check_is_loom(loom)
    copy = folder / loom.name
    try:
        with closing(to_look(loom)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error:
        # Opening it as a loom says in full what is wrong.
        shutil.copyfile(loom, copy)
    try:
        document = Document.open(copy)
    except LltermError as error:
        # Of the copy nobody knows.
        error.cause = error.cause.replace(str(copy), str(loom))
        error.hint = error.hint.replace(str(copy), str(loom))
        raise
    if document.damage:
        say(f"llterm: {document.damage.replace(str(copy), str(loom))}")
    return document


def _run(job: Job, document: Document) -> Woven:
    if job.typed:
        document.set_rules(replace(document.rules, **job.typed))
    if job.prefix is not None:
        document.set_prefix(job.prefix)
    if job.chat is not None:
        document.set_chat(chat_text(job.chat))
    return asyncio.run(_weave(job, document))


async def _weave(job: Job, document: Document) -> Woven:
    line = ProgressLine()
    drawing = SamplerChoice(document, job.config.sampling, job.config.presets)
    session = Session(document, drawing)
    session.set_sampling(drawing.changed(job.sampling))
    text = document.bytes_before(document.cursor)
    try:
        backend = await _open(job, line)
        try:
            session.listen(lambda: line.say(_progress(session)))
            session.attach(backend)
            if job.constraint is not None:
                await session.set_constraint(job.constraint)
            session.weave()
            await session.wait()
            _end_if_cancelled()
            assert session.view is not None
            return Woven(
                backend.name if job.mix else find_model(job.model, job.config).name,
                text,
                document.prefix,
                document.rules,
                session.view,
                session.figures,
                backend.vocabulary,
                job.constraint,
                session.sampling.bans,
                session.dead_ends,
                read_chat(document.chat),
                getattr(backend, "chat_format", ""),
                _mixed(backend),
                counted(backend),
            )
        finally:
            session.stop()
            await backend.close()
    finally:
        line.clear()
        await session.close()


async def _open(job: Job, line: ProgressLine) -> Backend:
    if job.mix is None:
        telling = load_progress(line, job.model)
        return await open_model(job.model, job.config, job.overrides, telling, absences(line))
    telling = load_progress(line, " and ".join(job.mix.models))
    mix, away = job.mix, absences(line)
    return await open_mix(mix.models, mix.recipe, job.config, job.overrides, telling, away)


def _mixed(backend: Backend) -> Mixed | None:
    if not isinstance(backend, Mix):
        return None
    return Mixed(
        backend.recipe.mode, backend.formula, backend.by_id, backend.exact, backend.unknown
    )


def _end_if_cancelled() -> None:
    """ctrl+c cancels this task, and `Session.wait` takes that for an end of the weave."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _progress(session: Session) -> str:
    return f"Weaving: {session.figures.tokens:,} tokens evaluated" if session.weaving else ""
