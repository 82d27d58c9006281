"""Slots planned without a model: what they hold, whose turn it is, what is evaluated once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.tokens import Tail
from llterm.engine.generation import Busy
from llterm.engine.slot_plan import (
    BLOCK,
    PlannedRequest,
    SlotCopy,
    SlotCosts,
    SlotPlan,
    runs_of,
)
from tests.helpers.slot_model import COSTS, SlotModel

PROMPTS = st.tuples(st.sampled_from([(), (5,) * 6, (5, 5, 6, 7, 5, 6, 7, 8)]),
                    st.lists(st.integers(0, 2), min_size=1, max_size=9)).map(
                        lambda both: both[0] + tuple(both[1]))  # fmt: skip


@dataclass(frozen=True)
class Arrival:
    prompt: Tail
    most: int
    key: str


@dataclass(frozen=True)
class Stepping:
    budget: int
    seconds: float
    abort: bool


@dataclass(frozen=True)
class Leaving:
    which: int


EVENTS = st.lists(
    st.one_of(
        st.builds(Arrival, PROMPTS, st.integers(1, 6), st.sampled_from("ab")),
        st.builds(Stepping, st.integers(0, 12), st.sampled_from([0.01, 0.5, 3, 20]), st.booleans()),
        st.builds(Leaving, st.integers(0, 30)),
    ),
    max_size=40,
)


def model(
    parallel: int, keepers: int, *, costs: SlotCosts = COSTS, queue: int = 1024, whole: bool = False
) -> SlotModel:
    plan = SlotPlan(parallel, keepers, costs, queue=queue, chunk=16, whole=whole)
    return SlotModel(plan, parallel + keepers, whole)


@settings(max_examples=40)
@given(EVENTS, st.integers(1, 4), st.integers(0, 2), st.booleans(), st.sampled_from([0.0, 0.003]))
def test_no_slot_is_read_beyond_what_was_put_into_it_and_all_end(
    events: list[Arrival | Stepping | Leaving], parallel: int, keepers: int, whole: bool,
    copy: float,
) -> None:  # fmt: skip
    """The model checks every move, chunk and row; here nobody is lost and every slot is free."""
    slots = model(parallel, keepers, costs=SlotCosts(copy, 0.001, 0.002), whole=whole)
    asked = []
    left = set()
    for event in events:
        if isinstance(event, Arrival):
            asked.append(slots.ask(event.prompt, event.most, event.key))
        elif isinstance(event, Stepping):
            slots.step(event.budget, abort=event.abort)
            slots.now += event.seconds
        elif asked:
            request = asked[event.which % len(asked)]
            open_now = slots.drawn[request.number] < slots.ends[request.number]
            if open_now and request.number not in left:
                slots.plan.leave(request)
                left.add(request.number)
    slots.run(budget=8, most=400)
    for request in asked:
        if request.number not in left:
            assert slots.drawn[request.number] == slots.ends[request.number]
            assert len(request.tokens) - (slots.ends[request.number] - 1) >= 1


@given(st.integers(2, 40), st.integers(6, 40), st.integers(2, 5), st.integers(1, 9))
@settings(max_examples=12)
def test_the_beginning_of_cold_siblings_is_evaluated_once(
    siblings: int, shared: int, own: int, parallel: int
) -> None:
    slots = model(parallel, 1, costs=SlotCosts(0.001, 0.001, 0.002))
    for number in range(siblings):
        slots.ask((9,) * shared + (10 + number,) * (own + 1), 3)
    slots.run()
    of_shared = [path for path in slots.evaluated if len(path) <= shared]
    assert len(of_shared) == shared
    assert len(slots.evaluated) == shared + siblings * own


def test_choices_of_one_prompt_evaluate_it_once_whatever_the_model() -> None:
    for whole in (False, True):
        slots = model(8, 0, whole=whole)
        for _ in range(8):
            slots.ask((3,) * 30, 5)
        slots.run()
        assert len(slots.evaluated) == 29
        assert slots.copies == 7


@pytest.mark.parametrize("finished", [1, 8, 32])
@pytest.mark.parametrize("copy", [0.0001, 10.0])
def test_holes_cost_one_graph_more_at_the_most(finished: int, copy: float) -> None:
    """Where copies are cheap they cost none."""
    slots = model(64, 4, costs=SlotCosts(copy, 0.001, 0.002))
    step = 64 // finished
    for number in range(64):
        slots.ask((100 + number,) * 4, 5 if number % step == step // 2 else 12)
    graphs = []
    while slots.plan.running or slots.plan.waiting:
        made = slots.step(budget=1000)
        if made.rows:
            graphs.append(made.graphs)
    assert max(graphs) <= (1 if copy < 1 else 2)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=64),
    st.sampled_from([0.0001, 0.01, 10.0]),
    st.sets(st.integers(0, 63)),
)
def test_whoever_ends_a_step_takes_one_graph_more_at_the_most(
    ends: list[int], copy: float, gone: set[int]
) -> None:
    """Some end by themselves, in any order, and some are given up; nobody comes in."""
    slots = model(64, 4, costs=SlotCosts(copy, 0.001, 0.002))
    asked = [slots.ask((100 + number,) * 4, most) for number, most in enumerate(ends)]
    slots.step(budget=1000)
    for number in gone.intersection(range(len(asked))):
        if slots.drawn[number + 1] < ends[number]:
            slots.plan.leave(asked[number])
    while slots.plan.running:
        running = len(slots.plan.running)
        made = slots.step(budget=1000)
        assert len(made.rows) == running
        assert made.graphs <= 2


@settings(max_examples=25)
@given(st.integers(2, 2000), st.integers(2, 300), st.integers(1, 8))
def test_a_long_prompt_holds_up_nobody_for_more_than_its_budget(
    size: int, budget: int, streams: int
) -> None:
    """Between two tokens of those who run no more of it is evaluated, and one for company."""
    slots = model(streams + 1, 0)
    for number in range(streams):
        slots.ask((number,) * 3, 3000)
    while any(request.lacking for request in slots.plan.running) or slots.plan.waiting:
        slots.step(budget=1000)
    slots.ask((50,) * size, 1)
    while len(slots.plan.running) > streams or slots.plan.waiting:
        made = slots.step(budget=budget)
        assert sum(len(chunk.tokens) for chunk in made.chunks) <= budget + 1
        assert len([row for row in made.rows if row.request.tokens[0] < 50]) == streams


def test_keys_are_served_equally() -> None:
    """One asks for 40 texts, another for 4 a moment later: these don't wait for the 40."""
    slots = model(4, 0)
    for number in range(40):
        slots.ask((number,) * 20, 20, "many")
    slots.step()
    few = [slots.ask((100 + number,) * 20, 20, "few") for number in range(4)]
    for _ in range(3000):
        if all(slots.drawn[request.number] == 20 for request in few):
            break
        slots.step()
        slots.now += 0.01
    by_key = sum(slots.drawn.values()) - 80
    assert by_key < 4 * 20 * 2.5


def test_a_key_that_has_nothing_for_two_seconds_gets_a_slot_and_nothing_is_lost() -> None:
    slots = model(2, 1)
    long = [slots.ask((number,) * 40, 90, "long") for number in range(2)]
    slots.step()
    other = slots.ask((7,) * 8, 3, "other")
    slots.now = 1.9
    slots.step()
    assert other.slot is None
    slots.now = 2.1
    slots.step()
    assert other.slot is not None
    assert [request.slot is None for request in long] == [False, True]
    slots.run()
    assert all(len(request.tokens) == 40 + 89 for request in long)
    # What the pre-empted one had was kept: its own tokens were not evaluated again.
    assert len(slots.evaluated) == 2 * 39 + 7


def test_a_request_is_not_overtaken_for_ever_by_those_with_a_longer_beginning_at_hand() -> None:
    slots = model(1, 1)
    slots.ask((1,) * 20, 1)
    slots.run()
    cold = slots.ask((2,) * 20, 1)
    for _ in range(2000):
        slots.ask((1,) * 20, 1)
        slots.step()
        slots.now += 0.1
        if slots.drawn[cold.number]:
            break
    assert slots.now < 12


def test_what_was_used_again_outlives_what_was_not() -> None:
    slots = model(2, 1)
    hot = (1,) * 40
    for tail in range(3):
        slots.ask((*hot, 50 + tail, 60 + tail, 61), 2)
        slots.run()
    for number in range(12):
        slots.ask((100 + number,) * 40, 2)
        slots.run()
    before = len(slots.evaluated)
    again = slots.ask((*hot, 70, 71, 72), 2)
    slots.run()
    assert again.cached == 40
    assert len(slots.evaluated) == before + 2


def test_no_two_keys_share_what_slots_hold() -> None:
    slots = model(2, 2)
    slots.ask((1,) * 30, 2, "a")
    slots.run()
    other = slots.ask((1,) * 30, 2, "b")
    slots.run()
    assert other.cached == 0
    assert len(slots.evaluated) == 2 * 29


def test_a_full_queue_refuses() -> None:
    slots = model(1, 0, queue=3)
    for _ in range(1 + 3):
        slots.ask((1, 2), 1)
    with pytest.raises(Busy) as refused:
        slots.ask((1, 2), 1)
    assert refused.value.hint
    slots.run()
    slots.ask((1, 2), 1)


def test_without_a_queue_whoever_finds_a_free_slot_is_let_in() -> None:
    slots = model(2, 0, queue=0)
    for _ in range(2):
        slots.ask((1, 2), 2)
        slots.step()
    with pytest.raises(Busy):
        slots.ask((1, 2), 1)


def test_the_texts_of_one_request_wait_as_one() -> None:
    slots = model(2, 0, queue=1)
    texts = [slots.ask((1, 2), 2, further=place > 0) for place in range(9)]
    slots.ask((1, 2), 1)
    slots.step()
    with pytest.raises(Busy):
        slots.ask((1, 2), 1)
    slots.run()
    assert [slots.drawn[text.number] for text in texts] == [2] * 9


def test_a_long_prompt_goes_in_parts_and_never_one_token_alone() -> None:
    slots = model(2, 0)
    slots.ask((1, 2, 3), 60)
    slots.step()
    slots.step()
    slots.ask((4,) * 50, 1)
    sizes = []
    while slots.plan.running or slots.plan.waiting:
        step = slots.step(budget=8)
        sizes += [len(chunk.tokens) for chunk in step.chunks]
        assert step.rows
    assert sizes == [8] * 5 + [7, 2]


@given(st.integers(2, 1500), st.integers(2, 600))
def test_no_part_looks_at_a_block_of_cells_for_the_sake_of_a_few(size: int, budget: int) -> None:
    plan = SlotPlan(1, 0, COSTS, queue=1, chunk=512)
    plan.join(PlannedRequest([1] * (size + 1), "", 1), 0.0)
    parts: list[tuple[int, int]] = []
    while sum(tokens for _, tokens in parts) < size:
        step = plan.plan(0.0, budget)
        parts += [(chunk.start, len(chunk.tokens)) for chunk in step.chunks]
        plan.done(step, 0.0)
    for start, tokens in parts:
        assert tokens > 1
        # One token more is for one that would be left alone.
        assert (start + tokens - 2) // BLOCK <= (start + 1) // BLOCK


def test_a_held_back_row_holds_back_nobody_else() -> None:
    slots = model(3, 0)
    held, other = slots.ask((1, 2, 3), 4), slots.ask((4, 5, 6), 4)
    held.held_back = True
    for _ in range(10):
        slots.step()
    assert (slots.drawn[held.number], slots.drawn[other.number]) == (0, 4)
    held.held_back = False
    slots.run()
    assert slots.drawn[held.number] == 4


def test_copies_are_not_made_where_evaluating_is_cheaper() -> None:
    slots = model(4, 0, costs=SlotCosts(copy=0.1, token=0.001, graph=0.0))
    slots.ask((1,) * 50, 30)
    slots.step()
    slots.ask((1,) * 50, 30)
    slots.run()
    assert not any(isinstance(move, SlotCopy) for step in slots.steps for move in step.moves)


def test_runs_are_stretches_of_consecutive_slots() -> None:
    assert list(runs_of([0, 1, 4, 5, 9])) == [range(2), range(4, 6), range(9, 10)]
