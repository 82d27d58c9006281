"""Commands on the tree of a loom. Each is one step of the log, but for how the tree is looked at.

Nodes are named by id (`LoomTree.nodes`), places in a node by bytes. Every command raises UsageError
where the loom can only be read, where the node is not there, or where the command makes no sense.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from llterm.core import tree_edits
from llterm.core.edits import lead, split, whole
from llterm.core.history import UndoStep
from llterm.core.loom_tree import ROOT, LoomNode, LoomTree, Marks, Piece
from llterm.core.pieces import TokenSpan, token_edges
from llterm.core.provenance import Arrival, Provenance, provenance_text
from llterm.core.tree_outline import ORDERS
from llterm.errors import UsageError
from llterm.session.manuscript import Change, Manuscript, ModelRun, encoded

MOST_RATING = 5


class TreeCommands:
    """What can be done to the tree of a document."""

    def __init__(self, manuscript: Manuscript) -> None:
        self._manuscript = manuscript
        self._undo_log = manuscript.undo_log

    @property
    def _loom(self) -> LoomTree:
        return self._undo_log.loom

    # --- nodes

    def split(self, id: int, size: int) -> Change:
        """Cut a node in two after so many bytes."""
        self._inside(self._node(id), size)
        return self._do("split a node", lambda step: self._cut(step, id, size))

    def merge(self, id: int) -> Change:
        """Make one node of this one and its parent. A parent with other children stays too."""
        if self._node(id).parent == ROOT:
            raise UsageError("There is nothing to merge with", "It hangs under the root.", "")
        return self._do(
            "merge with the parent", lambda step: tree_edits.merge(*self._with(step), id)
        )

    def child(self, id: int, text: str) -> int:
        """Write a new node under this one, or under the root. Returns its id. The story stays."""
        return self.write([(id, text)])[0]

    def sibling(self, id: int, text: str) -> int:
        """Write a new node beside this one. Returns its id. The story stays."""
        return self.write([(self._node(id).parent, text)], "write a sibling")[0]

    def write(self, texts: Sequence[tuple[int, str]], label: str = "write a child") -> list[int]:
        """Write new nodes, each under the one of its id: one step. Returns their ids."""
        data = [(id, encoded(text)) for id, text in texts]
        if not all(text for _, text in data):
            raise UsageError("A node has text", "There is none.", "Write some first.")
        now = time.time()
        return self._hang_all(label, [(id, Piece(0, text, created=now)) for id, text in data])

    def plant(self, id: int, runs: Sequence[ModelRun]) -> list[int]:
        """Hang a model's continuations under a node, as unread ones. Returns their ids."""
        return self.plant_all([(id, run) for run in runs])

    def plant_all(self, runs: Sequence[tuple[int, ModelRun]]) -> list[int]:
        """The same, each under the node of its id: one step. Runs without text make no node."""
        now = time.time()
        pieces = [(id, run.piece(now)) for id, run in runs if run.data]
        made = self._hang_all("plant continuations", pieces)
        self._loom.sight.unread.update(made)
        self._undo_log.keep_sight(*made)
        self._undo_log.commit()
        return made

    def accept(self, id: int, run: ModelRun) -> int:
        """Hang a model's text under a node, and let the story end in it. Returns the new node."""
        self._place(id)
        end, piece = self._end(id), run.piece(time.time())
        made: list[int] = []

        def work(step: UndoStep) -> None:
            made.append(self._hang(step, end(), piece))
            lead(self._loom, step, made[0])

        self._do("accept", work)
        return made[0]

    def clip_tokens(self, id: int, count: int) -> Change:
        """Keep a node's first tokens (of the person's text its first words); of a count below 0,
        all but so many at its end. What is cut off goes with all below the node."""
        self._node(id)
        edges = [edge for edge in self.edges(id) if edge]
        kept = len(edges) + count if count < 0 else count
        if kept >= len(edges):
            return self._manuscript.nothing()
        if kept < 1:
            raise UsageError(
                "A node has text", f"It has {len(edges)} tokens or words; none would stay.",
                "Delete it, or keep one.",
            )  # fmt: skip
        return self.clip(id, edges[kept - 1])

    def ended(self, id: int) -> bool:
        """Whether the model ended its text where this node ends."""
        piece, _, stop = self._node(id).slices[-1]
        birth = self._undo_log.birth(piece)
        return birth.settings.get("finish") == "end" and stop == len(self._loom.pieces.texts[piece])

    def move(self, id: int, parent: int) -> Change:
        """Hang a branch under another node, also one that was deleted."""
        self._manuscript.checkpoint()
        self._place(parent)
        node = self._loom.nodes.get(id)
        if node is None:
            raise self._gone()
        if tree_edits.contains(self._loom, id, parent):
            raise UsageError("A branch cannot hang under itself", "", "Choose another place.")
        if node.parent == parent:
            return self._manuscript.nothing()
        return self._do("move a branch", lambda step: tree_edits.move(self._loom, step, id, parent))

    def delete(self, id: int) -> Change:
        """Delete a node with all below it. It lies in the bin, and undo brings it back."""
        self._node(id)
        return self._delete("delete a branch", [id])

    def delete_children(self, id: int) -> Change:
        """Delete all below a node, or all there is below the root."""
        self._place(id)
        return self._delete("delete children", self._loom.children.get(id, ()))

    def delete_siblings(self, id: int) -> Change:
        """Delete the other children of this node's parent."""
        beside = self._loom.children[self._node(id).parent]
        return self._delete("delete siblings", [other for other in beside if other != id])

    def clear(self, id: int) -> Change:
        """Delete a node's unread children: continuations that nobody took."""
        self._place(id)
        story = {node.id for node in self._loom.path()}
        below = self._loom.children.get(id, ())
        unread = self._loom.sight.unread
        return self._delete(
            "clear continuations",
            [one for one in below if one in unread and one not in story],
        )

    def clip(self, id: int, size: int) -> Change:
        """Delete a node's text after so many bytes, with all below it."""
        self._inside(self._node(id), size)
        return self._do("clip", lambda step: self._clip(step, id, size))

    def trim(self, id: int, count: int = 1) -> Change:
        """Delete a node's last tokens, with all below it; of the person's text its last words."""
        node = self._node(id)
        # A token that only writes a healed word again ends where the node begins.
        edges = [edge for edge in self.edges(id) if edge]
        if not 0 < count < len(edges):
            raise UsageError(
                "That is more than the node has", f"It has {len(edges)} tokens or words.", ""
            )
        size = edges[-count - 1]
        self._inside(node, size)
        return self._do("trim", lambda step: self._clip(step, id, size))

    def edges(self, id: int) -> list[int]:
        """Where the tokens of a node end, in bytes; of the person's text where words end."""
        ends: list[int] = []
        size = 0
        for span in self._loom.spans(self._node(id)):
            if span.piece.ids is None:
                ends += (size + end for end in _word_ends(span.data))
            size += len(span.data)
            if not ends or ends[-1] < size:
                ends.append(size)
        return ends

    def alternative(self, id: int, token: int, choice: int) -> Change:
        """Let another candidate stand in place of a node's nth token, and end the story there.

        `choice` counts the alternatives kept at birth (`Document.birth`). The old text stays as a
        branch.
        """
        node = self._node(id)
        at, span = self._token(node, token)
        index, piece = span.index, span.piece
        assert index is not None
        known = self._undo_log.birth(piece.id).alternatives
        edge = token_edges(piece)[index]
        overlap = max(-edge, 0)
        if index >= len(known) or not 0 <= choice < len(known[index]):
            raise UsageError("There is no such alternative", "", "Choose one that is shown.")
        number, data, logprob = known[index][choice]
        if len(data) <= overlap:
            raise UsageError("This candidate has no text", "", "Choose another one.")
        birth = Provenance({"forced": True}, (known[index],), arrivals=(Arrival("picked"),))
        run = Piece(
            0, data[overlap:], piece.author, time.time(), (number,), (len(data),), overlap,
            piece.fingerprint, (logprob,), provenance_text(birth),
        )  # fmt: skip

        def work(step: UndoStep) -> None:
            parent = node.parent
            if at:
                parent = self._cut(step, id, at)
            lead(self._loom, step, self._hang(step, parent, run))

        return self._do("swap an alternative in", work)

    # --- marks

    def bookmark(self, id: int, on: bool = True) -> None:
        """Bookmark a node, or not."""
        self._mark("bookmark", id, bookmark=on)

    def tag(self, id: int, *tags: str) -> None:
        """The tags of a node, in this order; none to remove them."""
        self._mark("tags", id, tags=tuple(dict.fromkeys(filter(None, map(str.strip, tags)))))

    def note(self, id: int, text: str) -> None:
        """A note on a node; empty to remove it."""
        self._mark("note", id, note=text)

    def rate(self, id: int, rating: int) -> None:
        """Rate a node from 1 to 5; 0 takes the rating away."""
        if not 0 <= rating <= MOST_RATING:
            raise UsageError("Ratings go from 1 to 5", f"{rating} is none of them.", "")
        self._mark("rating", id, rating=rating)

    def sort(self, id: int, order: str) -> None:
        """Sort the children of a node, or of the root: by one of `core.tree_outline.ORDERS`."""
        if order not in ORDERS:
            raise UsageError(f"Nothing is sorted by {order!r}", "", f"Choose {', '.join(ORDERS)}.")
        self._mark("sort children", id, order="" if order == ORDERS[0] else order)

    def marks(self, id: int) -> Marks:
        """What is noted on a node."""
        return self._loom.marks.get(id, Marks())

    # --- how the tree is looked at: kept with the loom, but no steps

    def fold(self, id: int, on: bool = True) -> None:
        """Hide or show what is below a node."""
        _toggle(self._loom.sight.folded, id, on)
        self._undo_log.keep_sight(id)

    def read(self, *ids: int) -> None:
        """These nodes have been seen."""
        seen = [id for id in ids if id in self._loom.sight.unread]
        self._loom.sight.unread.difference_update(seen)
        self._undo_log.keep_sight(*seen)

    def hoist(self, id: int = ROOT) -> None:
        """Show this node as the root; without one, the whole tree again."""
        self._place(id)
        self._loom.sight.hoisted = id
        self._undo_log.keep("hoisted", id)

    # --- inner workings

    def _do(self, label: str, work: Callable[[UndoStep], object]) -> Change:
        step = self._manuscript.begin(label)
        work(step)
        return self._manuscript.finish(step)

    def _with(self, step: UndoStep) -> tuple[LoomTree, UndoStep, Callable[[], int]]:
        return self._loom, step, self._undo_log.new_node

    def _token(self, node: LoomNode, nth: int) -> tuple[int, TokenSpan]:
        """A node's nth whole token, and the bytes of the node before it."""
        at = 0
        for span in self._loom.spans(node):
            if span.index is not None:
                if not nth:
                    return at, span
                nth -= 1
            at += len(span.data)
        raise UsageError("There is no such token", "", "Choose one that a model made.")

    def _at(self, id: int, size: int) -> tuple[int, int]:
        """Where so many bytes of a node end: keeping what was undone may just have cut it."""
        while size > (node := self._loom.nodes[id]).size:
            size -= node.size
            id = next(child for child in self._loom.children[id] if child in self._undo_log.cut)
        return id, size

    def _clip(self, step: UndoStep, id: int, size: int) -> None:
        """Delete a node's text after so many bytes, with all below it."""
        left, size = self._at(id, size)
        if size < self._loom.nodes[left].size:
            tree_edits.clip(*self._with(step), left, size)
        else:
            below = self._loom.children.get(left, ())
            tree_edits.delete(self._loom, step, [one for one in below if one in self._undo_log.cut])

    def _cut(self, step: UndoStep, id: int, size: int) -> int:
        """Let a node end after so many bytes of this one's text. Returns the node that does."""
        left, size = self._at(id, size)
        if size < self._loom.nodes[left].size:
            split(*self._with(step), self._loom.nodes[left], size)
        return left

    def _end(self, id: int) -> Callable[[], int]:
        """Tells later which node a node's text ends in then."""
        size = self._loom.nodes[id].size if id != ROOT else 0
        return lambda: self._at(id, size)[0] if size else id

    def _hang(self, step: UndoStep, parent: int, piece: Piece) -> int:
        number, id = self._undo_log.new_piece(piece), self._undo_log.new_node()
        step.put(self._loom, id, LoomNode(id, parent, whole(self._loom, number)))
        return id

    def _hang_all(self, label: str, pieces: Sequence[tuple[int, Piece]]) -> list[int]:
        """New nodes, each under the one of its id."""
        for id, _ in pieces:
            self._place(id)
        ends = [(self._end(id), piece) for id, piece in pieces]
        made: list[int] = []

        def work(step: UndoStep) -> None:
            made.extend(self._hang(step, end(), piece) for end, piece in ends)

        if pieces:
            self._do(label, work)
        return made

    def _delete(self, label: str, ids: Iterable[int]) -> Change:
        gone = tuple(ids)
        if not gone:
            return self._manuscript.nothing()
        return self._do(label, lambda step: tree_edits.delete(self._loom, step, gone))

    def _mark(self, label: str, id: int, **changes: object) -> None:
        self._manuscript.checkpoint()
        self._place(id)
        before = self.marks(id)
        marks = replace(before, **changes)  # type: ignore[arg-type]
        if marks != before:
            self._do(label, lambda step: step.mark(self._loom, id, marks))

    def _node(self, id: int) -> LoomNode:
        """A node of the tree. What is being typed is ended first: it may make nodes anew."""
        self._manuscript.checkpoint()
        if id == ROOT or not self._loom.holds(id):
            raise self._gone()
        return self._loom.nodes[id]

    def _place(self, id: int) -> None:
        """Check that something may hang here."""
        if id != ROOT:
            self._node(id)

    def _inside(self, node: LoomNode, size: int) -> None:
        if not 0 < size < node.size:
            raise UsageError(
                "A node cannot be cut there", f"It has {node.size} bytes.", "Cut inside of it."
            )

    def _gone(self) -> UsageError:
        return UsageError("That branch is not there", "It was undone or deleted.", "Undo that.")


def _toggle(found: set[int], id: int, on: bool) -> None:
    (found.add if on else found.discard)(id)


def _word_ends(data: bytes) -> list[int]:
    """Where words end: before the space of the next one."""
    spaces = [n for n in range(1, len(data)) if data[n : n + 1].isspace()]
    return [n for n in spaces if not data[n - 1 : n].isspace()]
