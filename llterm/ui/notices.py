"""How errors are told: a notice with title, cause and hint and a line in the log, or a sentence.

The last lines of the log are kept for the log screen.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from textual.dom import DOMNode

from llterm.core.display_text import area_text
from llterm.errors import LltermError
from llterm.faults import own_faults

log = logging.getLogger(__name__)

_ENDS = (".", "?", "!", "…")


@contextmanager
def troubles(node: DOMNode, tell: Callable[[LltermError], object] | None = None) -> Iterator[None]:
    """Tell errors of a command, faults of llterm's own too; the app goes on.

    `tell` takes the place of a notice.
    """
    try:
        with own_faults("the app did what was asked"):
            yield
    except LltermError as error:
        if tell is None:
            show_trouble(node, error)
        else:
            tell(error)


def show_trouble(node: DOMNode, error: LltermError) -> None:
    """A notice of the app that `node` is in, and a line in the log."""
    log.warning("%s", error)
    lines = [part for part in (error.cause, error.hint) if part]
    node.app.notify(
        "\n".join(lines) or " ", title=error.title, severity="warning", markup=False, timeout=8
    )


def sentences_of(error: LltermError) -> str:
    """Title, cause and hint on one line."""
    parts = [part for part in (error.title, error.cause, error.hint) if part]
    return " ".join(part if part.endswith(_ENDS) else f"{part}." for part in parts)


def refusal(error: LltermError) -> str:
    """The line of a dialog that says why something that was typed cannot be."""
    return f"✗ {sentences_of(error)}"


MOST = 500


class LogBuffer(logging.Handler):
    """Keeps formatted records, made inert: they may quote a file or a model."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=MOST)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(area_text(self.format(record)).splitlines())

    def listen(self) -> None:
        """Hear what the package logs. Once is enough; again does nothing."""
        logger = logging.getLogger("llterm")
        if self not in logger.handlers:
            logger.addHandler(self)
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.INFO)


LOG_BUFFER = LogBuffer()
