"""Models as JSON (docs/json.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from llterm.backends.caches import parts_of
from llterm.backends.catalogue import CatalogueEntry
from llterm.backends.hub import RemoteModel
from llterm.backends.inventory import ModelDescription, ModelEntry
from llterm.backends.llamacpp.memory_estimate import available, fit
from llterm.core.json_text import json_text
from llterm.core.kernels import Kernels

VERSION = 1


def list_json(entries: Sequence[ModelEntry], stopped: Sequence[Path], default: str) -> str:
    """Models, pulls that were stopped, and the memory that can be had."""
    models = [
        {
            "name": entry.known.name,
            "default": entry.known.name == default,
            "origin": entry.origin,
            "path": str(entry.known.path) if entry.known.path is not None else None,
            "size": entry.size or None,
            "quantisation": entry.quantisation or None,
            "architecture": entry.architecture or None,
            "context": entry.context or None,
            "memory_needed": entry.needs or None,
            "fit": entry.fit,
            "offers": entry.offers or None,
            "problem": entry.problem or None,
        }
        for entry in entries
    ]
    unfinished = [{"path": str(path), "size": path.stat().st_size} for path in stopped]
    free = available() or None
    return _json({"models": models, "unfinished": unfinished, "memory_available": free})


def repositories_json(repositories: Sequence[tuple[str, int]]) -> str:
    """Repositories of the hub, and how often they were downloaded."""
    return _json(
        {"repositories": [{"name": name, "downloads": count} for name, count in repositories]}
    )


def hub_json(models: Mapping[RemoteModel, bool]) -> str:
    """A repository's models, and whether each is on this machine."""
    rows = [
        {
            "name": model.reference,
            "quantisation": model.quantisation or None,
            "size": model.size,
            "files": [
                {"name": file.name, "size": file.size, "sha256": file.sha256 or None}
                for file in model.files
            ],
            "fit": fit(model.size),
            "here": here,
        }
        for model, here in models.items()
    ]
    return _json({"models": rows})


def catalogue_json(entries: Mapping[CatalogueEntry, bool]) -> str:
    """Popular models by short names, and whether each is on this machine."""
    rows = [
        {
            "name": entry.name,
            "repository": entry.repository,
            "kind": entry.kind,
            "parameters": entry.parameters or None,
            "context": entry.context or None,
            "licence": entry.licence or None,
            "here": here,
        }
        for entry, here in entries.items()
    ]
    return _json({"available": rows})


def info_json(model: ModelDescription) -> str:
    """What a model's file says."""
    known, info = model.known, model.info
    if known.path is None or info is None:
        return _json({"name": known.name, "origin": known.kind, "files": []})
    return _json(
        {
            "name": known.name,
            "title": info.name,
            "origin": known.origin or known.kind,
            "files": [str(path) for path in parts_of(known.path)],
            "architecture": info.architecture,
            "parameters": info.parameters,
            "size": model.size,
            "quantisation": info.quantisation,
            "context": info.context,
            "vocabulary": info.vocabulary,
            "layers": info.layers,
            "embedding": info.embedding,
            "memory_needed": model.needs,
            "fit": fit(model.needs),
            "kernels": known.settings.kernels,
            "fast_kernels": _fast(model.fast),
            "chat_template": info.template or None,
            "licence": info.licence or None,
            "predicts_text": info.text,
        }
    )


def _fast(fast: Kernels | None) -> dict[str, object] | None:
    """What fast kernels are on this machine; null where they were not tried."""
    if fast is None:
        return None
    drift = fast.drift
    return {
        "switches": fast.switches or None,
        "drift": None if drift is None else asdict(drift),
        "trouble": fast.trouble or None,
    }


def _json(value: dict[str, object]) -> str:
    return json_text({"version": VERSION, **value}, indent=2)
