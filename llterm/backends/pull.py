"""Brings a model from the hub onto this machine: resumable, checked, whole or not there at all.

Bytes go into a part file named after the checksum; the next pull of the same file goes on where it
ends, after whatever ended it. Only a file with the hub's checksum gets its name. The hub's own
`hf_hub_download` keeps whole blocks of 10 MB alone, compares no checksum, lets a second pull wait
unseen, and leaves files of its own beside the model.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from llterm import paths
from llterm.backends.caches import find_files
from llterm.backends.hub import PATIENCE, RemoteFile, RemoteModel, endpoint, hub_errors, library
from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.errors import BackendUnavailable, LltermError, ModelError, UsageError, reason

SPARE = 64 << 20
"""Bytes that stay free on the disk."""
TRIES = 4
"""How often a connection may bring nothing before the pull gives up."""
PAUSE = 1.0
"""Seconds between two tries."""
MOST = 50 * 10**9
"""Bytes of the largest file that the hub hands out over plain HTTP."""
_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Progress = Callable[[int, int], None]
"""Told bytes that are here, and bytes in all."""


def folder_of(repository: str) -> Path:
    """The folder of a repository's files."""
    return paths.models_dir() / repository


def here_already(model: RemoteModel) -> Path | None:
    """This very model where some program keeps it on this machine; None where none does."""
    for file in find_files():
        if (file.owner, file.name, file.size) == (model.repository, model.name, model.size):
            return file.path
    return None


def repositories_here() -> set[str]:
    """Repositories of which some program keeps a model on this machine, in lower case."""
    return {file.owner.lower() for file in find_files()}


def pull(model: RemoteModel, progress: Progress | None = None) -> Path:
    """Fetch every part. Returns the path to open.

    Raises UsageError where another llterm is at it, ModelError for a wrong checksum, LltermError
    without room, BackendUnavailable where the hub fails. What came stays for the next pull.
    """
    folder = folder_of(model.repository)
    targets = [folder / PurePosixPath(file.name) for file in model.files]
    _check_room(model, targets)
    done = 0
    for file, target in zip(model.files, targets, strict=True):
        if not target.exists():
            paths.made(target.parent)
            before = done

            def tell(size: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + size, model.size)

            _fetch(model, file, target, tell)
        done += file.size
    inspect_gguf(targets[0])
    return targets[0]


class PartFile:
    """The part file of one download: hashes what is written, and what was there before."""

    def __init__(self, target: Path, wanted: RemoteFile, tell: Callable[[int], None]) -> None:
        """Opens it and keeps others out. Raises UsageError where another llterm writes it."""
        self._wanted = wanted
        self._tell = tell
        mark = (wanted.sha256 or wanted.blob)[:16] or "unchecked"
        self.path = target.with_name(f".{target.name}.{mark}.part")
        for other in target.parent.glob(f".{target.name}.*.part"):
            if other != self.path:
                other.unlink()  # Of an older version of the file.
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UsageError(
                f"{target.name} is being pulled already", "Another llterm is at it.", "Wait for it."
            ) from None
        self.size = 0
        self._digest = self._begun()
        self._take_in()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)
        self._tell(self.size)

    def restart(self) -> None:
        """Throw away what is there: the hub would not go on from the middle."""
        self._file.seek(0)
        self._file.truncate()
        self.size, self._digest = 0, self._begun()

    def finish(self, target: Path) -> None:
        """Check and give it its name. Raises ModelError where it is not what the hub has."""
        self._file.flush()
        os.fsync(self._file.fileno())
        wanted = self._wanted.sha256 or self._wanted.blob
        if self.size != self._wanted.size or (wanted and self._digest.hexdigest() != wanted):
            self.path.unlink()
            raise ModelError(
                f"{target.name} came damaged",
                "Its checksum is not the one that the hub gives for it; it was thrown away.",
                "Pull it again. If that repeats, something on the way changes it.",
            )
        self.path.replace(target)

    def close(self) -> None:
        """Let others write it; an empty one goes."""
        self._file.close()
        if not self.size:
            self.path.unlink(missing_ok=True)

    def _begun(self) -> hashlib._Hash:
        """The hub's checksum: SHA-256 of the contents, or git's id of a blob."""
        if self._wanted.sha256 or not self._wanted.blob:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self._wanted.size, usedforsecurity=False)

    def _take_in(self) -> None:
        """Hash what an earlier pull left."""
        while block := self._file.read(_BLOCK):
            self._digest.update(block)
            self.size += len(block)
        if self.size > self._wanted.size:
            self.restart()


def _fetch(
    model: RemoteModel, wanted: RemoteFile, target: Path, tell: Callable[[int], None]
) -> None:
    """One file, cut connections and all."""
    part = PartFile(target, wanted, tell)
    with closing(part), _disk_errors(target), hub_errors(model.repository):
        import httpx2

        url = library().hf_hub_url(
            model.repository, wanted.name, revision=model.commit, endpoint=endpoint()
        )
        fruitless = 0
        while part.size < wanted.size:
            before = part.size
            try:
                _receive(url, part, wanted.size)
            except httpx2.TransportError:
                if fruitless == TRIES:
                    raise
            fruitless = 0 if part.size > before else fruitless + 1
            if fruitless > TRIES:
                raise BackendUnavailable(
                    f"The hub sends nothing more of {target.name}",
                    f"{part.size:,} of {wanted.size:,} bytes came.",
                    "They stay; the same command goes on from there.",
                )
            if fruitless:
                time.sleep(PAUSE)
        part.finish(target)


def _receive(url: str, part: PartFile, size: int) -> None:
    """The bytes after those that are there, as far as they come."""
    utils = library().utils
    headers = utils.build_hf_headers(library_name="llterm") | {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    # A redirect to another host goes there without the token: the client sees to that.
    with utils.get_session().stream("GET", url, headers=headers, timeout=PATIENCE) as answer:
        if answer.is_error:
            answer.read()
        utils.hf_raise_for_status(answer)
        if part.size and answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.restart()
        for data in answer.iter_raw():
            part.write(data)
            if part.size > size:
                return


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """Tell the disk's errors, while a file is written, in llterm's words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise LltermError(
                "The disk is full",
                f"{target.name} did not fit into {target.parent}.",
                "Make room; the same command goes on from where it stopped.",
            ) from error
        raise LltermError(
            f"{target.name} could not be written",
            f"{target.parent}: {reason(error)}.",
            "Check the disk and the folder's permissions; what came stays.",
        ) from error


def _check_room(model: RemoteModel, targets: list[Path]) -> None:
    """Raises LltermError where the disk cannot hold what is still missing."""
    if any(file.size > MOST for file in model.files):
        raise ModelError(
            f"{model.name} is too large to be pulled",
            "The hub hands out files over 50 GB only to its own program.",
            f"`hf download {model.repository} {model.files[0].name}`: llterm finds it then.",
        )
    missing = 0
    for file, target in zip(model.files, targets, strict=True):
        parts = target.parent.glob(f".{target.name}.*.part")
        missing += 0 if target.exists() else file.size - sum(path.stat().st_size for path in parts)
    folder = targets[0].parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and missing + SPARE > free:
        raise LltermError(
            f"There is no room for {model.name}",
            f"{missing / 1e9:,.2f} GB are missing; {free / 1e9:,.2f} GB are free in {folder}.",
            "Make room, choose a smaller quantisation, or name another folder: LLTERM_DATA_DIR.",
        )
