"""`llterm serve`: from typed words to a server, and what is said when it answers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llterm.cli.arguments import Values
from llterm.cli.options import serve_flags
from llterm.cli.settings import load
from llterm.config.model_settings import model_of
from llterm.config.server_settings import ServerSettings
from llterm.core.display_text import label_text
from llterm.core.json_text import json_text
from llterm.event_loop import run_coroutine
from llterm.number_format import count_of
from llterm.output import ProgressLine, put

if TYPE_CHECKING:
    from llterm.backends.remote.api_keys import Secret
    from llterm.serve.server_run import ServerStart
    from llterm.serve.server_status import ServerStatus

_PROMPT = "Once upon a time"


def serve(values: Values) -> int:
    """Serve until a signal ends it, from a command's parameters. Returns the exit code."""
    from llterm.serve.server_run import ServeRequest, run_server

    config = load(serve_flags(values), values["config"])
    serve = config.serve
    usual = () if serve.configured or serve.model_folders else (config.model,)
    typed = values["model"] or serve.models or usual
    request = ServeRequest(
        config,
        [model_of(each) for each in typed],
        _keys(serve.api_key_env, serve.api_key_file),
        _keys(serve.admin_key_env),
    )
    with ProgressLine() as line:

        def begun(start: ServerStart) -> None:
            line.clear()
            put(greeting(start))

        def show(status: ServerStatus) -> None:
            line.say(status_line(status, line.width))

        run_coroutine(run_server(request, line, begun, show if line.on else None))
    return 0


def _keys(variables: Sequence[str], file: Path | None = None) -> tuple[Secret, ...]:
    """The keys to ask for. Raises UsageError where one cannot be read."""
    from llterm.backends.remote.api_keys import read_key

    sources = [ServerSettings((), key_env=name) for name in variables]
    if file is not None:
        sources.append(ServerSettings((), key_file=file.expanduser()))
    return tuple(key for key in map(read_key, sources) if key is not None)


def greeting(start: ServerStart) -> str:
    """Where it is, and three ways to ask it something."""
    now = [name for name in start.models if name not in start.on_use]
    aliases = [f"{alias} = {name}" for alias, name in start.aliases.items()]
    named = ", ".join(map(label_text, (*(now or ["no model yet"]), *aliases)))
    if start.file is not None:
        at, curl = str(start.file), f"--unix-socket {shlex.quote(str(start.file))} "
        address = "http://localhost"
    else:
        at, curl, address = start.address, "", start.address
    header = "-H 'Authorization: Bearer '\"$KEY\" " if start.keyed else ""
    asked: dict[str, str | int]
    if start.text_model is None:
        route, asked = "embeddings", {"model": start.models[0], "input": _PROMPT}
    else:
        route = "completions"
        asked = {"model": start.text_model, "prompt": _PROMPT, "max_tokens": 32}
    key = 'os.environ["KEY"]' if start.keyed else '"none"'
    lines = [f"llterm serves {named} at {at}"]
    if start.on_use:
        lines.append(f"  When asked for: {', '.join(map(label_text, start.on_use))}")
    if start.new_key:
        why = (
            "Others can reach this address: whoever asks needs this key, which is told once."
            if start.keyed
            else "Whoever asks for looms needs this key, which is told once."
        )
        lines += [f"  KEY={start.new_key}", f"  {why}"]
    if start.file is None:
        looms = f", and looms: {address}/looms" if start.looms else ""
        lines.append(f"  In a browser: {address}/{looms}")
    lines += [
        f"  curl {curl}{address}/v1/{route} {header}-H 'Content-Type: application/json' "
        f"-d {shlex.quote(json_text(asked))}",
        f'  openai.OpenAI(base_url="{address}/v1", api_key={key}).{route}.create('
        f"{', '.join(f'{name}={json_text(value)}' for name, value in asked.items())})",
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
    if status.proposed_tokens:
        accepted = f"{status.accepted_tokens / status.proposed_tokens:.0%}"
        whole += f" · {accepted} of drafts accepted"
        short += f" draft {accepted}"
    return whole if len(whole) <= width else short
