"""A server tried as a person uses it: through llterm's own commands, each a process of its own.

What a server can or cannot do is put down as a row of the table in docs/backends.md.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

from tests.helpers.program import Ran, run, start

CELLS = (
    "suggest", "emoji", "heal", "choice", "chat", "score", "sample", "mix", "reference",
    "over-long", "restart",
)  # fmt: skip
"""Columns of the table, in order."""
CANNOT = 5
"""The exit code of what this server, or this model, cannot do."""
WORKS, FAILED, UNTRIED = "yes", "FAILED", "not tried"
ROUNDING = 0.05
"""How far ln p of a path may be off for one way of asking against another: batches round."""
LOCAL_ROUNDING = 0.02
"""The same, against the same file in this process."""
_ERROR = re.compile(r"^llterm: (?P<title>.*)(?:\n  (?P<cause>.*))?", re.MULTILINE)

Figures = Mapping[str, float]
"""By text: ln p."""


class Refusal(Exception):
    """llterm says, in its own words, that this cannot be had of this server."""


class Untried(Exception):
    """What this cell needs was not given."""


@dataclass
class ServerTrial:
    """One server, what its person says of it, and what became of each cell."""

    name: str
    """Its address, or the name of a model in the configuration."""
    home: Path
    config: Path | None = None
    """A configuration file, for a server that needs a key or a name."""
    local: Path | None = None
    """The same model as a GGUF file, to hold the server against."""
    restart: Callable[[], object] | None = None
    """Ends the server and starts it again."""
    once: Callable[..., Ran] = run
    """Runs `llterm …` in a home."""
    title: str = ""
    """Its name and version, where it does not say them itself."""
    narration: str = ""
    """What the last command said beside its JSON."""
    verdicts: dict[str, str] = field(default_factory=dict)

    def ask(self, command: str, *arguments: str | Path, models: Sequence[str | Path] = ()) -> Any:
        """The JSON that a command prints. Raises Refusal for its exit code 5.

        `models` are those beside or instead of the server.
        """
        ran = self.run(command, *arguments, "--format", "json", models=models)
        self.narration = ran.err
        return json.loads(ran.out)

    def run(self, command: str, *arguments: str | Path, models: Sequence[str | Path] = ()) -> Ran:
        """A command that is to end well. Raises Refusal for its exit code 5."""
        ran = self.once(self.home, command, *self._named(models), *arguments)
        if ran.code == CANNOT:
            raise Refusal(self.nameless(sentence(ran)))
        assert ran.code == 0, f"exit code {ran.code}: {ran.err}"
        assert not ran.faulty, ran.err
        return ran

    def introduce(self) -> None:
        """Let the server say its name, where its person did not."""
        with suppress(AssertionError, Refusal):
            self.title = self.title or self.told["server"]

    @cached_property
    def told(self) -> Mapping[str, str]:
        """What `llterm doctor` says of the server, by row. Raises Refusal where that is nothing."""
        ran = self._examined()
        if ran.code == CANNOT:
            raise Refusal(self.nameless(sentence(ran)))
        assert ran.code == 0, f"exit code {ran.code}: {ran.err}"
        rows = (re.split(r"\s{2,}", line, maxsplit=1) for line in ran.out.splitlines())
        return {label: value for label, value, *_ in (row for row in rows if len(row) == 2)}

    @property
    def listed(self) -> float:
        """How many candidates the server lists at a place."""
        most = re.match(r"([\d,]+) at most", self.told["candidates"])
        return int(most[1].replace(",", "")) if most else math.inf

    def answers(self) -> bool:
        """Whether the server can be used now."""
        return self._examined().code == 0

    def start(self, command: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """A command under way."""
        return start(self.home, command, *self._named(), *arguments)

    def _examined(self) -> Ran:
        return self.once(self.home, "doctor", self.name, *self._configured)

    def _named(self, models: Sequence[str | Path] = ()) -> list[str | Path]:
        flags: list[str | Path] = [*self._configured]
        for model in models or (self.name,):
            flags += ("-m", model)
        return flags

    def nameless(self, words: str) -> str:
        """What llterm says of any such server."""
        return words.replace(self.name, "this server")

    @property
    def _configured(self) -> Sequence[str | Path]:
        return () if self.config is None else ("--config", self.config)

    def row(self) -> str:
        """The table's row of this server, and below it, in llterm's words, what it cannot."""
        name = self.title or self.name
        words: dict[str, list[str]] = {}
        cells = []
        for column in CELLS:
            verdict, _, why = self.verdicts.get(column, UNTRIED).partition(": ")
            cells.append(verdict)
            if why:
                words.setdefault(why, []).append(column)
        line = " | ".join([name, f"{datetime.now(UTC):%Y-%m-%d}", *cells])
        below = [f"- {name}, {', '.join(columns)}: {why}" for why, columns in words.items()]
        return "\n".join([f"| {line} |", *below])


def cell(name: str) -> Callable[[Callable[[ServerTrial], None]], Callable[[ServerTrial], None]]:
    """Makes a test the one of this column: it passes where llterm says why something cannot be."""
    assert name in CELLS

    def of(test: Callable[[ServerTrial], None]) -> Callable[[ServerTrial], None]:
        @wraps(test)
        def tried(trial: ServerTrial) -> None:
            trial.verdicts[name] = FAILED
            try:
                test(trial)
            except Untried:
                trial.verdicts[name] = UNTRIED
            except Refusal as refusal:
                trial.verdicts[name] = f"no: {refusal}"
            else:
                trial.verdicts[name] = WORKS

        return tried

    return of


def sentence(ran: Ran) -> str:
    """Title and cause of the error that ended a command."""
    error = _ERROR.search(ran.err)
    assert error is not None, ran.err
    assert error["title"], ran.err
    return f"{error['title']}: {error['cause']}" if error["cause"] else f"{error['title']}."


def by_text(answer: Any) -> Figures:
    """ln p of each suggested text, all its spellings together."""
    return {each["text"]: math.log(each["p_same_text"]) for each in answer["suggestions"]}


def check_alike(first: Figures, second: Figures, tolerance: float) -> None:
    """The same texts with the same figures, but for rounding at the end of the lists."""
    assert first, "there are no suggestions"
    assert len(first) == len(second), (first, second)
    last = min([*first.values(), *second.values()])
    for text in first.keys() | second.keys():
        mine, theirs = first.get(text, last), second.get(text, last)
        assert math.isclose(mine, theirs, abs_tol=tolerance), (text, mine, theirs)


def check_seen(mine: Figures, answer: Any, listed: float, tolerance: float) -> None:
    """Holds a server's suggestions against what a model answers whose candidates are all known.

    The texts and figures are the same but for rounding at the end of the lists, and for texts with
    a token that is not among the `listed` best at its place: the server does not tell of them, and
    what comes next takes their places.
    """
    whole = by_text(answer)
    seen = {
        each["text"]
        for each in answer["suggestions"]
        if all(token["rank"] <= listed for token in each["tokens"])
    }
    if seen == whole.keys():
        check_alike(mine, whole, tolerance)
        return
    assert mine, "there are no suggestions"
    check_common(mine, whole, tolerance)
    for text in seen - mine.keys():
        assert whole[text] <= min(mine.values()) + tolerance, (text, mine)
    for text in mine.keys() - whole.keys():
        assert mine[text] <= min(whole.values()) + tolerance, (text, whole)


def check_common(first: Figures, second: Figures, tolerance: float) -> None:
    """The figures of the texts that both have."""
    for text in first.keys() & second.keys():
        assert math.isclose(first[text], second[text], abs_tol=tolerance), text
