"""The last log lines in memory, for the log screen."""

from __future__ import annotations

import logging
from collections import deque

from llterm.core.display import area_text

MOST = 500


class Journal(logging.Handler):
    """Keeps formatted records, made inert: they may quote a file or a model."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=MOST)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(area_text(self.format(record)).splitlines())


JOURNAL = Journal()


def listen() -> None:
    """Hear what the package logs. Once is enough; again does nothing."""
    logger = logging.getLogger("llterm")
    if JOURNAL not in logger.handlers:
        logger.addHandler(JOURNAL)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
