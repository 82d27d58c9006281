"""Kills the real app at random moments, and looks for what was seen accepted.

`python -m tests.helpers.app_kills 200` does it two hundred times; the smoke test a dozen.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from llterm.session.document import Document
from tests.helpers.terminal import PATIENCE, Terminal, llterm

PROMPT = "The maker went to the"
CTRL_J, TAB = "\n", "\t"


class Killed(Exception):
    """The moment has come."""


class Round:
    """One start of the app, which ends by a kill."""

    def __init__(self, home: Path, moment: float, model: str, *, early: bool) -> None:
        """The kill comes so many seconds after the start, or after the story is on the screen."""
        folders = {f"XDG_{name}_HOME": str(home) for name in ("DATA", "CONFIG", "STATE")}
        command = llterm("weave", "story.loom", "-m", model)
        if not (home / "story.loom").exists():
            command += ["--prompt", PROMPT]
        self.terminal = Terminal(command, env={"HOME": str(home), **folders}, cwd=home)
        self._moment = moment
        self._until = time.monotonic() + (moment if early else PATIENCE)
        self._early = early
        self.words = 0
        """Words of the story that were on the screen."""
        self.accepts = 0

    def run(self) -> None:
        try:
            self._wait(lambda: self._shown() > 0, PATIENCE)
            self.words = self._shown()
            if not self._early:
                self._until = time.monotonic() + self._moment
            while True:
                self.terminal.send(CTRL_J)
                self._wait(lambda: re.search(r"\d+ suggestions · ", self.terminal.text))
                before = self._shown()
                self.terminal.send(TAB)
                self._wait(partial(self._differs, before))
                self.accepts += self._shown() != before
                self.words = self._shown()
        except Killed:
            os.killpg(self.terminal.pid, signal.SIGKILL)
        finally:
            self.terminal.wait()
            self.terminal.close()

    def _differs(self, words: int) -> bool:
        return self._shown() != words

    def _shown(self) -> int:
        found = re.search(r"story\.loom · ([\d,]+) words?", self.terminal.text)
        return int(found[1].replace(",", "")) if found else 0

    def _wait(self, ready: Callable[[], object], seconds: float = 1.0) -> None:
        patience = time.monotonic() + seconds
        while not ready() and time.monotonic() < patience:
            self.terminal.read(0.01)
            if time.monotonic() > self._until:
                raise Killed
        if time.monotonic() > self._until:
            raise Killed


def kill_rounds(home: Path, rounds: int, seed: int, model: str = "scripted") -> int:
    """Kill so many times; the number of accepts seen. Raises AssertionError for a lost one."""
    moments = random.Random(seed)
    accepts = 0
    least = 0
    for index in range(rounds):
        early = index % 4 == 0
        this_round = Round(home, moments.uniform(0.3, 2.0 if early else 4.0), model, early=early)
        this_round.run()
        accepts += this_round.accepts
        if not (home / "story.loom").exists():
            assert not this_round.accepts
            continue
        # The app itself may be dying still when what guards it is gone: the person would wait too.
        document = Document.open(home / "story.loom", waiting=lambda _: None)
        assert not document.read_only, document.notice
        words = len(document.text.split())
        document.close()
        least = max(least, this_round.words)
        assert words >= least, f"round {index}: {words} words kept, {least} seen (seed {seed})"
        least = words
    return accepts


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
        seen = kill_rounds(Path(folder), count, seed=1)
        sys.stdout.write(f"{count} kills, {seen} accepts seen on screen, none lost\n")
