"""What looms are and take in both faces: whatever needs no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from llterm.errors import UsageError
from llterm.formats.export_source import source_of
from llterm.formats.exports import ExportOptions, exported, holds_history, write_file
from llterm.formats.file_formats import EXPORTS, format_of
from llterm.library.loom_core import LoomCore
from llterm.library.loop_thread import DocumentThread
from llterm.library.tree_node import TreeNode
from llterm.session.manuscript import Change

N = TypeVar("N", bound=TreeNode)
T = TypeVar("T")


class LoomFace(Generic[N]):
    """A loom that is open: its file is locked by it, and written as things happen."""

    def __init__(
        self, core: LoomCore, thread: DocumentThread, node: Callable[[int], N], title: str
    ) -> None:
        self._core = core
        self._thread = thread
        self._node = node
        self._title = title

    def __repr__(self) -> str:
        where = "closed" if self._core.closed else self.file or "in memory"
        return f"<{self._title} {where}>"

    @property
    def root(self) -> N:
        """The node that everything hangs under: the beginning; where there is none, or several, a
        node without text; in a chat the chat, as the model reads it."""
        return self._node(self._call(lambda: self._core.root))

    @property
    def head(self) -> N:
        """The node in which the story ends, which the app shows."""
        return self._node(self._call(lambda: self._core.document.loom.head))

    def node(self, id: int) -> N:
        """The node of this id. Raises UsageError where there is none."""
        return self._node(self._call(lambda: self._core.held(id)))

    @property
    def story(self) -> str:
        """The text from the beginning to the head."""
        return self._call(lambda: self._core.document.loom.text()).decode("utf-8", "replace")

    @property
    def user_prompt(self) -> str:
        """What the person says to the model where the loom is a reply; else empty."""
        return self._call(lambda: self._core.chat.message)

    @property
    def file(self) -> Path | None:
        """None in memory."""
        return self._call(lambda: self._core.document.path)

    @property
    def read_only(self) -> bool:
        """Whether another llterm writes this loom, or the file may not be written."""
        return self._call(lambda: self._core.document.read_only)

    @property
    def notice(self) -> str:
        """Why it can only be read; empty where it can be written."""
        return self._call(lambda: self._core.document.notice)

    def undo(self) -> str | None:
        """Take back the last step, whoever made it. Returns what it was; None without any."""
        return self._travel(lambda: self._core.document.undo_label, self._core.document.undo)

    def redo(self) -> str | None:
        """Do again what was undone last. Returns what it was; None without any."""
        return self._travel(lambda: self._core.document.redo_label, self._core.document.redo)

    def save(self, path: str | Path) -> None:
        """Copy all of it, its history too, to a new .loom file; this one stays open. Raises
        UsageError where that exists."""
        target = Path(path).expanduser()
        self._call(lambda: self._core.document.copy_to(target))

    def export(self, path: str | Path, format: str | None = None, *, every: bool = True) -> None:
        """Write it in another format, by the file's ending where none is named. `every`: all
        branches, where a format can hold the story alone."""
        target = Path(path).expanduser()
        name = format or format_of(target)
        if name not in EXPORTS:
            raise UsageError(
                f"{target.name} does not say which format", "", f"Formats: {', '.join(EXPORTS)}."
            )

        def work() -> bytes:
            whole = self._core.document.whole(history=holds_history(name))
            source = source_of(whole, target.stem)
            return exported(source, name, ExportOptions(every=every))

        write_file(target, self._call(work))

    def _travel(
        self, label: Callable[[], str | None], go: Callable[[], Change | None]
    ) -> str | None:
        def work() -> str | None:
            named = label()
            return named if go() is not None else None

        return self._call(work)

    def _call(self, work: Callable[[], T]) -> T:
        self._core.check_open()
        return self._thread.call(work)
