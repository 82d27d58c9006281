"""Renders chat templates, in a process of its own that may be killed; begun by its path alone.

Its arguments are the folders of its packages. Reads a question a line from standard input and
writes an answer a line, both JSON, until its input ends. A template comes from strangers: it runs
in Jinja's sandbox, sees the chat alone, and has bounded processor time, memory and text. Imports
nothing of llterm: the first answer waits for what is imported here.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

sys.path += sys.argv[1:]

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 1.0
"""Processor time of a render."""
MEMORY = 256 << 20
"""Bytes of address space, this interpreter's own among them."""
TEXT = 1 << 16
"""Characters of a rendered chat beside twice what was asked."""
_TOLD = 400
"""Characters of an error that are told."""


class TooLong(Exception):
    """The text is longer than any chat."""


def main() -> None:
    """Answer until the input ends."""
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS bounds no address space.
            resource.setrlimit(kind, (most, most))
    for line in sys.stdin.buffer:
        # The default of SIGPROF ends a process, whatever it is in the middle of.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = _answer(line)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(line: bytes) -> dict[str, str]:
    try:
        asked = json.loads(line)
        pieces = _compiled(asked["template"]).generate(**asked["seen"])
        return {"text": _joined(pieces, TEXT + 2 * len(line))}
    except TooLong:
        return {"limit": f"it wrote {TEXT:,} characters more than there are to write"}
    except MemoryError:
        return {"limit": f"it wanted more than {MEMORY >> 20} MB of memory"}
    except RecursionError:
        return {"limit": "it calls itself without end, or is nested too deeply"}
    except Exception as fault:  # noqa: BLE001  (a template may raise whatever its values raise)
        return {"error": str(fault)[:_TOLD] or type(fault).__name__}


def _joined(pieces: Iterable[str], room: int) -> str:
    joined: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise TooLong
        joined.append(piece)
    return "".join(joined)


class GenerationBlock(Extension):
    """`{% generation %}`: around what the assistant says, for training; of no meaning here."""

    tags = {"generation"}  # noqa: RUF012  (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=2)
def _compiled(template: str) -> Any:
    """Ready to render, with what Hugging Face's library gives templates."""

    def refuse(message: object) -> None:
        raise TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", GenerationBlock],
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = time.strftime
    environment.filters["tojson"] = lambda value, **how: json.dumps(
        value, ensure_ascii=False, indent=how.get("indent")
    )
    environment.filters["safe"] = str  # A chat is no page: nothing is escaped.
    return environment.from_string(template)


if __name__ == "__main__":
    main()
