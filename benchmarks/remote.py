"""Weaves over a real llama.cpp server behind a network's latency: how questions are best asked.

Three ways: a request for each line (chain), lists of single positions (level), and lists of lines
(blend), which is what llterm does. Beside them LLooM's method. All on one server, taking turns.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.delay import delayed
from benchmarks.rows import MODEL, Row
from benchmarks.server import LLooM, server
from benchmarks.weaving import begin, run
from llterm.backends.remote.remote_backend import RemoteBackend, RequestPolicy
from llterm.backends.remote.server_connection import open_remote
from llterm.config.server_settings import ServerSettings
from llterm.core.weave_settings import WeaveSettings
from llterm.session.stories import STORIES

LATENCIES = (0.0, 0.02, 0.2)
POLICIES = {
    "chain": RequestPolicy(width=1),
    "level": RequestPolicy(ahead=0),
    "blend": RequestPolicy(),
}
TREE = WeaveSettings(
    12, 0.11, split_limit=3, beams=10_000, auto_stop=False, heal=False, budget=2_000
)
"""Every suggestion above a cutoff: both sides have the same tree to go through."""
BEST = WeaveSettings(heal=False)
THREADS = 1
"""Of the server; the measuring side needs the other core."""
STORY = STORIES[1].text


@dataclass
class _Taken:
    """What one way took, over the rounds."""

    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    positions: int = 0

    @property
    def note(self) -> str:
        return f"{self.requests} requests, {self.positions} positions"


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    rows: list[Row] = []
    with server(MODEL, THREADS) as (host, port):
        for latency in LATENCIES:
            with delayed(host, port, latency) as (near, at):
                backend = await open_remote("fable", ServerSettings((f"http://{near}:{at}",)))
                assert isinstance(backend, RemoteBackend)
                try:
                    rows += await _compare(backend, (near, at), latency)
                finally:
                    await backend.close()
    return rows


async def _compare(backend: RemoteBackend, address: tuple[str, int], latency: float) -> list[Row]:
    rounds = 7 if latency < 0.1 else 2
    tree, best = ({name: _Taken() for name in POLICIES} for _ in range(2))
    theirs = _Taken()
    for turn in range(rounds + 1):
        for name, policy in POLICIES.items():
            backend.policy = policy
            for rules, taken in ((TREE, tree[name]), (BEST, best[name])):
                await _weave(backend, rules, taken, count=turn > 0)
        # The server hangs up on those that were quiet for five seconds: new connections.
        lloom = LLooM(*address)
        lloom.suggest(STORY, WeaveSettings(depth=2))
        lloom.requests = 0
        start = time.perf_counter()
        await asyncio.to_thread(lloom.suggest, STORY, TREE)
        if turn:
            theirs.seconds.append(time.perf_counter() - start)
    theirs.requests = theirs.positions = lloom.requests
    name = f"{latency * 1000:.0f} ms away"
    rows = [_row(f"{name}: tree above a cutoff, {way}", took) for way, took in tree.items()]
    rows.append(_row(f"{name}: the same tree, LLooM's method", theirs))
    ratios = [one / other for one, other in zip(theirs.seconds, tree["blend"].seconds, strict=True)]
    rows.append(
        Row(f"{name}:   × LLooM's method", statistics.median(ratios), "×",
            4.0 if latency else None, at_least=True)
    )  # fmt: skip
    return rows + [_row(f"{name}: best 25, {way}", took) for way, took in best.items()]


async def _weave(
    backend: RemoteBackend, rules: WeaveSettings, taken: _Taken, *, count: bool
) -> None:
    before = backend.transport.spent.requests
    await backend.vocabulary.tokenize(STORY.encode())
    weave = begin(backend, STORY, rules)
    start = time.perf_counter()
    await run(weave, backend)
    if count:
        taken.seconds.append(time.perf_counter() - start)
    taken.requests = backend.transport.spent.requests - before
    taken.positions = len(weave.facts)


def _row(name: str, taken: _Taken) -> Row:
    return Row(name, statistics.median(taken.seconds) * 1000, "ms", note=taken.note)
