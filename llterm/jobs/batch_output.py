"""The files of a batch: results, a line as each row ends; what failed; and how it was begun.

A run that is killed leaves whole lines, and one torn line at the most, which the next run drops.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from llterm.core.batch_row import SEEDS
from llterm.core.display_text import label_text
from llterm.core.json_text import json_text, parsed
from llterm.errors import LltermError, UsageError, reason
from llterm.jobs.batch_plan import id_digest
from llterm.json_file import read_json
from llterm.regular_file import open_file, present
from llterm.whole_file import write_whole

MOST_BYTES = 1 << 30
"""Of a line that is read again."""
_MOST_HEADER = 1 << 24
VERSION = 1
Header = Mapping[str, Mapping[str, Any]]
"""What a run was begun with: `model`, `settings` and `input`, each as names and JSON values."""


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Where a batch is written."""

    results: Path

    @property
    def errors(self) -> Path:
        """Rows that failed in the last run."""
        return self._beside("errors")

    @property
    def duplicates(self) -> Path:
        """Results that were taken out because another one says the same."""
        return self._beside("duplicates")

    @property
    def header(self) -> Path:
        """How the run was begun."""
        return self.results.with_name(f"{self.results.stem}.run.json")

    def _beside(self, what: str) -> Path:
        return self.results.with_name(f"{self.results.stem}.{what}{self.results.suffix}")


class BatchOutput:
    """The results so far, open for more of them."""

    def __init__(self, files: BatchFiles, handle: int) -> None:
        """`handle`: the file of results, which it closes."""
        self.files = files
        self.seed = 0
        """Of the run, from its first start on."""
        self.done: set[bytes] = set()
        """Digests of the ids that have results."""
        self._handle = handle
        self._errors: int | None = None

    def write(self, line: str) -> None:
        """A result, handed to the system when this returns. Raises LltermError."""
        _append(self._handle, line, self.files.results)

    def fail(self, line: str) -> None:
        """A row that failed. Raises LltermError."""
        if self._errors is None:
            self._errors = _opened(self.files.errors)
        _append(self._errors, line, self.files.errors)

    def lock(self) -> None:
        """Keep other runs away until it is closed. Raises UsageError where one is there."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another run writes {self.files.results.name}",
                "",
                "Wait for its end, or choose another name with -o.",
            ) from error

    def close(self) -> None:
        """Let another run have the files."""
        os.close(self._handle)
        if self._errors is not None:
            os.close(self._errors)


@contextmanager
def opened_output(
    files: BatchFiles, header: Header, seed: int | None, *, accept_changes: bool
) -> Iterator[BatchOutput]:
    """The results so far, to go on with; a new run where there are none.

    `seed`: of the run; None: the one that it was begun with, or one by chance. Raises UsageError
    where it was begun otherwise, unless `accept_changes`, where another run writes it, or where a
    file is none of ours; LltermError where nothing can be written.
    """
    begun = begun_run(files)
    output = BatchOutput(files, _opened(files.results))
    try:
        _begin(output, header, seed, begun, accept_changes=accept_changes)
        yield output
    finally:
        output.close()


def _begin(
    output: BatchOutput,
    header: Header,
    seed: int | None,
    begun: Mapping[str, Any],
    *,
    accept_changes: bool,
) -> None:
    files = output.files
    try:
        output.lock()
        end = _take_in(files.results, output.done)
        torn = end < files.results.stat().st_size
        if torn and not begun:
            raise _no_result(files.results, "Its last line is cut short, or none of a batch's.")
        if present(files.duplicates):
            _take_in(files.duplicates, output.done)
        kept = begun.get("seed")
        output.seed = seed if seed is not None else kept if isinstance(kept, int) else new_seed()
        header = {**header, "settings": {**header["settings"], "seed": output.seed}}
        if output.done and not accept_changes:
            _check_same(files, begun, header)
        if not begun and present(files.errors):
            raise UsageError(
                f"{files.errors} is there already",
                "No batch is known that wrote it.",
                "Move it away, or choose another name with -o.",
            )
        if torn:
            os.truncate(files.results, end)
        whole = {"version": VERSION, "seed": output.seed, **header}
        write_whole(files.header, (json_text(whole, indent=2) + "\n").encode())
        # What failed is asked again.
        files.errors.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritten(files.results, error) from error


def new_seed() -> int:
    """A seed by chance."""
    return secrets.randbelow(SEEDS)


class ResultLine(NamedTuple):
    """A line of a file of results."""

    start: int
    """Of its first byte."""
    data: bytes
    """With its line break."""
    result: Mapping[str, Any]


def result_lines(path: Path) -> Iterator[ResultLine]:
    """The results of a file that llterm wrote. Raises UsageError for another line, unless nothing
    follows it: that one is torn. Raises OSError."""
    with open_file(path) as file:
        start = 0
        for number in count(1):
            data = file.readline(MOST_BYTES)
            if not data:
                return
            result = _result(data)
            if result is None:
                if file.read(1):
                    raise _no_result(path, f"Line {number:,} has no custom_id, or is no JSON.")
                return
            yield ResultLine(start, data, result)
            start += len(data)


def _no_result(path: Path, cause: str) -> UsageError:
    return UsageError(
        f"{path.name} is no file of results",
        cause,
        "Is this the right file? Choose another name with -o.",
    )


def _result(data: bytes) -> Mapping[str, Any] | None:
    """What a line says; None for a torn one, or no result."""
    if not data.endswith(b"\n"):
        return None
    try:
        value = parsed(data.decode())
    except ValueError:
        return None
    sound = isinstance(value, dict) and isinstance(value.get("custom_id"), str)
    return value if sound else None


def _take_in(path: Path, ids: set[bytes]) -> int:
    """Take in the ids of the results. Returns where the last whole line ends."""
    end = 0
    for line in result_lines(path):
        ids.add(id_digest(line.result["custom_id"]))
        end = line.start + len(line.data)
    return end


def _check_same(files: BatchFiles, begun: Mapping[str, Any], header: Header) -> None:
    if not begun:
        raise UsageError(
            f"{files.results} is there, and not how it was begun",
            f"{files.header.name} says so of a batch.",
            "Choose another name with -o, or --accept-changes to go on with it in any case.",
        )
    changes = []
    for table, values in header.items():
        kept = begun.get(table)
        kept = kept if isinstance(kept, dict) else {}
        changes += [
            f"{table}.{name} was {_shown(kept.get(name))} and is {_shown(values.get(name))}"
            for name in dict.fromkeys((*kept, *values))
            if kept.get(name) != values.get(name)
        ]
    if changes:
        more = f"; and {len(changes) - 4} more" if len(changes) > 4 else ""
        raise UsageError(
            f"{files.results.name} was begun otherwise",
            "; ".join(changes[:4]) + more + ".",
            "Choose another name with -o, or --accept-changes to go on with it as it is now.",
        )


def _shown(value: Any) -> str:
    text = label_text(json_text(value, ascii=False))
    return text if len(text) <= 60 else text[:59] + "…"


def begun_run(files: BatchFiles) -> Mapping[str, Any]:
    """How the run was begun; empty where there is none, or that is not known."""
    if not present(files.results):
        return {}
    try:
        value = read_json(files.header, _MOST_HEADER)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _opened(path: Path) -> int:
    """A handle that adds to a file. Raises LltermError."""
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, how, 0o666)
    except (OSError, ValueError) as error:
        told = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise _unwritten(path, told) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _unwritten(path, OSError(errno.EINVAL, "It is no ordinary file"))
    return handle


def _append(handle: int, line: str, path: Path) -> None:
    data = line.encode() + b"\n"
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> LltermError:
    return LltermError(
        f"{path} cannot be written",
        f"{reason(error)}.",
        "Check the folder and its space. What is done is kept: the same command goes on.",
    )
