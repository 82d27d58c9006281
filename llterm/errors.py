"""Every error a person can cause. Imports nothing of llterm.

    LltermError                 1   something failed
    ├── UsageError              2   flags, configuration, an input file that cannot be read
    │   └── ConfigError         2   names file, line, key and the nearest valid one
    ├── BackendUnavailable      3   could not be reached or stopped answering; retryable
    ├── ModelError              4   a model could not be found or loaded
    ├── CapabilityMissing       5   this model or server cannot do what was asked
    ├── ConditionFailed         6   a required condition did not hold
    └── Interrupted           130   the person stopped it

The number is the exit code. A title says what happened in a few words, `cause` why, `hint` what
to do now.
"""

from __future__ import annotations

import re
from typing import Self

_ENDS = re.compile(r"(?<![./\s])([.!?:…])\s*\.$")
"""A full stop after the end of a sentence; neither an ellipsis of dots nor a path such as `..`."""


class LltermError(Exception):
    """An error to show a person: what happened, why, and what to do."""

    exit_code = 1
    retryable = False

    def __init__(self, title: str, cause: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.cause = _ended_once(cause)
        self.hint = _ended_once(hint)

    def reworded(self, title: str, cause: str | None = None) -> Self:
        """The same error, of the same kind and exit code, in other words."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        LltermError.__init__(other, title, self.cause if cause is None else cause, self.hint)
        return other

    def __str__(self) -> str:
        return "\n".join(part for part in (self.title, self.cause, self.hint) if part)


def reason(error: OSError) -> str:
    """What the system says of it, without a full stop."""
    return (error.strerror or str(error)).removesuffix(".")


def _ended_once(text: str) -> str:
    """A sentence with one end: what others say, and is quoted at ours, often has its own."""
    return _ENDS.sub(lambda ends: ends.group(1), text)


class UsageError(LltermError):
    """Wrong flags, or an input that cannot be read."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration says something that llterm does not understand."""


class BackendUnavailable(LltermError):
    """A backend could not be reached or stopped answering; trying again may help."""

    exit_code = 3
    retryable = True


class ModelError(LltermError):
    """A model could not be found or loaded."""

    exit_code = 4


class CapabilityMissing(LltermError):
    """The model or server in use cannot do what was asked."""

    exit_code = 5


class ConditionFailed(LltermError):
    """A condition that the person required did not hold."""

    exit_code = 6


class Interrupted(LltermError):
    """The person stopped the work."""

    exit_code = 130
