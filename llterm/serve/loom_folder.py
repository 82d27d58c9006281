"""The looms of one folder, by title: what a server lists, opens, makes, renames and deletes.

A title is a file's name without its ending, in this folder; no path comes from the network.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from llterm.errors import UsageError
from llterm.formats.imports import Imported, import_file
from llterm.serve.api_errors import ApiError
from llterm.serve.loom_weaves import LoomWeaves
from llterm.serve.served_loom import IDLE_SECONDS, ServedLoom
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.loom_summary import LoomSummary, read_summary

MOST_OPEN = 32
"""Looms; beyond, those that nobody needs now are closed, the one asked for longest ago first."""
MOST_LISTED = 1000
Result = TypeVar("Result")


class LoomFolder:
    """All looms of a folder."""

    def __init__(self, folder: Path, idle_seconds: float = IDLE_SECONDS) -> None:
        self._folder = folder
        self._idle_seconds = idle_seconds
        self._open: OrderedDict[str, ServedLoom] = OrderedDict()
        self._turn = asyncio.Lock()
        self.weaves = LoomWeaves()

    async def list(self, after: str, limit: int) -> tuple[Sequence[LoomSummary], bool]:
        """Those whose titles come after this one, by title; whether there are more."""
        return await asyncio.to_thread(self._list, after, limit)

    def _list(self, after: str, limit: int) -> tuple[Sequence[LoomSummary], bool]:
        paths = (path for path in self._folder.glob("*.loom") if path.is_file())
        names = sorted(path.stem for path in paths if path.stem > after)
        return [read_summary(self._path(name)) for name in names[:limit]], len(names) > limit

    async def deleted(self) -> Sequence[str]:
        """The titles of those that can be restored, the one deleted last first."""
        gone = await asyncio.to_thread(looms.deleted)
        return list(dict.fromkeys(each.origin.stem for each in gone if self._was_here(each)))

    async def get(self, title: str) -> ServedLoom:
        """An open loom. Raises ApiError (404), LltermError."""
        async with self._turn:
            return await self._get(title)

    async def create(self, title: str, begin: Callable[[], Document]) -> None:
        """A new one, begun so. Raises ApiError (409) where there is one of this title."""
        path = self._path(title)

        def make() -> None:
            self._check_free(path)
            begin().copy_to(path)

        async with self._turn:
            await asyncio.to_thread(make)

    async def take_in(self, title: str, data: bytes, format: str | None) -> Imported:
        """One made of another program's file. Raises ApiError, UsageError."""
        path = self._path(title)

        def make() -> Imported:
            self._check_free(path)
            return import_file(data, title, format, path)

        async with self._turn:
            return await asyncio.to_thread(make)

    async def rename(self, title: str, other: str) -> None:
        """Give one another title. Raises ApiError (404, 409)."""
        self._path(other)
        if title == other:
            await self.get(title)
            return
        async with self._turn:
            await self._closed(title)
            self._check_free(self._path(other))
            await asyncio.to_thread(_told, lambda: looms.rename(self._path(title), other))

    async def delete(self, title: str) -> None:
        """Move one to llterm's trash. Raises ApiError (404, 409)."""
        async with self._turn:
            await self._closed(title)
            await asyncio.to_thread(_told, lambda: looms.delete(self._path(title)))

    async def restore(self, title: str) -> str:
        """Bring back the one of this title that was deleted last. Returns its title now. Raises
        ApiError (404)."""
        path = self._path(title)

        def restore() -> str:
            for gone in looms.deleted():
                if self._was_here(gone) and gone.origin.name == path.name:
                    return looms.restore(gone).stem
            raise _nothing(title)

        async with self._turn:
            return await asyncio.to_thread(restore)

    async def close(self) -> None:
        """Close all."""
        while self._open:
            await self._open.popitem()[1].close()

    # --- inner workings

    def _path(self, title: str) -> Path:
        """Where a loom of this title is. Raises ApiError for what is no title."""
        try:
            name = looms.file_name(title)
        except UsageError as error:
            raise ApiError(400, error.title, error.cause, error.hint, param="title",
                           code="invalid_value") from error  # fmt: skip
        if name != f"{title}.loom":
            raise ApiError(400, f"{title[:100]!r} is no title", "It begins or ends with a space, or"
                           " ends in .loom.", param="title", code="invalid_value")  # fmt: skip
        return self._folder / name

    def _check_free(self, path: Path) -> None:
        if path.exists():
            raise ApiError(409, f"There is a loom {path.stem} already", "", "Choose another title.",
                           param="title", code="loom_exists")  # fmt: skip

    def _was_here(self, gone: looms.Deleted) -> bool:
        return gone.origin.parent == self._folder

    async def _get(self, title: str) -> ServedLoom:
        served = self._open.get(title)
        if served is not None and not served.in_place:
            del self._open[title]
            await served.close()
            served = None
        if served is None:
            path = self._path(title)
            if not path.is_file():
                raise _nothing(title)
            served = self._open[title] = await ServedLoom.open(path, self._idle_seconds)
        self._open.move_to_end(title)
        for name in [name for name, each in self._open.items() if each.idle and each != served]:
            if len(self._open) > MOST_OPEN:
                await self._open.pop(name).close()
        return served

    async def _closed(self, title: str) -> None:
        """See that one is there, and that this server has it open no more."""
        if not self._path(title).is_file():
            raise _nothing(title)
        if (served := self._open.pop(title, None)) is not None:
            await served.close()


def _told(work: Callable[[], Result]) -> Result:
    """Do this; that somebody has the loom open is a conflict."""
    try:
        return work()
    except UsageError as error:
        raise ApiError(409, error.title, error.cause, error.hint, code="loom_locked",
                       headers={"x-should-retry": "false"}) from error  # fmt: skip


def _nothing(title: str) -> ApiError:
    return ApiError(404, f"There is no loom {title[:100]!r}", "", "/v1/llterm/looms lists them.",
                    code="loom_not_found")  # fmt: skip


def folder_of(path: Path) -> Path:
    """The folder, which is made where there is none. Raises LltermError."""
    folder = path.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be a folder of looms", f"{error.strerror}.",
                         "Choose another with --looms.") from error  # fmt: skip
    return folder
