"""A foreign file as a loom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llterm.core.loom_tree import ROOT, Marks
from llterm.formats.imports import Imported, import_file
from llterm.session.document import Document


class Loomed:
    """A file that was imported, and opened as any loom is."""

    def __init__(self, shape: Any, folder: Path, format: str | None = None) -> None:
        data = shape if isinstance(shape, bytes) else json.dumps(shape).encode()
        path = folder / "made.loom"
        self.told: Imported = import_file(data, "given.json", format, path)
        self.document = Document.open(path)
        self.loom = self.document.loom

    def tree(self, id: int = ROOT) -> list[Any]:
        """Texts, each with the texts below it."""
        return [
            (self.loom.data(self.loom.nodes[one]).decode("utf-8", "replace"), self.tree(one))
            for one in self.loom.children.get(id, ())
        ]

    def id(self, text: str) -> int:
        (found,) = (
            id for id, node in self.loom.nodes.items() if self.loom.data(node) == text.encode()
        )
        return found

    def author(self, text: str) -> str:
        return self.loom.pieces[self.loom.nodes[self.id(text)].piece].author

    def tokens(self, text: str) -> list[tuple[bytes, float | None]]:
        spans = self.loom.spans(self.loom.nodes[self.id(text)])
        return [(span.data, span.logprob) for span in spans]

    def alternatives(self, text: str) -> list[dict[bytes, float]]:
        birth = self.document.undo_log.birth(self.loom.nodes[self.id(text)].piece)
        return [{data: logprob for _, data, logprob in one} for one in birth.alternatives]

    def marks(self, text: str) -> Marks:
        return self.loom.marks.get(self.id(text), Marks())
