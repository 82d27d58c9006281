"""Starting stories: llterm's own, and those that the person keeps as text files in a folder.

Each file `NAME.txt` is one; a line break at its end, which editors add, is no part of the story.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llterm import paths
from llterm.errors import LltermError, UsageError, reason
from llterm.regular_file import MARK, read_file
from llterm.whole_file import move, write_whole


@dataclass(frozen=True, slots=True)
class Story:
    """The beginning of a story to go on from."""

    title: str
    text: str
    path: Path | None = None
    """The person's own file; None of llterm's."""


STORIES = (
    Story(
        "The dark forest",
        "Once upon a time there was a little fox who lived at the edge of a dark forest. One"
        " evening, as the moon rose over the trees, he heard a",
    ),
    Story(
        "The king's three sons",
        "There was once a king who had three sons, and the youngest was the one whom everybody"
        " laughed at. One day the king fell ill, and",
    ),
    Story(
        "The rabbit's house",
        "The little rabbit hopped up the path to his house. The door was open, and",
    ),
    Story(
        "The old woman's box",
        "The old woman opened the box very slowly. Inside it was",
    ),
)


log = logging.getLogger(__name__)

MOST = 1 << 20
"""Bytes of a starting story; larger files in the folder are passed over."""
_SUFFIX = ".txt"


def starting_stories() -> list[Story]:
    """The person's own by name, then llterm's."""
    folder = paths.stories_dir()
    files = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stem.casefold())
    return [*filter(None, map(_read, files)), *STORIES]


def others() -> bool:
    """Whether the person keeps any."""
    return any(paths.stories_dir().glob(f"*{_SUFFIX}"))


def keep(title: str, data: bytes) -> Path:
    """Keep a text as a starting story. Returns its file.

    Raises UsageError for an empty text, a name that no file can have or that is taken, and
    LltermError where it cannot be written.
    """
    if not data.strip():
        raise UsageError("A starting story has text", "There is none.", "Write some first.")
    if len(data) >= MOST:
        raise UsageError(
            "That is too long for a starting story",
            f"{len(data):,} bytes; at most {MOST:,} are read.",
            "Select its beginning, or duplicate the loom.",
        )
    path = _path(title)
    paths.made(path.parent)
    try:
        write_whole(path, data + b"\n", new=True)
    except FileExistsError as error:
        raise _taken(title) from error
    except OSError as error:
        raise _failed(title, "kept", error) from error
    return path


def rename(story: Story, title: str) -> None:
    """Give one of the person's own another name. Raises as `keep` does."""
    path, target = _own(story, "renamed"), _path(title)
    if target != path:
        _move(path, target, title, "renamed")


def delete(story: Story) -> Callable[[], None]:
    """Put one of the person's own into the folder `deleted` beside them; how to bring it back."""
    path = _own(story, "deleted")
    folder = paths.made(path.parent / "deleted")
    gone = paths.free(folder / path.name)
    _move(path, gone, story.title, "deleted")
    return lambda: _move(gone, path, story.title, "brought back")


def _read(path: Path) -> Story | None:
    try:
        text = read_file(path, MOST).removeprefix(MARK).decode("utf-8", "replace")
    except OSError as error:
        log.warning("%s could not be read: %s", path, error)
        return None
    return Story(path.stem, text.removesuffix("\n").removesuffix("\r"), path)


def _path(title: str) -> Path:
    stem = title.strip().removesuffix(_SUFFIX).strip()
    if not stem or stem.startswith(".") or "/" in stem or not stem.isprintable():
        raise UsageError(
            f"A story cannot have the name {title!r}", "", "Use letters, digits, spaces, hyphens."
        )
    return paths.stories_dir() / f"{stem}{_SUFFIX}"


def _own(story: Story, done: str) -> Path:
    if story.path is None:
        raise UsageError(
            f"“{story.title}” cannot be {done}", "It is one of llterm's own.", "Keep one of yours."
        )
    return story.path


def _move(path: Path, target: Path, title: str, done: str) -> None:
    try:
        move(path, target)
    except FileExistsError as error:
        raise _taken(title) from error
    except OSError as error:
        raise _failed(title, done, error) from error


def _taken(title: str) -> UsageError:
    return UsageError(f"There is a starting story {title!r} already", "", "Choose another name.")


def _failed(title: str, done: str, error: OSError) -> LltermError:
    return LltermError(
        f"{title!r} could not be {done}",
        f"{paths.stories_dir()}: {reason(error)}.",
        "Check the folder.",
    )
