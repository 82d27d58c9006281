"""Export, import, and saving elsewhere, from the app."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llterm.core.display import label_text
from llterm.errors import UsageError, reason
from llterm.formats import imports
from llterm.formats.export_source import source_of
from llterm.formats.exports import Taste, holds_history, write_export
from llterm.formats.imports import MOST_IMPORTED, free_loom
from llterm.regular import read_file
from llterm.textfile import text_of
from llterm.ui.screens.ask import AskLine
from llterm.ui.screens.export import COPY, Export, Wanted
from llterm.ui.screens.painting import troubles

if TYPE_CHECKING:
    from llterm.ui.app import LltermApp
    from llterm.ui.screens.weave import WeaveScreen


def export(screen: WeaveScreen) -> None:
    """Ask for a format and a file, and write it. The loom stays as it is."""
    document = screen.session.document
    path = document.path
    if path is None:
        return

    def done(wanted: Wanted | None) -> None:
        if wanted is not None:
            screen.run_worker(_export(screen, wanted), group="export", exit_on_error=False)

    screen.app.push_screen(Export(path), done)


async def _export(screen: WeaveScreen, wanted: Wanted) -> None:
    document, target = screen.session.document, wanted.target
    assert document.path is not None
    lacking = ""
    with troubles(screen):
        if target.exists():
            raise UsageError(f"{target.name} exists already", str(target), "Name another file.")
        if wanted.format == COPY:
            missing = document.copy_to(target)
        else:
            # From memory: what is on screen can be saved also where its file is gone.
            whole = document.whole(history=holds_history(wanted.format))
            missing = whole.missing
            source, taste = source_of(whole, document.path.stem), Taste(wanted.every)
            lacking = await asyncio.to_thread(write_export, source, wanted.format, target, taste)
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


def import_file(screen: WeaveScreen) -> None:
    """Make a loom of another program's file, and go on with it."""
    note = (
        "A file of logitloom, pyloom, loomsidian, mikupad, bonsai, exoloom, MiniLoom, "
        "basemode-loom or beamwriter, llterm's JSON, or a text. It stays as it is."
    )

    def done(text: str | None) -> None:
        if text:
            with troubles(screen):
                _import(screen, Path(text).expanduser())

    screen.app.push_screen(AskLine("Import a file", note), done)


def _import(screen: WeaveScreen, source: Path) -> None:
    try:
        data = text_of(read_file(source, MOST_IMPORTED), source.name)
    except OSError as error:
        raise UsageError(
            f"{source.name} cannot be read", f"{source}: {reason(error)}.", "Check its name."
        ) from error
    target = free_loom(source)
    made = imports.import_file(data, source.name, None, target)
    cast("LltermApp", screen.app).go_on_with(target, None, made.notes)
