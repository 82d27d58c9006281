"""How long a person waits at the start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time

from benchmarks.rows import Row
from tests.helpers.terminal import Terminal, llterm

ROUNDS = 5
PROMPT = "Once upon a time there was a little fox"


def measure() -> list[Row]:
    helps, paints, firsts = [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "llterm", "--help"], check=True, capture_output=True)
        helps.append(time.perf_counter() - start)
        paint, first = _start()
        paints.append(paint)
        firsts.append(first)
    note = f"best of {ROUNDS}"
    return [
        Row("llterm --help", min(helps), "s", 0.2, note=note),
        Row("first paint of weave", min(paints), "s", 0.6, note=note),
        Row("first suggestion on the bundled model", min(firsts), "s", 1.5, note=note),
    ]


def _start() -> tuple[float, float]:
    """Seconds to the first story text on screen, and to the first suggestion's percent."""
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}
        start = time.perf_counter()
        with Terminal(llterm("weave", "--prompt", PROMPT), env={**os.environ, **env}) as terminal:
            terminal.wait_for("little fox")
            paint = time.perf_counter() - start
            terminal.send("\n")
            terminal.wait_for(lambda text: re.search(r"[▏▎▍▌▋▊▉█] +\d+\.\d%", text))
            return paint, time.perf_counter() - start
