"""What a loom's nodes are and take in both faces: whatever needs no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar, overload

from llterm.errors import UsageError
from llterm.library.call_settings import Several, Texts
from llterm.library.loom_core import LoomCore
from llterm.library.loop_thread import DocumentThread

T = TypeVar("T")


class TreeNode:
    """A node of a loom: a run of text by one author, under a parent. Two are equal where they are
    the same node of the same loom. Every member raises UsageError where the node is not there any
    more."""

    def __init__(self, core: LoomCore, thread: DocumentThread, id: int) -> None:
        """Made by a loom."""
        self._core = core
        self._thread = thread
        self.id = id
        """Of the node in its loom; none is used twice."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeNode) and (self._core, self.id) == (other._core, other.id)

    def __hash__(self) -> int:
        return hash((id(self._core), self.id))

    def __repr__(self) -> str:
        if self._core.closed or not self._call(lambda: self._core.document.loom.holds(self.id)):
            why = "closed" if self._core.closed else "deleted"
            return f"<{type(self).__name__} {self.id}, {why}>"
        text, count = self.text, self.count() - 1
        shown = text if len(text) <= 40 else text[:39] + "…"
        return f"<{type(self).__name__} {self.id} {shown!r}, {count} below>"

    # --- what it is

    @property
    def data(self) -> bytes:
        """Its own text, exact. Of a chat's root: the chat as the model reads it."""
        return self._call(lambda: self._core.data(self.id))

    @property
    def text(self) -> str:
        """The same as a string; bytes that are no UTF-8 are `�`."""
        return self.data.decode("utf-8", "replace")

    @property
    def display(self) -> str:
        """Its text for people: of a chat's root, what was said between "Prompt:" and
        "Response:"."""
        return self._call(lambda: self._core.shown(self.id))

    @property
    def author(self) -> str:
        """`person`, or the model's name."""
        return self._call(lambda: self._core.author(self.id))

    @property
    def terminal(self) -> bool:
        """Whether the model ended its text here: nothing grows from it, but a text may follow."""
        return self._call(lambda: self._core.ended(self.id))

    @property
    def logprob(self) -> float:
        """Joint, natural, of its tokens at birth; nan where no model made it."""
        known = self._call(lambda: self._core.logprobs(self.id))
        return math.nan if known is None else math.fsum(known)

    @property
    def p(self) -> float:
        """Joint probability of its tokens, given what stands before it; nan where no model made
        it."""
        return math.exp(self.logprob)

    @property
    def p_per_token(self) -> float:
        """Geometric mean of its tokens' probabilities; nan where no model made it."""
        known = self._call(lambda: self._core.logprobs(self.id))
        return math.exp(math.fsum(known) / len(known)) if known else math.nan

    # --- where it is

    @property
    def parent(self) -> Self | None:
        """The node above; None above the root."""
        above = self._call(lambda: self._core.path(self.id))[:-1]
        return self._at(above[-1]) if above else None

    @property
    def children(self) -> tuple[Self, ...]:
        """The nodes right below, oldest first."""
        return self._nodes(lambda: self._core.document.loom.children.get(self._there(), ()))

    @property
    def path(self) -> tuple[Self, ...]:
        """The nodes from the root to this one."""
        return self._nodes(lambda: self._core.path(self.id))

    @property
    def is_leaf(self) -> bool:
        return not self.children

    @property
    def is_root(self) -> bool:
        return self.id == self._core.root

    def walk(self) -> Iterator[Self]:
        """This node and all below it, parents first, as they are now."""
        return iter(self._nodes(lambda: tuple(self._core.document.loom.below(self._there()))))

    @property
    def all_children(self) -> tuple[Self, ...]:
        """All nodes below it, parents first."""
        return tuple(self.walk())[1:]

    @property
    def all_leaves(self) -> tuple[Self, ...]:
        """The nodes below it that have no children."""
        return tuple(leaf for leaf in self._leaves() if leaf != self)

    def count(self) -> int:
        """Nodes from this one on, itself too."""
        return len(tuple(self.walk()))

    def count_leaves(self) -> int:
        """Nodes without children from this one on; 1 of one that has none."""
        return len(self._leaves())

    def path_text(self, exclude: int = 0) -> str:
        """The text from the root to its end, less that of the first `exclude` nodes."""
        return self.path_data(exclude).decode("utf-8", "replace")

    def path_data(self, exclude: int = 0) -> bytes:
        """The same, exact."""
        core = self._core
        return self._call(lambda: b"".join(map(core.data, core.path(self.id)[exclude:])))

    def path_display(self, exclude: int = 0) -> str:
        """The same as `path_text` for people (`display`)."""
        core = self._core
        return self._call(lambda: "".join(map(core.shown, core.path(self.id)[exclude:])))

    def crown(self) -> str:
        """The text from below the root to its end."""
        return self.path_text(1)

    # --- what can be done with it: each is a step that the loom's undo takes back

    @overload
    def write(self, text: str) -> Self: ...
    @overload
    def write(self, text: Several) -> list[Self]: ...
    def write(self, text: Texts) -> Self | list[Self]:
        """A child with a text by the person; of several texts a child each. Also where the model
        ended its text. Raises UsageError for an empty text."""
        texts = [text] if isinstance(text, str) else list(text)
        write = self._core.document.branches.write
        made = self._nodes(lambda: write([(self.id, each) for each in texts]) if texts else [])
        return made[0] if isinstance(text, str) else list(made)

    def leaf(self) -> Self:
        """Delete all below it."""
        self._call(lambda: self._core.document.branches.delete_children(self._there()))
        return self

    def add(self, child: Self) -> Self:
        """Hang another node of this loom, with all below it, under this one; also one that was
        removed. Returns that."""
        if child._core is not self._core:
            raise _stranger()
        self._call(lambda: self._core.move(child.id, self.id))
        return child

    def remove(self, child: Self) -> Self:
        """Take a child away with all below it; `add` brings it back. Returns it."""
        if child not in self.children:
            raise _no_child(child)
        child.delete()
        return child

    def delete(self) -> None:
        """Take it away with all below it. Raises UsageError for the root."""
        self._call(lambda: self._core.delete(self.id))

    def choose(self) -> Self:
        """Make its branch the loom's story, which the app shows, down to the newest leaf."""
        self._call(lambda: self._core.document.choose(self.id))
        return self

    # --- functions over what is below

    def apply(
        self, work: Callable[[Self], T], *, itself: bool = False, leaves_only: bool = False
    ) -> list[T]:
        """Call this with every node below it, or with the leaves among them alone, as they are
        now. Returns what it gives."""
        below = self.all_leaves if leaves_only else self.all_children
        return [work(node) for node in ((self,) if itself else ()) + below]

    # --- inner workings

    def _leaves(self) -> tuple[Self, ...]:
        return self._nodes(lambda: self._core.leaves([self._there()]))

    def _there(self) -> int:
        return self._core.held(self.id)

    def _call(self, work: Callable[[], T]) -> T:
        self._core.check_open()
        return self._thread.call(work)

    def _at(self, id: int) -> Self:
        return type(self)(self._core, self._thread, id)

    def _nodes(self, ids: Callable[[], Sequence[int]]) -> tuple[Self, ...]:
        return tuple(map(self._at, self._call(ids)))


def _stranger() -> UsageError:
    return UsageError("That node is of another loom", "", "Write its text here instead.")


def _no_child(node: TreeNode) -> UsageError:
    return UsageError(f"Node {node.id} is no child of this one", "", "See `children`.")
