"""The story in the person's own editor ($VISUAL, $EDITOR)."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from llterm.errors import LltermError, UsageError, reason


def editor_command() -> list[str]:
    """The editor's command line. Raises UsageError when none is set or it cannot be read."""
    line = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        command = shlex.split(line)
    except ValueError as error:
        raise UsageError("$EDITOR cannot be read", str(error), "Check its quotes.") from error
    if not command:
        raise UsageError("No editor is set", "", "Set EDITOR, for example EDITOR=nano.")
    return command


def edit_outside(app: App[object], text: str) -> str | None:
    """Let the person edit `text`; None when the editor was left without success.

    The app gives the terminal away meanwhile. Raises LltermError when the editor cannot run.
    """
    command = editor_command()
    with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
        path = Path(folder) / "story.txt"
        path.write_text(text, encoding="utf-8", newline="\n")
        try:
            with app.suspend():
                done = subprocess.run([*command, str(path)], check=False)
        except SuspendNotSupported as error:
            raise LltermError(
                "The editor cannot be opened here", "This screen cannot be given away."
            ) from error
        except OSError as error:
            raise UsageError(
                "The editor could not be started",
                f"{command[0]}: {reason(error)}",
                "Check $VISUAL and $EDITOR.",
            ) from error
        if done.returncode:
            raise LltermError(
                "The editor reported a failure",
                f"{command[0]} ended with {done.returncode}; the story is as it was.",
            )
        try:
            edited = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise LltermError("The edited story could not be read", str(error)) from error
    # Most editors end a file with a line break that is not part of the story.
    return edited if text.endswith("\n") else edited.removesuffix("\n")
