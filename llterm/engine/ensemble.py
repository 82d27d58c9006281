"""The models of a mix as they are asked: all at once, one or another of them silent for a while.

A model whose server goes away is left out at once where the others can go on, and asked again and
again in the background until it answers. Where they cannot go on without it, it is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from llterm.core.mixing.blend import MemberDistribution
from llterm.core.query import Cost, OnServers, Source
from llterm.core.server_news import Absence
from llterm.core.tokens import Path
from llterm.engine.members import Answer, Member
from llterm.errors import BackendUnavailable, LltermError

SLOW = 2.0
"""Seconds of silence after which it is told who is waited for."""
AGAIN = 1.0
"""Seconds between two questions to a model that is left out; a wire's own rests come on top."""

_Said = tuple[int, Answer | LltermError | None] | None
"""What a model, by index, said: about one path, that it fails, or that it is done. None: look who
is away, or ended without a word."""


@dataclass(frozen=True, slots=True)
class MissingModel:
    """A model that is left out."""

    error: LltermError
    since: float
    """When it fell silent, in seconds since 1970."""
    returns: bool
    """It is asked again by itself; otherwise only `recall` brings it back."""


@dataclass(slots=True)
class AwaitedModel:
    """A model that an answer is waited for."""

    since: float
    """When it last said something or was asked, in seconds since 1970."""
    told_at: float
    """When it is told that it is waited for, by the event loop's clock."""
    slow: bool = False
    """It has been silent for so long that this was told."""

    @classmethod
    def from_now(cls) -> AwaitedModel:
        return cls(time.time(), asyncio.get_running_loop().time() + SLOW)


@dataclass(slots=True, eq=False)
class PathVotes:
    """What has been said about one path so far."""

    heard: dict[int, MemberDistribution] = field(default_factory=dict)
    error: LltermError | None = None
    cost: Cost = field(default_factory=Cost)
    left: int = 0
    """Models that have not said anything yet."""


@dataclass(slots=True, eq=False)
class _Round:
    """Questions under way: what each model is asked, and what is known of each path."""

    paths: dict[int, list[Path]]
    hearings: dict[Path, PathVotes]
    patient: bool
    queue: asyncio.Queue[_Said] = field(default_factory=asyncio.Queue)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Of the models that have not said all yet."""

    def unheard(self, index: int) -> list[Path]:
        """What a model was asked and has not said."""
        waiting = [path for path in self.paths[index] if path in self.hearings]
        return [path for path in waiting if index not in self.hearings[path].heard]

    def note(
        self, index: int, path: Path, said: MemberDistribution | LltermError, cost: Cost
    ) -> dict[Path, PathVotes]:
        """Keep what a model said about a path; the path, if all is said about it now.

        Where the model is left out its silence is no error of the path.
        """
        hearing = self.hearings[path]
        hearing.left -= 1
        hearing.cost += cost
        if isinstance(said, MemberDistribution):
            hearing.heard[index] = said
        elif index in self.tasks:
            hearing.error = said
        return {} if hearing.left else {path: self.hearings.pop(path)}


class Ensemble:
    """Asks several models; `forgiving`: one that fails is left out, and the others go on."""

    def __init__(
        self,
        voices: Sequence[Member],
        sources: Sequence[Source],
        *,
        forgiving: bool,
        spared: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """`spared` says whether the mix can go on without a model. `changed` is told that a model
        was left out, answers again, or is waited for."""
        self._voices = voices
        self._sources = sources
        self._forgiving = forgiving
        self._spared = spared
        self._changed = changed
        self._recalls: dict[int, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        """Recalls that were ended, and may have a request of theirs still open."""
        self._asking = asyncio.Lock()
        self._going: _Round | None = None
        self._end_listening = [
            source.news.listen(self._look) for source in sources if isinstance(source, OnServers)
        ]
        self.lost: dict[int, MissingModel] = {}
        """Models that are left out, by index."""
        self.awaited: dict[int, AwaitedModel] = {}
        """Models that an answer is waited for, by index."""
        self.back: set[int] = set()
        """Models of those left out that answer again; `admit` lets them in."""

    def away(self, index: int) -> Absence | None:
        """What is the matter with a model's server that is waited for; None where it answers."""
        source = self._sources[index]
        waited_for = source.news.waited_for if isinstance(source, OnServers) else ()
        return waited_for[0] if waited_for else None

    def admit(self) -> None:
        """Those that answer again are left out no longer."""
        self.recall(self.back)

    def recall(self, indices: Iterable[int]) -> None:
        """Leave these out no longer, whether they answer or not."""
        recalled = [index for index in indices if index in self.lost]
        for index in recalled:
            del self.lost[index]
            self.back.discard(index)
            if (task := self._recalls.pop(index, None)) is not None:
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        if recalled:
            self._changed()

    async def close(self) -> None:
        for end in self._end_listening:
            end()
        self.recall(self.lost)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def listen(
        self, wanted: Mapping[Path, Iterable[int]], *, patient: bool
    ) -> AsyncGenerator[dict[Path, PathVotes]]:
        """Ask each model about the paths it is wanted for; paths of which all is known, as they
        come, several at a time where they come fast.

        `patient`: wait for a server that is away, as long as its wire does, before its model is
        left out.
        """
        going = _begun(wanted, patient or not self._forgiving)
        async with self._asking:
            # Who was waited for by those is waited for no longer: it is asked now.
            await asyncio.gather(*self._ending, return_exceptions=True)
            self._going = going
            for index, paths in going.paths.items():
                self.awaited[index] = AwaitedModel.from_now()
                task = asyncio.create_task(self._pump(index, paths, going.queue))
                task.add_done_callback(lambda _: going.queue.put_nowait(None))
                going.tasks[index] = task
            going.queue.put_nowait(None)
            try:
                while going.tasks:
                    ready = await self._heard(going)
                    while going.tasks and not going.queue.empty():
                        ready |= self._take(going, going.queue.get_nowait())
                    if ready:
                        yield ready
            finally:
                self._going = None
                self._await_no_longer()
                for task in going.tasks.values():
                    task.cancel()
                await asyncio.gather(*going.tasks.values(), return_exceptions=True)

    def _look(self) -> None:
        """Have the round under way look who is away now."""
        if self._going is not None:
            self._going.queue.put_nowait(None)

    async def _heard(self, going: _Round) -> dict[Path, PathVotes]:
        """What is known after the next answer, or after somebody was left out for silence."""
        quiet = [awaited.told_at for awaited in self.awaited.values() if not awaited.slow]
        try:
            async with asyncio.timeout_at(min(quiet, default=None)):
                said = await going.queue.get()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            for awaited in self.awaited.values():
                awaited.slow = awaited.slow or awaited.told_at <= now
            self._changed()
            return {}
        return self._take(going, said)

    def _await_no_longer(self) -> None:
        slow = any(awaited.slow for awaited in self.awaited.values())
        self.awaited.clear()
        if slow:
            self._changed()

    def _without_the_away(self, going: _Round) -> dict[Path, PathVotes]:
        """Leave out who is waited for while its server is away, if the others can go on."""
        ready: dict[Path, PathVotes] = {}
        for index in () if going.patient else tuple(going.tasks):
            if (absence := self.away(index)) and self._spared(index):
                title = f"{self._sources[index].name} does not answer"
                cause = f"{absence.address}: {absence.words}."
                gone = BackendUnavailable(title, cause, "Is its server running?")
                ready |= self._silence(going, index, gone)
        return ready

    def _take(self, going: _Round, answer: _Said) -> dict[Path, PathVotes]:
        """Note what a model said; the paths about which all has been said now."""
        if answer is None:
            for task in going.tasks.values():
                if task.done():
                    task.result()  # Raises what nobody foresaw: no answer would ever come.
            return self._without_the_away(going)
        index, said = answer
        if index not in going.tasks:
            return {}
        was_slow = self.awaited[index].slow
        self.awaited[index] = AwaitedModel.from_now()
        if was_slow:
            self._changed()
        if said is None:
            going.tasks.pop(index)
            del self.awaited[index]
            return {}
        error = said if isinstance(said, LltermError) else said[1]
        if isinstance(error, LltermError) and self._forgiving:
            return self._silence(going, index, error)
        if isinstance(said, LltermError):
            raise said
        return going.note(index, *said)

    def _silence(self, going: _Round, index: int, error: LltermError) -> dict[Path, PathVotes]:
        """A model says no more: leave it out from now on. One whose server is away is asked again
        until it answers."""
        going.tasks.pop(index).cancel()
        returns = isinstance(error, BackendUnavailable)
        self.lost[index] = MissingModel(error, self.awaited.pop(index).since, returns)
        if returns:
            path = going.paths[index][-1]
            self._recalls[index] = asyncio.create_task(self._recall(index, path))
        self._changed()
        ready: dict[Path, PathVotes] = {}
        for path in going.unheard(index):
            ready |= going.note(index, path, error, Cost())
        return ready

    async def _recall(self, index: int, path: Path) -> None:
        """Ask until there is an answer, or an error that no waiting cures."""
        while True:
            await asyncio.sleep(AGAIN)
            try:
                await self._asked(index, path)
                break
            except BackendUnavailable:
                continue
            except LltermError as error:
                self.lost[index] = MissingModel(error, self.lost[index].since, returns=False)
                self._changed()
                return
        self.back.add(index)
        self._changed()

    async def _asked(self, index: int, path: Path) -> None:
        """Hear a model about one path. Raises LltermError."""
        async with aclosing(self._voices[index].hear([path])) as answers:
            async for _, said, _ in answers:
                if isinstance(said, LltermError):
                    raise said

    async def _pump(self, index: int, paths: Sequence[Path], queue: asyncio.Queue[_Said]) -> None:
        """Carry what one model says to the queue, then None."""
        try:
            async with aclosing(self._voices[index].hear(paths)) as answers:
                async for answer in answers:
                    queue.put_nowait((index, answer))
        except LltermError as error:
            queue.put_nowait((index, error))
        queue.put_nowait((index, None))


def _begun(wanted: Mapping[Path, Iterable[int]], patient: bool) -> _Round:
    paths: dict[int, list[Path]] = {}
    hearings: dict[Path, PathVotes] = {}
    for path, indices in wanted.items():
        hearings[path] = PathVotes()
        for index in indices:
            hearings[path].left += 1
            paths.setdefault(index, []).append(path)
    return _Round(paths, hearings, patient)
