"""`llterm doctor`: what is installed, what the terminal can do, whether the model works."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from llterm import paths, terminal
from llterm.backends.registry import find_model, open_model
from llterm.config import Config
from llterm.core.display import label_text
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor
from llterm.core.tokens import Path as TokenPath
from llterm.errors import LltermError
from llterm.version import __version__

_PACKAGES = ("llama-cpp-python", "textual", "rich", "numpy", "typer", "httpx2", "platformdirs")
Row = tuple[str, str]


def examine(config: Config) -> tuple[str, int]:
    """A report and the exit code: that of the first thing that does not work."""
    model, error = _model(config)
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
        ("processor", f"{os.cpu_count()} threads"),
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


def _model(config: Config) -> tuple[list[Row], LltermError | None]:
    try:
        known = find_model(config.model, config)
        rows = [("name", f"{known.name} ({known.kind})"), ("file", str(known.path or "none"))]
        return rows + asyncio.run(_try(config)), None
    except LltermError as error:
        rows = [("name", config.model), ("fails", error.title)]
        rows += [("", part) for part in (error.cause, error.hint) if part]
        return rows, error


async def _try(config: Config) -> list[Row]:
    """Open the model and ask it one question."""
    begin = time.perf_counter()
    backend = await open_model(config.model, config)
    opened = time.perf_counter()
    try:
        vocabulary = backend.vocabulary
        tokens = vocabulary.prefix + vocabulary.encode(b"Once upon a time")
        async for answer in backend.ask([Query(TokenPath(Anchor(tokens)))]):
            if not isinstance(answer, Fact):
                raise answer.error
        return [
            ("opens in", f"{opened - begin:.2f} s"),
            ("context", f"{backend.capabilities.context:,} tokens"),
            ("vocabulary", f"{vocabulary.size:,} tokens"),
            ("answers", f"yes, in {time.perf_counter() - opened:.3f} s"),
        ]
    finally:
        await backend.close()
