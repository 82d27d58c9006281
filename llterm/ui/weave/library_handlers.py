"""The looms there are, export and import, starting stories: `app.*` about files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from llterm.core.display_text import label_text
from llterm.errors import UsageError, reason
from llterm.formats import exports, imports
from llterm.formats.export_source import source_of
from llterm.formats.exports import write_export
from llterm.formats.imports import MOST_IMPORTED, free_loom
from llterm.regular_file import read_file, text_of
from llterm.session import stories
from llterm.session.stories import Story
from llterm.ui.dialogs.export_dialog import COPY, ExportChoice, ExportDialog
from llterm.ui.dialogs.looms_dialog import LoomChoice, LoomsDialog
from llterm.ui.dialogs.text_dialogs import AskLine
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.messages import OpenLoom
from llterm.ui.notices import troubles
from llterm.ui.weave.panes import Panes
from llterm.ui.weave.weave_handlers import choose_story

_WORDS = 5
"""Of the text, for the name that is proposed."""


def table(screen: Panes) -> Table:
    """Those of `app.*` that are about files, by id."""
    return {
        "app.looms": Handler(lambda: open_library(screen)),
        "app.export": Handler(lambda: export(screen)),
        "app.import": Handler(lambda: import_file(screen)),
        "app.stories": Handler(lambda: choose_story(screen)),
        "app.keep_story": Handler(lambda: keep_story(screen)),
    }


def open_library(
    screen: Panes, *, begin: bool = False, stay: Callable[[], object] = lambda: None
) -> None:
    """The list of looms. `begin`: llterm was just started, and nothing is written yet; `stay` is
    called where the person goes on with the loom that is open."""

    def done(chosen: LoomChoice) -> None:
        if isinstance(chosen, Story):
            screen.app.post_message(OpenLoom(None, chosen.text.encode()))
        else:
            screen.app.post_message(OpenLoom(chosen))

    document = screen.session.document
    document.checkpoint()
    document.undo_log.flush()
    screen.ask(LoomsDialog(document.path, begin=begin), done, stay)


def export(screen: Panes) -> None:
    """Ask for a format and a file, and write it. The loom stays as it is."""
    path = screen.session.document.path
    if path is None:
        return

    def done(choice: ExportChoice) -> None:
        screen.run_worker(_export(screen, choice), group="export", exit_on_error=False)

    screen.ask(ExportDialog(path), done)


async def _export(screen: Panes, choice: ExportChoice) -> None:
    document, target = screen.session.document, choice.target
    assert document.path is not None
    lacking = ""
    with troubles(screen):
        if target.exists():
            raise UsageError(f"{target.name} exists already", str(target), "Name another file.")
        if choice.format == COPY:
            missing = document.copy_to(target)
        else:
            # From memory: what is on screen can be saved also where its file is gone.
            whole = document.whole(history=exports.holds_history(choice.format))
            missing = whole.missing
            source = source_of(whole, document.path.stem)
            taste = exports.ExportOptions(choice.every)
            lacking = await asyncio.to_thread(write_export, source, choice.format, target, taste)
        name = label_text(str(target))
        if missing:
            screen.app.notify(
                f"{name}\nCould not be read any more, and is not in it: {missing.said}.",
                title="Written in part", severity="warning", markup=False, timeout=12,
            )  # fmt: skip
        else:
            screen.app.notify(name, title="Written", markup=False, timeout=6)
        if lacking:
            screen.app.notify(
                lacking, title="Boxes in the picture", severity="warning", markup=False
            )


def import_file(screen: Panes) -> None:
    """Make a loom of another program's file, and go on with it."""
    note = (
        "A file of logitloom, pyloom, loomsidian, mikupad, bonsai, exoloom, MiniLoom, "
        "basemode-loom or beamwriter, llterm's JSON, or a text. It stays as it is."
    )

    def done(text: str) -> None:
        if text:
            _import(screen, Path(text).expanduser())

    screen.ask(AskLine("Import a file", note), done)


def _import(screen: Panes, source: Path) -> None:
    try:
        data = text_of(read_file(source, MOST_IMPORTED), source.name)
    except OSError as error:
        raise UsageError(
            f"{source.name} cannot be read", f"{source}: {reason(error)}.", "Check its name."
        ) from error
    target = free_loom(source)
    made = imports.import_file(data, source.name, None, target)
    screen.app.post_message(OpenLoom(target, notices=made.notes))


def keep_story(screen: Panes) -> None:
    """Keep the selection, or the whole story, as a starting story, under a name."""
    document, editor = screen.session.document, screen.editor
    start, stop = sorted((editor.index(editor.selection.start), editor.index(editor.selection.end)))
    if start == stop:
        start, stop = 0, len(document.text)
    data = document.bytes_before(stop)[len(document.bytes_before(start)) :]
    what = "The selection" if (start, stop) != (0, len(document.text)) else "The story"
    words = label_text(" ".join(document.text[start:stop].split()[:_WORDS]))

    def done(title: str) -> None:
        if title:
            name = label_text(str(stories.keep(title, data)))
            screen.app.notify(name, title="Kept as a starting story", markup=False, timeout=6)

    note = f"{what}, {len(data):,} bytes. Its name among the starting stories:"
    name = words.replace("/", " ").strip(" .")
    screen.ask(AskLine("Keep as a starting story", note, name), done)
