"""Models as text: what there is, what can be fetched, what a file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llterm.backends.caches import parts_of
from llterm.backends.catalogue import CatalogueEntry
from llterm.backends.hub import RemoteModel
from llterm.backends.inventory import ModelDescription, ModelEntry, fast_text, fit_text, size_text
from llterm.backends.llamacpp.memory_estimate import fit
from llterm.backends.llamacpp.quantize import BITS
from llterm.backends.registry import SCRIPTED
from llterm.core.display_text import label_text

_USUAL_BITS = BITS["q4_K_M"]
"""Bits a weight for which a size is told beforehand."""


def list_text(entries: Sequence[ModelEntry], stopped: Sequence[Path], default: str) -> str:
    """A table of models, and of pulls that were stopped; a star marks the default."""
    rows = [_row(entry, default) for entry in entries]
    for path in stopped:
        size = size_text(path.stat().st_size)
        rows.append(("", "stopped pull", size, "", label_text(str(path))))
    return _table(rows)


def repositories_text(repositories: Sequence[tuple[str, int]]) -> str:
    """Repositories of the hub, and how often they were downloaded."""
    return _table([(label_text(name), f"{count:,} downloads") for name, count in repositories])


def hub_text(models: Mapping[RemoteModel, bool]) -> str:
    """A repository's models, and whether each is on this machine."""
    return _table(
        [
            (
                label_text(model.reference),
                size_text(model.size),
                fit_text(fit(model.size)),
                "here already" if here else "",
            )
            for model, here in models.items()
        ]
    )


def catalogue_text(entries: Mapping[CatalogueEntry, bool]) -> str:
    """Popular models by short names, and whether each is on this machine."""
    return _table([_catalogue_row(entry, here=here) for entry, here in entries.items()])


def info_text(model: ModelDescription) -> str:
    """What a model's file says."""
    known, info = model.known, model.info
    if known.path is None or info is None:
        what = {
            SCRIPTED: "word trigrams of a little story, for tests",
            "server": f"server; `llterm doctor {label_text(known.name)}` asks what it can do",
        }.get(known.kind, known.kind)
        return f"name           {label_text(known.name)}\nkind           {what}"
    rows = [
        ("name", label_text(known.name)),
        *([("title", label_text(info.name))] if info.name != known.name else []),
        ("origin", known.origin or known.kind),
        *(("file", label_text(str(path))) for path in parts_of(known.path)),
        ("architecture", label_text(info.architecture)),
        ("parameters", f"{info.parameters:,}"),
        ("size", f"{model.size:,} bytes ({size_text(model.size)})"),
        ("quantisation", info.quantisation),
        ("context", f"{info.context:,} tokens trained"),
        ("vocabulary", f"{info.vocabulary:,} tokens"),
        ("layers", f"{info.layers:,}"),
        ("embedding", f"{info.embedding:,}"),
        ("memory", f"about {size_text(model.needs)}: {fit(model.needs)}"),
        ("kernels", f"{known.settings.kernels}, where no flag says otherwise"),
        ("fast kernels", label_text(fast_text(model.fast))),
        ("chat template", "its own" if info.template else "none; a built-in format is used"),
        ("licence", label_text(info.licence) or "not said"),
        ("predicts text", "yes" if info.text else "no: llterm cannot weave with it"),
    ]
    return "\n".join(f"{label:<15}{value}" for label, value in rows)


def _row(entry: ModelEntry, default: str) -> Sequence[str]:
    known = entry.known
    name = label_text(f"{known.name}{' *' if known.name == default else ''}")
    what = "for tests and demos" if known.kind == SCRIPTED else ""
    where = label_text(str(known.path or entry.offers or what))
    if entry.problem:
        return name, entry.origin, "", "", f"{entry.problem} ({where})"
    size = size_text(entry.size) if entry.size else ""
    note = fit_text(entry.fit)
    return name, entry.origin, size, entry.quantisation, f"{note}: {where}" if note else where


def _catalogue_row(entry: CatalogueEntry, *, here: bool) -> Sequence[str]:
    size = int(entry.parameters * _USUAL_BITS / 8)
    note = "here already" if here else fit_text(fit(size)) if size else ""
    return (
        label_text(entry.name),
        entry.kind,
        f"{entry.billions:g}B" if entry.billions else "",
        f"about {size_text(size)} at {_USUAL_BITS} bits" if size else "",
        f"{entry.context:,} tokens" if entry.context else "",
        label_text(entry.licence),
        label_text(f"{note}: {entry.repository}" if note else entry.repository),
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
