"""The process that renders chat templates: begun with the first one, and again whenever it is gone.

What a template does to it, running without end or taking all memory, ends there. It holds no
terminal, no file of the app's, and nothing of its environment, where keys may be.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from llterm.core.display_text import label_text
from llterm.core.json_text import json_text
from llterm.errors import LltermError, ModelError

PATIENCE = 20.0
"""Seconds for an answer; processor time is bounded in the process itself, to much less."""
_CHILD = Path(__file__).with_name("template_child.py")
_INHERITED = ("LANG", "LC_ALL", "LC_TIME", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the interpreter and the date in a template depend on."""
_TOLD = 200
"""Characters of a template's own words that are shown."""


class TemplateProcess:
    """One process; a template at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def render(self, template: str, seen: Mapping[str, object]) -> str:
        """Render a template with what it may see.

        Waits for it, for a second of processor time at most: not to be called on an event loop.
        Raises ModelError where the template fails, or is stopped at a limit.
        """
        question = json_text({"template": template, "seen": seen}, bytes_kept=True).encode() + b"\n"
        with self._lock:
            answer = self._exchange(question)
        if "text" in answer:
            return str(answer["text"])
        if "limit" in answer:
            raise _stopped(answer["limit"])
        raise _failed(f"It says: {label_text(answer['error'])[:_TOLD]}.")

    def end(self) -> None:
        """Kill the process, where there is one; the next template begins another."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _exchange(self, question: bytes) -> Any:
        process = self._ready()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(question)
            process.stdin.flush()
        line = _line(process.stdout)
        if line.endswith(b"\n"):
            answer = json.loads(line)
            if "limit" in answer:
                self.end()  # Who knows what is left of its memory.
            return answer
        ended = process.poll() is not None or not line
        self.end()
        if process.returncode == -signal.SIGPROF or not ended:
            return {"limit": "it did not come to an end"}
        return {"limit": "it ended the process that renders it"}

    def _ready(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self.end()
        if self.process is None:
            self.process = _begun()
        return self.process


def _begun() -> subprocess.Popen[bytes]:
    packages = filter(None, map(find_spec, ("jinja2", "markupsafe")))
    folders = {str(Path(one.origin).parents[1]) for one in packages if one.origin}
    try:
        return subprocess.Popen(
            # Neither the person's environment, nor the working directory, nor site's hooks.
            [sys.executable, "-I", "-S", str(_CHILD), *sorted(folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(f"The process that renders it could not be begun: {error}.") from error


def _line(output: IO[bytes]) -> bytes:
    """A whole line; less where the output ended before, or nothing came for too long."""
    answer = bytearray()
    descriptor = output.fileno()
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not answer.endswith(b"\n"):
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            return bytes(answer) or b"-"
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b""
        answer += part
    return bytes(answer)


def _failed(cause: str) -> LltermError:
    return ModelError(
        "The model's chat template failed",
        cause,
        "Set chat_template of this model to a built-in format, such as chatml.",
    )


def _stopped(why: str) -> LltermError:
    return _failed(f"It was stopped: {why}.")


renderer = TemplateProcess()
atexit.register(renderer.end)
