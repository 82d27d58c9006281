"""The looms there are: recent ones, and renaming, duplicating, deleting with a way back.

No loom that is open is renamed or deleted: SQLite would lose sight of its journal.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from llterm import paths
from llterm.core.json_text import json_text
from llterm.errors import LltermError, UsageError
from llterm.json_file import keep_json, read_json
from llterm.session.document import Document
from llterm.session.loom_models import move_model
from llterm.store.backups import back_up, backup_folder
from llterm.store.database import to_look, told
from llterm.store.lock import Lock
from llterm.store.loom_summary import LoomSummary, read_summary
from llterm.whole_file import beside, move, write_whole

log = logging.getLogger(__name__)

MOST_RECENT = 50
_MOST_NOTED = 1 << 20
MOST_TRASH = 100
"""Deleted looms that are kept; beyond, the oldest is gone for good."""
_SUFFIX = ".loom"
_DATE = "%Y-%m-%d %H.%M.%S.%f"


@dataclass(frozen=True, slots=True)
class Deleted:
    """A loom in the trash."""

    path: Path
    """Where it lies now."""
    origin: Path
    """Where it was."""


def open_loom(path: Path, backups: int = 0) -> Document:
    """Open a loom, with a dated copy of it made first; it is a recent one from then on.

    Raises UsageError where it is none or is damaged.
    """
    back_up(path, backups)
    document = Document.open(path)
    remember(path)
    return document


# --- what there is


def looms(limit: int = MOST_RECENT) -> list[LoomSummary]:
    """Looms that were opened, the last one first, and then others in llterm's own folder."""
    known = [path for path in recent_looms() if path.is_file()]
    own = paths.looms_dir()
    others = sorted(own.glob(f"*{_SUFFIX}"), key=_changed, reverse=True) if own.is_dir() else []
    known += [path for path in others if path not in known]
    return [read_summary(path) for path in known[:limit]]


def others(path: Path | None) -> bool:
    """Whether there is a loom that was opened before, besides this one."""
    used = path.absolute() if path is not None else None
    return any(one != used and one.is_file() for one in recent_looms())


def remember(path: Path) -> None:
    """This loom was opened now."""
    path = path.absolute()
    _write_recent([path, *(one for one in recent_looms() if one != path)][:MOST_RECENT])


def forget(path: Path) -> None:
    """Take a loom out of the recent ones; the file stays."""
    _write_recent([one for one in recent_looms() if one != path.absolute()])


# --- what can be done with one


def rename(path: Path, name: str) -> Path:
    """Give a loom another name in the same folder. Returns its new path."""
    target = path.with_name(file_name(name))
    if target == path:
        return path
    with closing(_closed(path, "renamed")):
        try:
            move(path, target)
        except FileExistsError as error:
            raise UsageError(f"{target.name} exists already", "", "Choose another name.") from error
        except OSError as error:
            raise _failed(path, "renamed", error) from error
    copies = backup_folder(path)
    if copies.is_dir():
        with suppress(OSError):
            copies.rename(backup_folder(target))
    _write_recent([target if one == path.absolute() else one for one in recent_looms()])
    move_model(path, target)
    return target


def duplicate(path: Path) -> Path:
    """Copy a loom, with its history, beside it. Returns the copy. Also one that is open."""
    target = paths.free(path.with_name(f"{path.stem} copy{_SUFFIX}"))
    try:
        with beside(target, new=True) as part:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(to_look(path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
    except (OSError, sqlite3.Error) as error:
        raise _failed(path, "duplicated", error) from error
    return target


def delete(path: Path, now: datetime | None = None) -> Deleted:
    """Move a loom into llterm's own trash, from where `restore` brings it back."""
    origin = path.absolute()
    folder = paths.made(_trash())
    target = folder / f"{(now or datetime.now()).strftime(_DATE)} {path.name}"
    with closing(_closed(path, "deleted")):
        try:
            note = json_text({"from": str(origin)}, bytes_kept=True).encode()
            write_whole(_note(target), note, private=True)
            move(path, target)
        except OSError as error:
            _note(target).unlink(missing_ok=True)
            raise _failed(path, "deleted", error) from error
    forget(origin)
    for old in deleted()[MOST_TRASH:]:
        old.path.unlink(missing_ok=True)
        _note(old.path).unlink(missing_ok=True)
    return Deleted(target, origin)


def deleted() -> list[Deleted]:
    """The looms in the trash, the last one first."""
    trash = []
    for path in sorted(_trash().glob(f"*{_SUFFIX}"), reverse=True):
        with suppress(OSError, ValueError, KeyError, TypeError):
            origin = read_json(_note(path), _MOST_NOTED)["from"]
            trash.append(Deleted(path, Path(origin)))
    return trash


def restore(gone: Deleted) -> Path:
    """Bring a deleted loom back where it was; beside it where the name is taken now."""
    target = paths.free(gone.origin)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        move(gone.path, target)
    except OSError as error:
        raise _failed(gone.path, "brought back", error) from error
    _note(gone.path).unlink(missing_ok=True)
    remember(target)
    return target


def rescued(document: Document, error: LltermError) -> LltermError:
    """Save a loom whose own file refused it. Returns what to tell of both.

    In llterm's own folder, or where that cannot be, beside its own file, at home, or among what is
    temporary.
    """
    assert document.path is not None
    name = f"{document.path.stem} rescued{_SUFFIX}"
    folders = (paths.looms_dir(), document.path.parent, Path.home(), Path(tempfile.gettempdir()))
    reasons: list[str] = []
    for folder in folders:
        target = paths.free(folder / name)
        try:
            paths.made(folder)
            missing = document.copy_to(target)
        except LltermError as other:
            log.warning("%s", other)
            reasons.append(other.cause)
            continue
        remember(target)
        hint = f"All of it is in {target}"
        if missing:
            hint = (
                f"The story, with every branch, is in {target}. What could not be read any more is"
                f" not in it: {missing.said}."
            )
        return LltermError(error.title, error.cause, hint)
    hint = f"What was written since it was saved last is lost: {reasons[0]}"
    return LltermError(error.title, error.cause, hint)


# --- inner workings


def _closed(path: Path, done: str) -> Lock:
    """The lock of a loom that nobody has open. Raises UsageError where somebody has."""
    lock = Lock(path)
    if lock.notice:
        lock.close()
        title = f"{path.name} cannot be {done} now"
        if lock.held:
            raise UsageError(title, "It is open, here or in another llterm.", "Close it first.")
        raise UsageError(title, lock.notice, "Check the permissions of it and its folder.")
    with suppress(sqlite3.Error, OSError):
        # By another name it would lose the journal that undoes what a kill cut off.
        to_look(path).close()
    return lock


def file_name(name: str) -> str:
    """The file's name of a loom of this name. Raises UsageError where it can be none."""
    stem = name.strip().removesuffix(_SUFFIX).strip()
    if not stem or stem.startswith(".") or "/" in stem or "\0" in stem or not stem.isprintable():
        raise UsageError(
            f"A loom cannot have the name {name!r}", "", "Use letters, digits, spaces, hyphens."
        )
    return stem + _SUFFIX


def _trash() -> Path:
    return paths.data_dir() / "trash"


def _note(path: Path) -> Path:
    """Where it is written where a deleted loom was."""
    return path.with_suffix(".json")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _recent_file() -> Path:
    return paths.state_dir() / "recent.json"


def recent_looms() -> list[Path]:
    """Looms that were opened, the last one first."""
    try:
        found = read_json(_recent_file(), _MOST_NOTED)
        return [Path(one) for one in found if isinstance(one, str)]
    except (OSError, ValueError, TypeError):
        return []


def _write_recent(found: list[Path]) -> None:
    keep_json(_recent_file(), [str(one) for one in found])


def _failed(path: Path, done: str, error: Exception) -> LltermError:
    return LltermError(f"{path.name} could not be {done}", f"{told(error)}.", "Check the folder.")
