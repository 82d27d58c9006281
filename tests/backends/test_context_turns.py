"""Turns on a context, planned without one: who is next, for how long, that all come to an end."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.llamacpp.context_turns import APART, TURN, ContextTurns


@dataclass(eq=False)
class Work:
    """A job of some decodes, each of so many seconds."""

    number: int
    decodes: list[float]
    arrives: float
    apart: bool


WORKS = st.lists(
    st.tuples(
        st.lists(st.floats(0.001, 0.4), min_size=1, max_size=12), st.floats(0, 4), st.booleans()
    ),
    min_size=1,
    max_size=12,
)


class Shared:
    """Works through them as the owner of a context does."""

    def __init__(self, works: list[Work]) -> None:
        self.turns: ContextTurns[Work] = ContextTurns()
        self.now = 0.0
        self.began: list[Work] = []
        self.ended: list[Work] = []
        self.ends: dict[Work, float] = {}
        self.holds: list[tuple[Work, float]] = []
        """Seconds that each had the context in one go while others waited."""
        self._coming = sorted(works, key=lambda work: (work.arrives, work.number))

    def run(self) -> None:
        while self._coming or any(True for _ in self.turns):
            self._arrive()
            work = self.turns.next(self.now)
            if work is None:
                self.now = self._coming[0].arrives
                continue
            self._turn(work)

    def _turn(self, work: Work) -> None:
        if work not in self.began:
            self.began.append(work)
        begin = self.now if self.turns.crowded else None
        while work.decodes:
            self.now += work.decodes.pop(0)
            self._arrive()
            if work.decodes and self.turns.gives_way(self.now):
                self._note(work, begin)
                self.turns.pause(self.now)
                self._check_apart()
                return
        self._note(work, begin)
        self.turns.end(self.now)
        self.ended.append(work)
        self.ends[work] = self.now

    def _note(self, work: Work, begin: float | None) -> None:
        if begin is None:
            return
        seconds = self.now - begin
        if self.holds and self.holds[-1][0] is work:
            seconds += self.holds.pop()[1]
        self.holds.append((work, seconds))

    def _arrive(self) -> None:
        while self._coming and self._coming[0].arrives <= self.now:
            work = self._coming.pop(0)
            self.turns.join(work, apart=work.apart)

    def _check_apart(self) -> None:
        under_way = [work for work in self.began if work not in self.ended and work.apart]
        assert len(under_way) <= APART


@given(WORKS)
def test_none_holds_the_context_while_others_wait_and_all_come_to_an_end(
    given_works: list[tuple[list[float], float, bool]],
) -> None:
    works = [
        Work(n, list(decodes), at, apart) for n, (decodes, at, apart) in enumerate(given_works)
    ]
    shared = Shared(works)
    shared.run()
    assert set(shared.ended) == set(works)
    assert all(seconds <= TURN + 0.4 for _, seconds in shared.holds)
    # They begin in the order in which they came, those that work in the context itself.
    alike = [work for work in shared.began if not work.apart]
    assert alike == sorted(alike, key=lambda work: (work.arrives, work.number))


@given(st.integers(1, 20), st.floats(0, 3))
def test_a_short_question_waits_for_two_turns_however_many_long_ones_there_are(
    long_ones: int, arrives: float
) -> None:
    works = [Work(number, [0.1] * 100, 0, False) for number in range(long_ones)]
    arrives += 2 * long_ones * (TURN + 0.1)  # All have begun by then.
    short = Work(99, [0.1], arrives, False)
    shared = Shared([*works, short])
    shared.run()
    assert shared.ended[0] is short
    assert shared.ends[short] - 0.1 <= arrives + 2 * (TURN + 0.1) + 1e-6


def test_long_ones_go_on_though_short_ones_come_all_the_time() -> None:
    """They have half of the time."""
    long = Work(0, [0.1] * 40, 0, False)
    short = [Work(number, [0.1], 0.1 * number, False) for number in range(1, 400)]
    shared = Shared([long, *short])
    shared.run()
    assert shared.ended.index(long) <= 60


def test_who_leaves_has_no_turn_any_more() -> None:
    turns: ContextTurns[str] = ContextTurns()
    for name in "abc":
        turns.join(name)
    assert turns.next(0) == "a"
    turns.pause(1)
    assert not turns.leave("b")
    assert turns.leave("a")
    assert not turns.leave("a")
    assert turns.next(1) == "c"
    assert not turns.leave("c")
    turns.end(2)
    assert turns.next(2) is None
