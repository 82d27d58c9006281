"""Looms of the sync face, their nodes and streams of children. From any thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from llterm.library.call_settings import (
    DrawSettings,
    SearchSettings,
    Several,
    Texts,
    growth_rules,
)
from llterm.library.leaf_pipeline import Leaves, PipelineRun
from llterm.library.loom_base import LoomFace
from llterm.library.loom_core import GrownToken, LoomCore
from llterm.library.loop_thread import LoopThread, Stream
from llterm.library.text_results import MadeText, NextTokens
from llterm.library.tree_node import TreeNode

T = TypeVar("T")


class Node(TreeNode):
    """A node of a loom. All that changes it is a step of the loom's history."""

    _thread: LoopThread

    @property
    def tokens(self) -> tuple[int, ...]:
        """Its own tokens: a model's as they were drawn, less those that only write the end of the
        text before again (healing); a person's text as the model reads it alone; of a chat's root
        the chat."""
        return tuple(id for id, _ in self._thread.run(self._core.tokens(self.id)))

    def path_tokens(self, exclude: int = 0) -> tuple[int, ...]:
        """The tokens of the nodes from the root to this one, less the first `exclude` nodes."""
        return tuple(id for node in self.path[exclude:] for id in node.tokens)

    @property
    def prompt_tokens(self) -> tuple[int, ...]:
        """What the model reads before it goes on from here: its own prefix, hidden text or chat,
        and as much of the path as it sees; two bursts of typing are tokenised as one."""
        return self._thread.run(self._core.prompt_tokens(self.id))

    def clip(self, count: int) -> Self:
        """Keep its first tokens; below 0: all but so many at its end. Where something is cut off,
        all below goes with it. Raises UsageError where nothing would stay."""
        self._thread.run(self._core.clip(self.id, count))
        return self

    def trim(self, count: int = 1) -> Self:
        """Take so many tokens off its end, and all below with them."""
        return self.clip(-count) if count else self

    def grow(
        self,
        n: int = 4,
        *,
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> list[Node]:
        """`n` children by the model, drawn side by side: a decode a token for all of them.

        Each has `tokens` tokens at most, and ends after a text of `stop`, with `sentence` where a
        sentence ends, or where the model ends its text: it is `terminal` then. `heal`: a word that
        the text before ends in is finished first. `settings`: the sampler's, and what the children
        must fit. With a seed the same children come again.

        Returns the children; one that ends with its first token has no text, and is none. Raises
        UsageError where this node is terminal.
        """
        rules = growth_rules(n, tokens, stop, sentence=sentence, heal=heal)
        return [
            self._at(id) for id in self._thread.run(self._core.grow_below(self.id, rules, settings))
        ]

    def stream(
        self,
        n: int = 4,
        *,
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> NodeStream:
        """As `grow`, token by token of all children; they are in the loom, and in `children` of
        what is returned, when all have ended. Closed early it leaves none."""
        rules = growth_rules(n, tokens, stop, sentence=sentence, heal=heal)
        made: list[int] = []
        source = self._core.stream([self.id], rules, settings, made)
        return NodeStream(self._thread, source, made, self._at)

    @overload
    def ramify(self, text: str) -> Node: ...
    @overload
    def ramify(self, text: Several) -> list[Node]: ...
    @overload
    def ramify(
        self, text: None = None, *, stream: Literal[False] = False, n: int = 4, tokens: int = 64,
        stop: Texts = (), **settings: Unpack[DrawSettings],
    ) -> list[Node]: ...  # fmt: skip
    @overload
    def ramify(
        self, text: None = None, *, stream: Literal[True], n: int = 4, tokens: int = 64,
        stop: Texts = (), **settings: Unpack[DrawSettings],
    ) -> NodeStream: ...  # fmt: skip
    def ramify(
        self, text: Texts | None = None, *, stream: bool = False, **settings: Any
    ) -> Node | list[Node] | NodeStream:
        """N8Loom's one verb for more: `write` with a text or several, `stream`, or else `grow`."""
        if text is not None:
            return self.write(text)
        return self.stream(**settings) if stream else self.grow(**settings)

    def next(self, top: int = 10, **settings: Unpack[DrawSettings]) -> NextTokens:
        """What may stand next, best first: each candidate before and after the sampler chain."""
        request = self._call(lambda: self._core.request(self.id))
        return self._thread.run(self._core.model.next(request, top, settings))

    def suggest(self, **settings: Unpack[SearchSettings]) -> tuple[MadeText, ...]:
        """The most probable ways on, as `llterm suggest` finds them, best first."""
        request = self._call(lambda: self._core.request(self.id))
        return self._thread.run(self._core.model.suggest(request, settings))

    def leaves(self) -> Leaves[Node]:
        """A pipeline over the leaves from here on."""
        return Leaves(lambda: PipelineRun(self._core, self._thread, self._at, self.id))

    def at_leaves(self, work: Callable[[Node], T]) -> list[T]:
        """Call this with each leaf below, as they are now. Returns what it gives."""
        return self.apply_at_leaves(work)

    def apply_at_leaves(self, *stages: Callable[[Node], Any]) -> list[Any]:
        """Call the first with each leaf from here on, the next with each leaf that there is then,
        and so on. Returns what the last one gives.

        A stage's leaves are found when it begins. A leaf where a stage raises takes no part in the
        later ones: LeavesFailed is raised when all are done, with the others' results.
        """
        pipeline = self.leaves()
        for stage in stages:
            pipeline = pipeline.apply(stage)
        return pipeline.run().checked()


class NodeStream(Stream[GrownToken]):
    """Children that grow: their tokens as they are drawn, of each in order."""

    def __init__(
        self,
        thread: LoopThread,
        source: AsyncGenerator[GrownToken],
        made: list[int],
        node: Callable[[int], Node],
    ) -> None:
        super().__init__(thread, source)
        self._made = made
        self._node = node

    @property
    def children(self) -> list[Node]:
        """Those that are in the loom now: all, when the stream has ended."""
        return [self._node(id) for id in self._made]


class Loom(LoomFace[Node]):
    """A loom that is open. Leaving its with block, or its model's, closes it."""

    def __init__(self, core: LoomCore, thread: LoopThread) -> None:
        """Made by a model."""
        super().__init__(core, thread, lambda id: Node(core, thread, id), "Loom")

    def close(self) -> None:
        """Write what is not written yet, and give its file free. May be called again."""
        self._thread.call(self._core.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
