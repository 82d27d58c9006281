"""Many streams at once against a server, and what they took of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

TOKENS = 64
"""Drawn by each stream."""


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """One load, measured."""

    rate: float
    """Tokens a second over all streams, first request to last token."""
    cpu: float
    """Seconds of all processes of the server, a request."""
    first: float
    """Seconds to the first token, median of the streams."""
    pause: float
    """Longest seconds between two events of any stream."""


async def load(address: tuple[str, int], pid: int, prompts: Sequence[Sequence[int]]) -> LoadFigures:
    """All prompts at once, as llama.cpp's `/completion` takes them."""
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    streams = await asyncio.gather(
        *(_stream(address, prompt, seed) for seed, prompt in enumerate(prompts))
    )
    end = time.perf_counter()
    spent = cpu_seconds(pid) - cpu
    firsts = sorted(times[0] - begin for times in streams)
    pauses = [later - earlier for times in streams for earlier, later in pairwise(times)]
    return LoadFigures(
        TOKENS * len(prompts) / (end - begin),
        spent / len(prompts),
        firsts[(len(firsts) - 1) // 2],
        max(pauses),
    )


async def _stream(address: tuple[str, int], prompt: Sequence[int], seed: int) -> list[float]:
    """When each event of one stream came."""
    asked: dict[str, Any] = {
        "prompt": list(prompt), "n_predict": TOKENS, "stream": True, "ignore_eos": True,
        "temperature": 0.8, "samplers": ["temperature"], "seed": seed, "cache_prompt": True,
    }  # fmt: skip
    body = json.dumps(asked).encode()
    head = (
        f"POST /completion HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*address)
    times: list[float] = []
    last = b""
    try:
        writer.write(head.encode() + body)
        async for line in reader:
            if line.startswith(b"data: {"):
                times.append(time.perf_counter())
                last = line
    finally:
        writer.close()
    told = json.loads(last[len(b"data: ") :]) if last else {}
    assert told.get("tokens_predicted") == TOKENS, f"the stream ended with {told}"
    return times


def cpu_seconds(pid: int) -> float:
    """Of a process and all under it, so far; Linux."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    waiting = [pid]
    while waiting:
        each = Path("/proc") / str(waiting.pop())
        fields = (each / "stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
        for task in (each / "task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return total
