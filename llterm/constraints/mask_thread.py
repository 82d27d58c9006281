"""The masks of many texts at once, computed on one thread a model beside whoever decodes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from llterm.constraints.compiled import ConstraintWalk, compile
from llterm.constraints.spec import Constraint
from llterm.core.distribution import Mask
from llterm.core.tokens import Tail, Vocabulary

T = TypeVar("T")


class MaskThread:
    """What is asked of it is done in the order of asking; nobody waits meanwhile.

    A row whose mask is not `done()` is left out of a step, and no other. A coroutine awaits one
    with `asyncio.wrap_future`. A walk is to be used through this thread alone, and no more once one
    of its futures failed or was cancelled.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llterm-masks")

    def begin(self, constraint: Constraint) -> Future[ConstraintWalk]:
        """A text under the constraint, which is made ready first unless it is.

        The future raises UsageError, as `compile`.
        """
        return self._thread.submit(lambda: compile(constraint, self._vocabulary).walk())

    def mask(self, walk: ConstraintWalk, taken: Tail = ()) -> Future[Mask]:
        """Which ids may follow, once the text went on by the tokens `taken`.

        The future raises UsageError where the constraint proves too complex.
        """

        def masked() -> Mask:
            for id in taken:
                walk.take(id)
            return walk.mask()

        return self._thread.submit(masked)

    def call(self, question: Callable[[], T]) -> Future[T]:
        """Something else about a constraint, such as the tokens after which only bans are left."""
        return self._thread.submit(question)

    def close(self) -> None:
        """Let nothing more be begun, and wait for what is under way: it may read the vocabulary,
        which goes with its model."""
        self._thread.shutdown(cancel_futures=True)
