"""`llterm doctor`: what is installed, what the terminal can do, whether a model or server works."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from llterm import paths, terminal
from llterm.backends.inventory import fast_kernels, fast_text
from llterm.backends.registry import KnownModel, find_model, open_model
from llterm.config import Config
from llterm.config.server_settings import is_address
from llterm.core.display_text import label_text
from llterm.core.kernels import Kernels
from llterm.core.query import Backend, Fact, Failed, Query
from llterm.core.tokens import Anchor
from llterm.core.tokens import Path as TokenPath
from llterm.errors import LltermError
from llterm.event_loop import run_coroutine
from llterm.jobs.runner import absences
from llterm.number_format import count_of
from llterm.output import ProgressLine
from llterm.usable_cores import usable_cores
from llterm.version import __version__

_PACKAGES = ("llama-cpp-python", "textual", "rich", "numpy", "typer", "httpx2", "platformdirs")
Row = tuple[str, str]


def examine(config: Config, overrides: Mapping[str, Any]) -> tuple[str, int]:
    """A report and the exit code: that of the first thing that does not work.

    `overrides`: typed settings of the model.
    """
    model, error = _model(config, overrides)
    sections = [
        ("llterm", _versions()),
        ("terminal", _terminal(config)),
        ("folders", _folders()),
        ("configuration", _configuration(config)),
        ("model", model),
    ]
    lines = []
    for title, rows in sections:
        lines.append(title)
        lines += [f"  {label:<18}{label_text(value)}" for label, value in rows]
    return "\n".join(lines), error.exit_code if error else 0


def _versions() -> list[Row]:
    rows = [
        ("version", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("processor", f"{os.cpu_count()} threads, {usable_cores()} for llterm"),
    ]
    for name in _PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, "not installed"))
    return rows


def _terminal(config: Config) -> list[Row]:
    reason = terminal.why_not_interactive(os.environ)
    size = shutil.get_terminal_size()
    small = " (llterm wants 60 × 15 at least)" if size.columns < 60 or size.lines < 15 else ""
    colours = terminal.colours_found(os.environ, config.ui.color)
    return [
        ("interactive", f"no: {reason}" if reason else "yes"),
        ("size", f"{size.columns} × {size.lines}{small}"),
        ("TERM", os.environ.get("TERM", "not set")),
        ("COLORTERM", os.environ.get("COLORTERM", "not set")),
        ("colours", "none" if config.ui.monochrome else colours),
        ("encoding", sys.stdout.encoding or "unknown"),
        ("over SSH", "yes" if terminal.over_ssh(os.environ) else "no"),
        ("inside tmux", "yes" if os.environ.get("TMUX") else "no"),
    ]


def _folders() -> list[Row]:
    folders = (
        ("looms", paths.looms_dir()),
        ("starting stories", paths.stories_dir()),
        ("models", paths.models_dir()),
        ("configuration", paths.config_dir()),
        ("themes", paths.themes_dir()),
        ("log, choices", paths.state_dir()),
    )
    return [(label, f"{path}{_access(path)}") for label, path in folders]


def _access(path: Path) -> str:
    if not path.exists():
        return " (made on first use)"
    return "" if os.access(path, os.W_OK) else " (cannot be written to)"


def _configuration(config: Config) -> list[Row]:
    rows = [("file", str(path)) for path in config.files] or [("file", "none; defaults hold")]
    set_here = [name for name, origin in config.origins.items() if origin.kind == "environment"]
    return [*rows, ("by environment", ", ".join(set_here) or "nothing")]


def _model(config: Config, overrides: Mapping[str, Any]) -> tuple[list[Row], LltermError | None]:
    try:
        known = find_model(config.model, config)
        rows = [("name", f"{known.name} ({known.kind})"), ("file", str(known.path or "none"))]
        return rows + run_coroutine(_try(known, config, overrides)), None
    except LltermError as error:
        rows = [("name", config.model), ("fails", error.title)]
        rows += [("", part) for part in (error.cause, error.hint) if part]
        return rows, error


async def _try(known: KnownModel, config: Config, overrides: Mapping[str, Any]) -> list[Row]:
    """Open the model and ask it one question."""
    begin = time.perf_counter()
    backend = await open_model(config.model, config, overrides)
    opened = time.perf_counter()
    try:
        _, seconds = await _asked(backend)
        return [
            ("opens in", f"{opened - begin:.2f} s"),
            ("context", f"{backend.capabilities.context:,} tokens"),
            ("vocabulary", f"{backend.vocabulary.size:,} tokens"),
            ("answers", f"yes, in {seconds:.3f} s"),
            *_kernels(known, backend.capabilities.kernels),
        ]
    finally:
        await backend.close()


def _kernels(known: KnownModel, used: Kernels | None) -> list[Row]:
    """Those in force, and what fast ones are; none where nothing is computed."""
    if used is None:
        return []
    fast = used if used.words else fast_kernels(known)
    return [("kernels", used.kind), ("fast kernels", fast_text(fast))]


def is_served(name: str, config: Config) -> bool:
    """Whether a model of this name is on a server: an address, or one that is configured so."""
    own = config.models.get(name)
    return is_address(name) or (own is not None and own.server is not None)


def check_server(name: str, config: Config) -> str:
    """A table of what the server can do, one row each, gaps explained.

    `name` is an address, or a model of the configuration that is on a server. Raises LltermError.
    """
    rows = run_coroutine(_examined(name, config))
    return "\n".join(f"{label:<22}{label_text(value)}" for label, value in rows)


async def _examined(name: str, config: Config) -> list[Row]:
    from llterm.backends.chat_formats import chosen_format
    from llterm.backends.remote.probe import reused_tokens
    from llterm.backends.remote.remote_backend import RemoteBackend
    from llterm.backends.remote.server_connection import open_remote

    known = find_model(name, config)
    server = known.settings.server
    for own in config.models.values():
        # The settings of a configured model with this very address count: it may need a key.
        if own.server is not None and name.rstrip("/") in [
            u.rstrip("/") for u in own.server.base_url
        ]:
            server = own.server
    assert server is not None
    line = ProgressLine()
    start = time.perf_counter()
    chosen = await asyncio.to_thread(chosen_format, server, config)
    backend = await open_remote(
        known.name, server, known.settings.context, hear=absences(line), fresh=True, chosen=chosen
    )
    try:
        opened = time.perf_counter() - start
        answer, seconds = await _asked(backend)
        reused = None
        if isinstance(backend, RemoteBackend):
            reused = await reused_tokens(backend.transport, backend.dialect)
        rows = [("address", backend.transport.name), ("dialect", backend.speaks)]
        rows += backend.explained
        listed = count_of(len(answer.distribution.ids), "candidate")
        rows.append(("answers", f"yes, with {listed}, in {seconds:.3f} s"))
        if reused is not None:
            again = f"yes: {reused} tokens of a repeated prompt" if reused else (
                "no: a repeated prompt is evaluated again; see `--swa-full` of llama.cpp's server"
            )  # fmt: skip
            rows.append(("cache is used", again))
        masks = backend.capabilities.masks
        whole = f"all {backend.vocabulary.size:,} tokens" if masks else "learned as it is seen"
        rows += [("vocabulary", whole), ("kernels", "the server's own")]
        rows.append(("opens in", f"{opened:.2f} s, {backend.transport.spent.requests} requests"))
        return rows
    finally:
        line.clear()
        await backend.close()


async def _asked(backend: Backend) -> tuple[Fact, float]:
    """What a position of a text brings, and the seconds it took. Raises LltermError where that is
    no answer."""
    start = time.perf_counter()
    vocabulary = backend.vocabulary
    text = await vocabulary.tokenize(b"Once upon a time")
    query = Query(TokenPath(Anchor(vocabulary.prefix + text)))
    async with aclosing(backend.ask([query])) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            return answer, time.perf_counter() - start
    raise LltermError(f"{backend.name} gave no answer", "", "Try again.")
