"""`score` and `mix --base` against llama.cpp's llama-perplexity: CPU seconds, start-up aside.

`LLTERM_BENCH_PERPLEXITY` names the program; without it there are no rows. Both read the same text
with one thread, in windows of 512, and take turns. Start-up falls out: of each the difference of a
long text and a short one is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rows import MODEL, Row
from llterm.session.stories import STORIES

PROGRAM = "LLTERM_BENCH_PERPLEXITY"
WINDOW = 512
SHORT, LONG = 30_000, 150_000
"""Bytes of text: some 16 and 80 windows of the bundled model, 3 and 15 of a large vocabulary's."""
ROUNDS = 3
BUDGET = 1.1


def measure(files: list[Path] | None = None) -> list[Row]:
    """Rows for each file, the bundled model where none is named."""
    program = os.environ.get(PROGRAM)
    if not program:
        print(f"{PROGRAM} names no llama-perplexity: not compared", file=sys.stderr)
        return []
    return [row for path in files or [MODEL] for row in _rows(program, path)]


def _rows(program: str, model: Path) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "\n\n".join(story.text for story in STORIES)
        for size in (SHORT, LONG):
            (folder / f"{size}.txt").write_text((text * (size // len(text) + 1))[:size], "utf-8")
        return [_row(program, model, folder, kind) for kind in ("score", "mix --base")]


def _row(program: str, model: Path, folder: Path, kind: str) -> Row:
    least: dict[tuple[str, int], float] = {}
    for _ in range(ROUNDS):
        for size in (SHORT, LONG):
            text, base = folder / f"{size}.txt", folder / f"{size}.base"
            theirs = [program, "-m", str(model), "-t", "1", "-c", str(WINDOW)]
            if not base.exists():
                _seconds([*theirs, "-f", str(text), "--kl-divergence-base", str(base)])
            own = [sys.executable, "-m", "llterm"]
            if kind == "score":
                theirs += ["-f", str(text)]
                own += ["score", str(text), "--method", "halves", "--window", str(WINDOW)]
            else:
                theirs += ["--kl-divergence", "--kl-divergence-base", str(base)]
                own += ["mix", "--base", str(base)]
            own += ["-m", str(model), "--threads", "1"]
            for who, command in (("theirs", theirs), ("own", own)):
                key = who, size
                least[key] = min(least.get(key, float("inf")), _seconds(command))
    own_seconds, their_seconds = (least[who, LONG] - least[who, SHORT] for who in ("own", "theirs"))
    name = f"{kind} against llama-perplexity, CPU seconds, {model.stem}"
    note = f"{own_seconds:.2f} and {their_seconds:.2f} s, least of {ROUNDS} rounds"
    return Row(name, own_seconds / their_seconds, "×", BUDGET, note=note)


def _seconds(command: list[str]) -> float:
    """CPU seconds of a command, user's and system's."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {words[-500:]!r}")
    return usage.ru_utime + usage.ru_stime
