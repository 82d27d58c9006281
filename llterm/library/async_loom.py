"""Looms of the async face: the names of `loom.py`, awaited. On their model's event loop alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Self, Unpack

from llterm.library.call_settings import DrawSettings, SearchSettings, Texts, growth_rules
from llterm.library.leaf_pipeline import AsyncLeaves, PipelineRun
from llterm.library.loom_base import LoomFace
from llterm.library.loom_core import GrownToken, LoomCore
from llterm.library.loop_thread import HereAlone
from llterm.library.text_results import MadeText, NextTokens
from llterm.library.tree_node import TreeNode


class AsyncNode(TreeNode):
    """A node of a loom, as `Node`: what asks the model, or its tokenizer, is awaited."""

    async def tokens(self) -> tuple[int, ...]:
        """As `Node.tokens`."""
        return tuple(id for id, _ in await self._core.tokens(self.id))

    async def path_tokens(self, exclude: int = 0) -> tuple[int, ...]:
        """As `Node.path_tokens`."""
        return tuple([id for node in self.path[exclude:] for id in await node.tokens()])

    async def prompt_tokens(self) -> tuple[int, ...]:
        """As `Node.prompt_tokens`."""
        return await self._core.prompt_tokens(self.id)

    async def clip(self, count: int) -> Self:
        """As `Node.clip`."""
        await self._core.clip(self.id, count)
        return self

    async def trim(self, count: int = 1) -> Self:
        """As `Node.trim`."""
        return await self.clip(-count) if count else self

    async def grow(
        self,
        n: int = 4,
        *,
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> list[AsyncNode]:
        """As `Node.grow`."""
        rules = growth_rules(n, tokens, stop, sentence=sentence, heal=heal)
        return [self._at(id) for id in await self._core.grow_below(self.id, rules, settings)]

    def stream(
        self,
        n: int = 4,
        *,
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> AsyncNodeStream:
        """As `Node.stream`: an async iterator."""
        rules = growth_rules(n, tokens, stop, sentence=sentence, heal=heal)
        made: list[int] = []
        source = self._core.stream([self.id], rules, settings, made)
        return AsyncNodeStream(source, made, self._at)

    async def ramify(
        self, text: Texts | None = None, **settings: Any
    ) -> AsyncNode | list[AsyncNode]:
        """As `Node.ramify`: `write` with a text or several, else `grow`."""
        return await self.grow(**settings) if text is None else self.write(text)

    async def next(self, top: int = 10, **settings: Unpack[DrawSettings]) -> NextTokens:
        """As `Node.next`."""
        return await self._core.model.next(self._core.request(self.id), top, settings)

    async def suggest(self, **settings: Unpack[SearchSettings]) -> tuple[MadeText, ...]:
        """As `Node.suggest`."""
        return await self._core.model.suggest(self._core.request(self.id), settings)

    def leaves(self) -> AsyncLeaves[AsyncNode]:
        """As `Node.leaves`: what its stages call may be coroutines."""
        return AsyncLeaves(lambda: PipelineRun(self._core, self._thread, self._at, self.id))

    async def at_leaves(self, work: Callable[[AsyncNode], Any]) -> list[Any]:
        """As `Node.at_leaves`: what it returns is awaited where it can be."""
        return await self.apply_at_leaves(work)

    async def apply_at_leaves(self, *stages: Callable[[AsyncNode], Any]) -> list[Any]:
        """As `Node.apply_at_leaves`: what a stage returns is awaited where it can be."""
        pipeline = self.leaves()
        for stage in stages:
            pipeline = pipeline.apply(stage)
        return (await pipeline.run()).checked()


class AsyncNodeStream:
    """Children that grow: their tokens as they are drawn, of each in order."""

    def __init__(
        self,
        source: AsyncGenerator[GrownToken],
        made: Sequence[int],
        node: Callable[[int], AsyncNode],
    ) -> None:
        self._source = source
        self._made = made
        self._node = node

    def __aiter__(self) -> AsyncIterator[GrownToken]:
        return self._source

    async def aclose(self) -> None:
        """Stop it: no child stays."""
        await self._source.aclose()

    @property
    def children(self) -> list[AsyncNode]:
        """Those that are in the loom now: all, when the stream has ended."""
        return [self._node(id) for id in self._made]


class AsyncLoom(LoomFace[AsyncNode]):
    """A loom that is open, as `Loom`. What reads or changes its tree returns at once."""

    def __init__(self, core: LoomCore, thread: HereAlone) -> None:
        """Made by a model."""
        super().__init__(core, thread, lambda id: AsyncNode(core, thread, id), "AsyncLoom")

    async def close(self) -> None:
        """As `Loom.close`."""
        self._thread.call(self._core.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
