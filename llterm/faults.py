"""Faults of llterm's own: told as any error is, with the traceback in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from llterm import paths
from llterm.errors import LltermError

log = logging.getLogger(__name__)
_SHOWN = 200


class OwnFault(LltermError):
    """llterm failed where it should not have."""


@contextmanager
def own_faults(work: str) -> Iterator[None]:
    """What is raised unexpectedly becomes an OwnFault, and what the system refused an LltermError.

    `work` says what llterm was at, as in "while the page was written".
    """
    try:
        yield
    except LltermError:
        raise
    except OSError as error:
        raise LltermError(
            "The system refused something",
            f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}.",
            "Check the path, its permissions, and that the disk has room.",
        ) from error
    except Exception as error:
        _note(work)
        raise OwnFault(
            "This is a fault of llterm's own",
            f"While {work}: {type(error).__name__}: {str(error)[:_SHOWN]}.",
            f"Please report it, with the end of {paths.state_dir() / 'llterm.log'}.",
        ) from error


def _note(work: str) -> None:
    """Put the traceback into the log: a command that has begun none must not print it instead."""
    if log.hasHandlers():
        log.exception("a fault while %s", work)
        return
    with suppress(OSError, LltermError):
        handler = logging.FileHandler(paths.log_file(), encoding="utf-8", errors="replace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        try:
            log.exception("a fault while %s", work)
        finally:
            log.removeHandler(handler)
            handler.close()
