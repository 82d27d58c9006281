"""`llterm serve`: from typed words to a server, and what is said when it answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.cli.arguments import Values
from llterm.cli.options import serve_flags
from llterm.cli.settings import load
from llterm.config.schema import ServeConfig, setting
from llterm.config.server_settings import ServerSettings
from llterm.core.display_text import label_text
from llterm.core.json_text import json_text
from llterm.errors import UsageError
from llterm.event_loop import run_coroutine
from llterm.number_format import count_of
from llterm.output import ProgressLine, put

if TYPE_CHECKING:
    from llterm.backends.remote.api_keys import Secret
    from llterm.serve.server_run import ServerStart
    from llterm.serve.server_status import ServerStatus

_OF_A_MODEL = ("context", "threads", "gpu_layers", "kernels", "chat_template")
_PROMPT = "Once upon a time"


def serve(values: Values) -> int:
    """Serve until a signal ends it, from a command's parameters. Returns the exit code."""
    from llterm.serve.server_run import ServeRequest, run_server

    config = load(serve_flags(values), values["config"])
    typed = tuple(values["model"] or config.serve.models or (config.model,))
    request = ServeRequest(config, [model_of(each) for each in typed], _keys(config.serve))
    with ProgressLine() as line:

        def begun(start: ServerStart) -> None:
            line.clear()
            put(greeting(start))

        def show(status: ServerStatus) -> None:
            line.say(status_line(status, line.width))

        run_coroutine(run_server(request, line, begun, show if line.on else None))
    return 0


def model_of(typed: str) -> tuple[str, Mapping[str, Any]]:
    """A model as it is typed, `MODEL,key=value…`. Raises UsageError."""
    name, settings = typed, dict[str, Any]()
    while True:
        before, comma, last = name.rpartition(",")
        key, equals, value = last.partition("=")
        if not (comma and equals and key.isidentifier()):
            return name, settings
        if key not in _OF_A_MODEL:
            raise UsageError(f"A model has no {key}", "", f"Known are {', '.join(_OF_A_MODEL)}.")
        try:
            settings[key] = setting(f"models.{key}").parse(value)
        except ValueError as error:
            raise UsageError(f"Wrong value for {key} of {before}", f"{error}.", "") from error
        name = before


def _keys(serve: ServeConfig) -> tuple[Secret, ...]:
    """The keys to ask for. Raises UsageError where one cannot be read."""
    from llterm.backends.remote.api_keys import read_key

    sources = [ServerSettings((), key_env=name) for name in serve.api_key_env]
    if serve.api_key_file is not None:
        sources.append(ServerSettings((), key_file=Path(serve.api_key_file).expanduser()))
    return tuple(key for key in map(read_key, sources) if key is not None)


def greeting(start: ServerStart) -> str:
    """Where it is, and two ways to ask it something."""
    names = [*start.models, *(f"{alias} = {name}" for alias, name in start.aliases.items())]
    named = ", ".join(map(label_text, names))
    if start.file is not None:
        at, curl = str(start.file), f"--unix-socket {shlex.quote(str(start.file))} "
        address = "http://localhost"
    else:
        at, curl, address = start.address, "", start.address
    header = "-H 'Authorization: Bearer '\"$KEY\" " if start.keyed else ""
    body = json_text({"model": start.models[0], "prompt": _PROMPT, "max_tokens": 32})
    key = 'os.environ["KEY"]' if start.keyed else '"none"'
    lines = [f"llterm serves {named} at {at}"]
    if start.new_key:
        lines += [
            f"  KEY={start.new_key}",
            "  Others can reach this address: whoever asks needs this key, which is told once.",
        ]
    lines += [
        f"  curl {curl}{address}/v1/completions {header}-H 'Content-Type: application/json' "
        f"-d {shlex.quote(body)}",
        f'  openai.OpenAI(base_url="{address}/v1", api_key={key}).completions.create('
        f"model={json_text(start.models[0])}, prompt={json_text(_PROMPT)})",
        "  Ctrl+C ends it.",
    ]
    return "\n".join(lines)


def status_line(status: ServerStatus, width: int) -> str:
    """How a server is doing, in as many words as fit into so many cells."""
    cached = f"{status.cached_tokens / max(status.prompt_tokens, 1):.0%}"
    whole = (
        f"{count_of(status.requests, 'request')} · {status.running:,} drawn · "
        f"{status.waiting:,} waiting · {status.speed:,.0f} tokens/s · {cached} of prompts cached"
    )
    short = (
        f"{status.running:,} drawn {status.waiting:,} wait {status.speed:,.0f}/s cached {cached}"
    )
    return whole if len(whole) <= width else short
