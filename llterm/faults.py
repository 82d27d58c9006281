"""Faults of llterm's own: told as any error is, with the traceback in the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from llterm import paths
from llterm.errors import LltermError
from llterm.regular_file import refused

log = logging.getLogger(__name__)
_SHOWN = 200
_HINT = "Please report it, with what the log says of it."


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
        raise refused(error) from error
    except Exception as error:
        raise own_fault(error, work) from error


def unforeseen(title: str, error: BaseException, *, words: bool = False) -> OwnFault:
    """What to tell, under this title, of an error that nobody expected where others may hear of it:
    its kind, and in the log where in the code it happened. `words`: its own too, which may hold a
    text that is for one person's eyes."""
    kind = type(error).__name__
    if words:
        log.error("%s", title, exc_info=error)
        return OwnFault(title, f"{kind}: {str(error)[:_SHOWN]}", _HINT)
    log.error("%s: %s\n%s", title, kind, "".join(traceback.format_tb(error.__traceback__)))
    return OwnFault(title, f"{kind}.", _HINT)


def own_fault(error: Exception, work: str) -> OwnFault:
    """What to tell of an error that nobody expected, whose traceback goes to the log."""
    log.error("a fault while %s", work, exc_info=error)
    path = paths.log_file()
    return OwnFault(
        "This is a fault of llterm's own",
        f"While {work}: {type(error).__name__}: {str(error)[:_SHOWN]}.",
        f"Please report it, with the end of {path}."
        if path.is_file()
        else "Name a folder for the log with LLTERM_STATE_DIR, and try again: it says more then.",
    )
