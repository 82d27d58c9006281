"""The app in a real pseudo-terminal: key to paint, bytes a key, writes while weaving."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import Row, percentile
from llterm.session.document import Document
from llterm.session.stories import STORIES
from tests.helpers.terminal import Terminal, llterm

KEYS = 120
CTRL_J = "\n"
CTRL_G, ESCAPE, F4 = "\x07", "\x1b", "\x1bOS"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _large_loom(home / "large.loom")
        rows = [
            *_keys(home, "true colour", 33, {}),
            *_keys(home, "SSH settings", 66, {"SSH_CONNECTION": "::1 1 ::1 2"}),
            *_keys(home, "heat panel open", 33, {}, heat=True),
            *_bytes(home, "true colour", 10, {"COLORTERM": "truecolor"}),
            *_bytes(home, "256 colours", 8, {"COLORTERM": ""}),
        ]
        return rows


def _large_loom(path: Path) -> None:
    """A story of 20,000 tokens in a loom of 10,000 nodes."""
    document = Document.create(path)
    words = (STORIES[0].text + " frighten him. ").split()
    for index in range(10_000):
        end = len(document.text)
        pair = f"{words[2 * index % len(words)]} {words[(2 * index + 1) % len(words)]}"
        document.edit(end, end, pair + ("\n\n" if index % 60 == 59 else " "))
        document.checkpoint()
    document.close()


@contextmanager
def _app(
    home: Path, env: dict[str, str], *, columns: int = 120, rows: int = 40
) -> Iterator[Terminal]:
    folders = {f"XDG_{name}_HOME": str(home) for name in ("DATA", "CONFIG", "STATE")}
    everything = {**os.environ, "HOME": str(home), **folders, **env}
    command = llterm("weave", "large.loom", "--budget", "1000000", "--beams", "2000",
                     "--cutoff", "0.01", "--depth", "40", "--no-auto-stop")  # fmt: skip
    with Terminal(command, columns=columns, rows=rows, env=everything, cwd=home) as terminal:
        terminal.wait_for(lambda text: re.search(r"of [\d,]+ tokens|[\d,]+ tokens", text))
        terminal.settle(1.0)
        yield terminal


def _keys(
    home: Path, name: str, budget: float, env: dict[str, str], *, heat: bool = False
) -> list[Row]:
    """Type while a weave runs, or while the story is read for the heat panel; the time from each
    key to the screen that shows it."""
    times = []
    with _app(home, {"COLORTERM": "truecolor", **env}) as terminal:
        if heat:
            # The weave that begins at the start goes before reading, and takes the first escape.
            terminal.send(CTRL_G)
            terminal.settle(0.2)
            terminal.send(F4)
            terminal.wait_for(lambda text: "surprisal" in text)
            terminal.send(ESCAPE)
        else:
            terminal.send(CTRL_J)
            terminal.wait_for(lambda text: "suggestions" in text)
        terminal.settle(0.2)
        for index in range(KEYS):
            letter = chr(ord("a") + index % 26)
            terminal.read(0.03)
            start = time.perf_counter()
            terminal.send(letter)
            seen = b""
            while letter.encode() not in seen and time.perf_counter() - start < 2:
                seen += terminal.read(0.5)
            times.append((time.perf_counter() - start) * 1000)
    middle = percentile(times, 0.5)
    doing = "reading" if heat else "weaving"
    note = f"p50 {middle:.0f}; {KEYS} keys while {doing}, 20k-token story, 10k-node loom"
    return [Row(f"key to paint p95, {name}", percentile(times, 0.95), "ms", budget, note=note)]


def _bytes(home: Path, name: str, budget: float, env: dict[str, str]) -> list[Row]:
    """Bytes that one typed key sends to the terminal, and writes a second while weaving."""
    with _app(home, env) as terminal:
        sizes = []
        for letter in "the cat sat on the mat and":
            before = len(terminal.output)
            terminal.send(letter)
            terminal.settle(0.15)
            sizes.append((len(terminal.output) - before) / 1000)
        terminal.send(CTRL_J)
        terminal.wait_for(lambda text: "suggestions" in text)
        writes, start = terminal.writes, time.perf_counter()
        while time.perf_counter() - start < 4:
            terminal.read(0.02)
        rate = (terminal.writes - writes) / (time.perf_counter() - start)
    return [
        Row(f"bytes a key at 120×40, {name}", max(sizes), "KB", budget),
        Row(f"writes a second while weaving, {name}", rate, "/s", 12),
    ]
