"""`llterm models list` and `llterm models info`."""

from __future__ import annotations

from llterm.backends.registry import Known, find_model, known_models
from llterm.config import Config
from llterm.core.display import visible
from llterm.errors import LltermError


def list_models(config: Config) -> str:
    """A table of every model with a name."""
    rows = [_row(known, config) for known in known_models(config)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    )


def model_info(name: str, config: Config) -> str:
    """What a model's file says. Raises ModelError where there is no such model, or it is broken."""
    known = find_model(name, config)
    if known.path is None:
        return "name          scripted\nkind          word trigrams of a little story, for tests"
    from llterm.backends.llamacpp import inspect_gguf

    info = inspect_gguf(known.path)
    rows = [
        ("name", visible(info.name.encode())),
        ("file", str(known.path)),
        ("architecture", visible(info.architecture.encode())),
        ("parameters", f"{info.parameters:,}"),
        ("size", f"{info.size:,} bytes ({info.size / 1e6:,.1f} MB)"),
        ("quantisation", info.quantisation),
        ("context", f"{info.context:,} tokens trained"),
        ("vocabulary", f"{info.vocabulary:,} tokens"),
        ("layers", f"{info.layers:,}"),
        ("embedding", f"{info.embedding:,}"),
        ("predicts text", "yes" if info.text else "no: llterm cannot weave with it"),
    ]
    return "\n".join(f"{label:<14}{value}" for label, value in rows)


def _row(known: Known, config: Config) -> tuple[str, str, str, str]:
    name = f"{known.name}{' *' if known.name == config.model else ''}"
    if known.path is None:
        return name, known.kind, "", "for tests and demos"
    from llterm.backends.llamacpp import inspect_gguf

    try:
        info = inspect_gguf(known.path)
    except LltermError as error:
        return name, known.kind, "", f"{error.title} ({known.path})"
    size = f"{info.parameters / 1e6:,.1f} M, {info.quantisation}, {info.size / 1e6:,.1f} MB"
    return name, known.kind, size, str(known.path)
