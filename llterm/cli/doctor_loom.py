"""`llterm doctor FILE.loom`: what is wrong with a loom, and a sound one in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from llterm.core.loom_tree import ROOT
from llterm.core.tree_outline import Outline
from llterm.errors import LltermError, UsageError
from llterm.jobs.inputs import check_is_loom
from llterm.number_format import count_of
from llterm.store.backups import backups, keep_aside
from llterm.store.database import told as said
from llterm.store.lock import Lock
from llterm.store.repair import Diagnosis, diagnose, write_repaired


def check_loom(
    path: Path, *, repair: bool = False, waiting: Callable[[str], None] | None = None
) -> tuple[str, int]:
    """A report and the exit code: 1 where the loom is damaged and was not repaired.

    With `waiting` an llterm that is just ending gets a moment before the repair.

    Raises UsageError where there is no such loom, or where it cannot be repaired now.
    """
    check_is_loom(path)
    lock = Lock(path, waiting=waiting if repair else None)
    notice = lock.notice
    try:
        diagnosis = diagnose(path)
        if repair and diagnosis.faults and not diagnosis.hopeless:
            if notice:
                raise UsageError(f"{path.name} cannot be repaired", notice, "Close the other one.")
            aside = _replace(path, diagnosis)
    except (sqlite3.Error, ValueError) as error:
        diagnosis = Diagnosis([f"It cannot be read: {said(error)}."], hopeless=True)
    finally:
        lock.close()
    if not diagnosis.faults:
        return _sound(path, notice), 0
    lines = [f"{path}: damaged", *(f"  {fault}" for fault in diagnosis.faults)]
    if diagnosis.hopeless:
        return "\n".join([*lines, "Nothing of it can be saved.", *_copies(path)]), 1
    lines.append(_losses(diagnosis))
    if repair:
        return "\n".join([*lines, f"Repaired. The damaged file is kept: {aside}"]), 0
    lines.append(f"To put it right: llterm doctor --repair '{path}'")
    return "\n".join([*lines, *_copies(path)]), 1


def _replace(path: Path, diagnosis: Diagnosis) -> Path:
    """Put the repaired loom in the place of the damaged one; where that one is kept.

    Of a link the file that it names is replaced, and the link stays.
    """
    try:
        aside = keep_aside(path)
        write_repaired(diagnosis, path)
    except OSError as error:
        raise LltermError(
            f"{path.name} could not be replaced",
            f"{error}.",
            "The loom is as it was. See that the disk has room and the folder may be written.",
        ) from error
    return aside


def _sound(path: Path, notice: str) -> str:
    from llterm.session.document import Document

    document = Document.open(path)
    try:
        words, below = len(document.text.split()), Outline(document.loom).below(ROOT)
        state = "sound"
        if notice:
            state = "sound; it can only be read now: " + notice.removesuffix(".")
        return (
            f"{path}: {state}; a story of {count_of(words, 'word')}, "
            f"{count_of(len(document.text), 'character')}, "
            f"{count_of(below, 'node')}"
        )
    finally:
        document.close()


def _losses(diagnosis: Diagnosis) -> str:
    keeps = f"A repair keeps {count_of(len(diagnosis.changes.nodes), 'node')}."
    if not diagnosis.losses:
        return f"{keeps} Nothing is lost."
    return f"{keeps} Lost for good: {'; '.join(diagnosis.losses)}."


def _copies(path: Path) -> list[str]:
    found = backups(path)
    return [f"Its newest copy: {found[0]}"] if found else []
