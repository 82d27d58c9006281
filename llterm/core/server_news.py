"""What is known of the servers that models are on: which one does not answer, why, since when.

The one way by which a screen or a command learns of them: facts, which whoever shows them puts into
words. They change when a request finds something out; nobody asks a server in order to know them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal["unreached", "slow", "cut", "busy", "loading", "failed", "refused"]
"""How a request failed: nobody listens; no answer in time; the connection broke; too much to do;
the model is being loaded; a fault of the server's; the key, or the certificate, is no good."""
Phase = Literal["waiting", "given up", "spared", "unknown"]
"""What goes on about a server that did not answer.

waiting    somebody waits for it, and it is asked again by itself
given up   it was asked for long enough; the next question asks it anew
spared     others answer in its place meanwhile; it is asked again by itself
unknown    it has not answered since, but nothing is known against it now: nobody asks it any more,
           or it is being asked at this moment
"""


@dataclass(frozen=True, slots=True)
class Absence:
    """A server that did not answer when it was asked last. Once it answers there is none."""

    model: str
    """The name of the model that is there."""
    address: str
    """For people, without credentials."""
    cause: Cause
    words: str
    """What happened, as "Connection refused" or "503: Loading model": inert, no full stop."""
    since: float
    """When it fell silent, in seconds since 1970."""
    patience: float
    """Seconds from then on in which it is asked again."""
    phase: Phase


class ServerNews:
    """The servers of one model, or of the models of a mix, as they are now."""

    def __init__(self, model: str = "", now: Callable[[], float] = time.time) -> None:
        """`model`: its name. `now` tells the time in seconds since 1970."""
        self.model = model
        self.now = now
        self.absences: tuple[Absence, ...] = ()
        """Each server that has not answered since it failed."""
        self.returns = 0
        """How often one of them answered again."""
        self.most_listed: int | None = None
        """Candidates that the server lists at most, where its answers showed that."""
        self.untold = 0.0
        """Largest share of a place's probability that went to tokens whose text the server does not
        tell."""
        self.context: int | None = None
        """Tokens that the model sees, where a refusal told."""
        self.own_kernels = False
        """Whether somebody chose kernels for the model, as only its server can."""
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def waited_for(self) -> tuple[Absence, ...]:
        """Those that somebody waits for now."""
        return tuple(one for one in self.absences if one.phase == "waiting")

    @property
    def given_up(self) -> tuple[Absence, ...]:
        """Those that were asked for long enough, and by nobody since."""
        return tuple(one for one in self.absences if one.phase == "given up")

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever something changed; returns how to end that."""
        listener = object()
        self._callbacks[listener] = callback

        def end() -> None:
            self._callbacks.pop(listener, None)

        return end

    def tell(self, absences: Sequence[Absence]) -> None:
        """These are all that are away now; one that is not among them any more is back."""
        if tuple(absences) == self.absences:
            return
        away = {(one.model, one.address) for one in absences}
        self.returns += sum((one.model, one.address) not in away for one in self.absences)
        self.absences = tuple(absences)
        self.stir()

    def tell_most_listed(self, count: int) -> None:
        """The server lists no more candidates than these, though it was asked for more."""
        self.most_listed = count
        self.stir()

    def tell_context(self, tokens: int) -> None:
        """The server has refused a text for its length, and said how much its model sees."""
        self.context = tokens
        self.stir()

    def tell_untold(self, share: float) -> None:
        """So much of a place's probability went to tokens whose text the server does not tell."""
        self.untold = share
        self.stir()

    @property
    def limits(self) -> Sequence[str]:
        """What its answers showed that it does not do, each in a sentence without its full stop."""
        said = []
        if self.most_listed is not None:
            said.append(f"{self.model} lists {self.most_listed:,} candidates at most")
        if self.untold:
            said.append(f"{self.model} does not tell what some tokens mean: they are left out")
        if self.context is not None:
            said.append(f"{self.model} sees {self.context:,} tokens, as its server says now")
        return said

    def stir(self) -> None:
        """Have everyone who listens look again."""
        for callback in tuple(self._callbacks.values()):
            callback()


HearNews = Callable[[ServerNews], object]
"""Is given the news of a model's server before that is asked anything."""
