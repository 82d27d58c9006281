"""A session's errors in words: what makes no sense now, and what no one foresaw."""

from __future__ import annotations

from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.session.status import Status


def unforeseen(title: str, fault: Exception) -> LltermError:
    """What else went wrong; who catches it writes it to the log."""
    return LltermError(title, f"{type(fault).__name__}: {fault}", "See the log.")


def no_model(status: Status) -> LltermError:
    """There is no model: because one failed, or is being loaded, or none was chosen."""
    if status.state == "loading":
        return BackendUnavailable(
            "No model is ready", "It is still being loaded.", "Wait for it, or choose another one."
        )
    return status.error or BackendUnavailable(
        "No model is in use", "", "Choose one in the list of models."
    )


def not_current(*, foreign: bool) -> UsageError:
    """The suggestions on show are not of this model, or not of this place."""
    if foreign:
        return UsageError(
            "These suggestions are of another model", "It is not in use now.", "Weave again."
        )
    return UsageError(
        "These suggestions belong to another text",
        "The story or the cursor has changed since they were woven.",
        "Weave again, or undo.",
    )


def cannot_stand() -> UsageError:
    """A token that is to be forced where it cannot be."""
    return UsageError(
        "This token cannot stand here",
        "It is no text, or the place is in the middle of a character.",
        "Choose another one.",
    )
