"""The canonical pass: after a search what counts of it is read once more, each path by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from llterm.core.canonical_paths import CanonicalPaths
from llterm.core.query import AnswersInOrder, Cost, Failed, Source
from llterm.core.weave_state import Weave


class CanonicalPass:
    """The pass over one weave, whose search has ended; it does not change."""

    def __init__(self, weave: Weave, source: Source) -> None:
        self.weave = weave
        """What is known: canonical figures in place of the search's, once all are there."""
        # Where figures do not depend on what was asked before they are canonical as they are.
        depends = source.capabilities.anchored
        self._source = source if depends and isinstance(source, AnswersInOrder) else None

    async def run(self) -> AsyncGenerator[Cost]:
        """Read; yields what it cost since the last time. Cancelling leaves `weave` as it was. A
        path that cannot be read keeps the search's figures. Raises LltermError."""
        if self._source is None:
            return
        paths, any_read = CanonicalPaths(self.weave), False
        # A large tree takes a moment to look through.
        while queries := await asyncio.to_thread(paths.wants):
            async with aclosing(self._source.ask_in_order(queries)) as answers:
                async for answer in answers:
                    if not isinstance(answer, Failed):
                        any_read = True
                        paths.learn(answer)
                        yield replace(answer.cost, again=answer.cost.tokens)
        if any_read:
            self.weave = await asyncio.to_thread(paths.reread)
