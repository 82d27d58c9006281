"""The last log lines in memory, for the log screen."""

from __future__ import annotations

import logging
from collections import deque

from llterm.core.display import area_text

MOST = 500


class LogBuffer(logging.Handler):
    """Keeps formatted records, made inert: they may quote a file or a model."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=MOST)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(area_text(self.format(record)).splitlines())


LOG_BUFFER = LogBuffer()


def listen() -> None:
    """Hear what the package logs. Once is enough; again does nothing."""
    logger = logging.getLogger("llterm")
    if LOG_BUFFER not in logger.handlers:
        logger.addHandler(LOG_BUFFER)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
