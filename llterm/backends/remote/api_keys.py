"""Keys to servers: where they come from, and how they stay out of everything that is shown or kept.

A key is read once, when a server is opened. It lives in a `Secret`, which shows itself nowhere, and
is put into a request only as that is sent.
"""

from __future__ import annotations

import hmac
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from llterm.config.server_settings import ServerSettings
from llterm.errors import UsageError, reason
from llterm.regular_file import open_file

COMMAND_SECONDS = 60.0
"""A password manager may ask its person something first."""
SHORTEST_HIDDEN = 8
"""Shorter keys ("none", "EMPTY") guard nothing, and are words of any text."""
_HIDDEN = "***"
_MOST_BYTES = 1 << 16


class Secret:
    """A key. Only `sign` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never kept")

    @property
    def mistake(self) -> str:
        """Why this cannot be a key; empty where it can."""
        if not self._value:
            return "it is empty"
        if not self._value.isascii() or not self._value.isprintable() or " " in self._value:
            return "it is not one word of plain characters"
        return ""

    def sign(self, request: Any) -> Any:
        """Put the key into a request; given to the HTTP client as its way of authentication."""
        request.headers["Authorization"] = f"Bearer {self._value}"
        return request

    def is_same(self, given: str | Secret) -> bool:
        """Whether this is the key, in a time that does not depend on how much of it is right."""
        given = given._value if isinstance(given, Secret) else given
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._value.encode())

    def hide(self, text: str) -> str:
        """A text without the key in it, as it stands or as JSON writes it."""
        if len(self._value) < SHORTEST_HIDDEN:
            return text
        for form in (self._value, self._value.replace("/", "\\/")):
            text = text.replace(form, _HIDDEN)
        return text


def hidden(key: Secret | None, value: Any) -> Any:
    """Parsed JSON without the key in any of its texts or names."""
    if key is None:
        return value
    if isinstance(value, str):
        return key.hide(value)
    if isinstance(value, list):
        return [hidden(key, entry) for entry in value]
    if isinstance(value, Mapping):
        return {key.hide(name): hidden(key, entry) for name, entry in value.items()}
    return value


def source_of(settings: ServerSettings) -> str:
    """Where the key comes from, for people; empty where there is none."""
    if settings.key_env:
        return f"the variable {settings.key_env}"
    if settings.key_file:
        return f"the file {settings.key_file}"
    return f"the command {settings.key_command[0]}" if settings.key_command else ""


def read_key(settings: ServerSettings) -> Secret | None:
    """The key that these settings name, or None where they name none.

    May wait for a command: not for an event loop. Raises UsageError, which names the source and
    never shows what was found there.
    """
    if settings.key_env:
        if settings.key_env not in os.environ:
            raise _no_key(settings, "It is not set", "Set it, in the shell that starts llterm.")
        key = Secret(os.environ[settings.key_env].strip())
    elif settings.key_file:
        key = _from_file(settings, settings.key_file)
    elif settings.key_command:
        key = _from_command(settings)
    else:
        return None
    if key.mistake:
        raise _no_key(settings, f"What it gives cannot be a key: {key.mistake}", "")
    return key


def _from_file(settings: ServerSettings, path: Path) -> Secret:
    try:
        with open_file(path) as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & 0o077:
                raise _no_key(
                    settings, "Others can read it, or it is not yours", f"chmod 600 {path}"
                )
            return Secret(file.read(_MOST_BYTES).decode("utf-8", "replace").strip())
    except OSError as error:
        raise _no_key(settings, reason(error), "Correct key_file.") from None


def _from_command(settings: ServerSettings) -> Secret:
    try:
        code, key = _printed(settings.key_command)
    except subprocess.TimeoutExpired:
        # Without the cause: it holds what the command had printed.
        raise _no_key(settings, f"It took longer than {COMMAND_SECONDS:.0f} s", "") from None
    except OSError as error:
        raise _no_key(settings, reason(error), "Correct key_command.") from None
    if code:
        # What it said stays unsaid: nobody knows what is in it.
        hint = "Run it in a terminal to see why."
        raise _no_key(settings, f"It ended with code {code}", hint)
    return key


def _printed(command: tuple[str, ...]) -> tuple[int, Secret]:
    """A command's exit code and output; in a frame of its own, which no error of ours shows."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, Secret(done.stdout[:_MOST_BYTES].decode("utf-8", "replace").strip())


def _no_key(settings: ServerSettings, cause: str, hint: str) -> UsageError:
    return UsageError(f"There is no key from {source_of(settings)}", f"{cause}.", hint)
