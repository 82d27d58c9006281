"""`llterm models list` and `llterm models info`: what there is, as text and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from llterm.backends.caches import parts_of, unfinished
from llterm.backends.hub import RemoteModel, read_reference, remote_models, search_hub
from llterm.backends.listing import Listed, fit_text, list_models, size_text, with_offers
from llterm.backends.llamacpp.info import ModelInfo, inspect_gguf
from llterm.backends.llamacpp.memory import available, fit, needed
from llterm.backends.pull import here_already
from llterm.backends.registry import SCRIPTED, find_model
from llterm.config import Config
from llterm.config.server_settings import address_mistake
from llterm.core.display import label_text
from llterm.core.jsontext import json_text
from llterm.errors import UsageError

VERSION = 1
Row = Sequence[str]


def list_text(config: Config, addresses: Sequence[str] = ()) -> str:
    """A table of every model with a name or at these addresses; a star marks the default."""
    rows = [_row(one, config) for one in _all(config, addresses)]
    for path in unfinished():
        size = size_text(path.stat().st_size)
        rows.append(("", "stopped pull", size, "", label_text(str(path))))
    return _table(rows)


def list_json(config: Config, addresses: Sequence[str] = ()) -> str:
    """The same as JSON (docs/json.md)."""
    models = [
        {
            "name": one.known.name,
            "default": one.known.name == config.model,
            "origin": one.origin,
            "path": str(one.known.path) if one.known.path is not None else None,
            "size": one.size or None,
            "quantisation": one.quantisation or None,
            "architecture": one.architecture or None,
            "context": one.context or None,
            "memory_needed": one.needs or None,
            "fit": one.fit,
            "offers": one.offers or None,
            "problem": one.problem or None,
        }
        for one in _all(config, addresses)
    ]
    stopped = [{"path": str(path), "size": path.stat().st_size} for path in unfinished()]
    free = available() or None
    return _json({"models": models, "unfinished": stopped, "memory_available": free})


def _all(config: Config, addresses: Sequence[str]) -> list[Listed]:
    """Every model, and what servers say of theirs. Raises UsageError for what is no address."""
    for one in addresses:
        if wrong := address_mistake(one):
            raise UsageError("That is no server's address", f"{label_text(wrong)}.",
                             'Write it as "http://127.0.0.1:8080".')  # fmt: skip
    return asyncio.run(with_offers(list_models(config, addresses)))


def hub_text(wanted: str) -> str:
    """What can be pulled: a repository's models, or repositories by words. Raises LltermError."""
    if "/" not in wanted:
        return _table(
            [(label_text(name), f"{count:,} downloads") for name, count in search_hub(wanted)]
        )
    return _table(
        [
            (label_text(one.reference), size_text(one.size), fit_text(fit(one.size)), _here(one))
            for one in remote_models(read_reference(wanted).repository)
        ]
    )


def hub_json(wanted: str) -> str:
    """The same as JSON."""
    if "/" not in wanted:
        found = search_hub(wanted)
        return _json({"repositories": [{"name": name, "downloads": n} for name, n in found]})
    models = [
        {
            "name": one.reference,
            "quantisation": one.quantisation or None,
            "size": one.size,
            "files": [{"name": f.name, "size": f.size, "sha256": f.sha256 or None}
                      for f in one.files],
            "fit": fit(one.size),
            "here": bool(_here(one)),
        }
        for one in remote_models(read_reference(wanted).repository)
    ]  # fmt: skip
    return _json({"models": models})


def info_text(name: str, config: Config) -> str:
    """What a model's file says. Raises ModelError where there is no such model, or it is broken."""
    known = find_model(name, config)
    if known.path is None:
        what = {
            SCRIPTED: "word trigrams of a little story, for tests",
            "server": f"server; `llterm doctor {label_text(name)}` asks what it can do",
        }.get(known.kind, known.kind)
        return f"name           {label_text(known.name)}\nkind           {what}"
    info, size = _inspected(known.path)
    wanted = needed(info, size, known.settings.context)
    rows = [
        ("name", label_text(known.name)),
        *([("title", label_text(info.name))] if info.name != known.name else []),
        ("origin", known.origin or known.kind),
        *(("file", label_text(str(path))) for path in parts_of(known.path)),
        ("architecture", label_text(info.architecture)),
        ("parameters", f"{info.parameters:,}"),
        ("size", f"{size:,} bytes ({size_text(size)})"),
        ("quantisation", info.quantisation),
        ("context", f"{info.context:,} tokens trained"),
        ("vocabulary", f"{info.vocabulary:,} tokens"),
        ("layers", f"{info.layers:,}"),
        ("embedding", f"{info.embedding:,}"),
        ("memory", f"about {size_text(wanted)}: {fit(wanted)}"),
        ("chat template", "its own" if info.template else "none; a built-in format is used"),
        ("licence", label_text(info.licence) or "not said"),
        ("predicts text", "yes" if info.text else "no: llterm cannot weave with it"),
    ]
    return "\n".join(f"{label:<15}{value}" for label, value in rows)


def info_json(name: str, config: Config) -> str:
    """The same as JSON. Raises ModelError."""
    known = find_model(name, config)
    if known.path is None:
        return _json({"name": known.name, "origin": known.kind, "files": []})
    info, size = _inspected(known.path)
    wanted = needed(info, size, known.settings.context)
    return _json(
        {
            "name": known.name,
            "title": info.name,
            "origin": known.origin or known.kind,
            "files": [str(path) for path in parts_of(known.path)],
            "architecture": info.architecture,
            "parameters": info.parameters,
            "size": size,
            "quantisation": info.quantisation,
            "context": info.context,
            "vocabulary": info.vocabulary,
            "layers": info.layers,
            "embedding": info.embedding,
            "memory_needed": wanted,
            "fit": fit(wanted),
            "chat_template": info.template or None,
            "licence": info.licence or None,
            "predicts_text": info.text,
        }
    )


def _inspected(path: Path) -> tuple[ModelInfo, int]:
    """The header, and the bytes of all parts."""
    info = inspect_gguf(path)
    return info, sum(one.stat().st_size for one in parts_of(path))


def _row(one: Listed, config: Config) -> Row:
    name = label_text(f"{one.known.name}{' *' if one.known.name == config.model else ''}")
    what = "for tests and demos" if one.known.kind == SCRIPTED else ""
    where = label_text(str(one.known.path or one.offers or what))
    if one.problem:
        return name, one.origin, "", "", f"{one.problem} ({where})"
    size = size_text(one.size) if one.size else ""
    note = fit_text(one.fit)
    return name, one.origin, size, one.quantisation, f"{note}: {where}" if note else where


def _here(model: RemoteModel) -> str:
    return "here already" if here_already(model) else ""


def _table(rows: Sequence[Row]) -> str:
    """Columns as wide as they need; the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _json(value: dict[str, object]) -> str:
    return json_text({"version": VERSION, **value}, indent=2)
