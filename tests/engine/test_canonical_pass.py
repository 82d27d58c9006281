"""The canonical pass over a search whose figures were off: what it reads, what is shown then."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from hypothesis import assume, given
from hypothesis import strategies as st

from llterm.core.query import Cost, Fact, Failed, Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.canonical_pass import CanonicalPass
from llterm.engine.weave import drive
from llterm.errors import LltermError
from tests.helpers.random_model import plain_search
from tests.helpers.uncertain_model import UncertainModel, scatter, shift

RULES = st.builds(
    WeaveSettings,
    depth=st.integers(2, 5),
    cutoff=st.sampled_from([0.03, 0.1, 0.3]),
    split_limit=st.sampled_from([0, 2, 3]),
    beams=st.integers(1, 12),
    heal=st.just(False),
)
ANCHOR: Tail = (0, 3, 5)
USUAL = WeaveSettings(depth=5, cutoff=0.05, split_limit=3, beams=8, heal=False)


async def woven(model: UncertainModel, rules: WeaveSettings) -> Weave:
    weave = Weave(model, Anchor(ANCHOR), rules)
    async for _ in drive(weave, model):
        pass
    return weave


async def read_again(weave: Weave, model: UncertainModel) -> tuple[Weave, Cost]:
    canonical, total = CanonicalPass(weave, model), Cost()
    async for cost in canonical.run():
        total += cost
    return canonical.weave, total


def figures(weave: Weave) -> list[tuple[float, Tail]]:
    return [(one.logprob, one.tail) for one in weave.view().suggestions]


@given(st.integers(0, 10_000), RULES, st.sampled_from([0.01, 0.1, 0.5]))
async def test_the_best_n_are_those_by_canonical_figures(
    seed: int, rules: WeaveSettings, nats: float
) -> None:
    """Where all paths are as far off, what was cut off or was not among the best comes back."""
    model = UncertainModel(seed, shift(nats))
    first = await woven(model, rules)
    assume(any(len(one.tail) > 1 for one in first.view().suggestions))
    weave, _ = await read_again(first, model)
    assert weave.done
    expected = plain_search(model, ANCHOR, rules)
    assert [tail for _, tail in figures(weave)] == [tail for _, tail in expected]
    for (logprob, _), (true, _) in zip(figures(weave), expected, strict=True):
        assert math.isclose(logprob, true, rel_tol=1e-6)


@given(st.integers(0, 10_000), RULES, st.sampled_from([0.05, 0.5]))
async def test_every_figure_on_show_is_canonical(
    seed: int, rules: WeaveSettings, nats: float
) -> None:
    model = UncertainModel(seed, scatter(nats))
    weave, _ = await read_again(await woven(model, rules), model)
    view = weave.view()
    assert view.suggestions
    for suggestion in view.suggestions:
        for size, step in enumerate(suggestion.steps):
            figures = model.logprobs(ANCHOR + suggestion.tail[:size])
            assert step.logprob == float(figures[step.id])
    logprobs = [one.logprob for one in view.suggestions]
    assert logprobs == sorted(logprobs, reverse=True)


async def test_nothing_is_read_but_what_counts_and_that_once() -> None:
    """Where figures turn out not to be off at all: the paths on show."""
    model = UncertainModel(7, shift(0.0))
    first = await woven(model, USUAL)
    weave, cost = await read_again(first, model)
    shown = {one.tail[:size] for one in first.view().suggestions for size in range(len(one.tail))}
    assert len(model.read) == len(set(model.read)) == cost.tokens == cost.again
    assert set(model.read) == shown
    assert len(shown) < len(first.facts)
    assert figures(weave) == figures(first)


async def test_what_was_read_is_not_read_again() -> None:
    model = UncertainModel(7, scatter(0.1))
    weave, _ = await read_again(await woven(model, USUAL), model)
    model.read.clear()
    again, cost = await read_again(weave, model)
    assert not model.read
    assert cost == Cost()
    assert again is weave
    tail = weave.view().suggestions[0].tail[:2]
    weave.grow(tail, 4)
    async for _ in drive(weave, model):
        pass
    await read_again(weave, model)
    assert model.read
    assert not weave.canonical.intersection(model.read)


async def test_a_branch_gone_on_from_is_read_to_its_own_best() -> None:
    model = UncertainModel(11, scatter(0.1))
    weave = await woven(model, USUAL)
    weave.grow(weave.view().suggestions[-1].tail[:2], 6)
    async for _ in drive(weave, model):
        pass
    weave, _ = await read_again(weave, model)
    assert weave.done
    for suggestion in weave.view().suggestions:
        inner = {suggestion.tail[:size] for size in range(len(suggestion.tail))}
        assert inner <= weave.canonical


async def test_a_search_that_the_budget_ended_stays_ended() -> None:
    """Its suggestions are read, and nothing that it did not get to."""
    model = UncertainModel(3, scatter(0.1))
    rules = WeaveSettings(depth=5, cutoff=0.01, split_limit=0, beams=200, budget=60, heal=False)
    first = await woven(model, rules)
    assert first.spent
    assert not first.done
    weave, _ = await read_again(first, model)
    assert weave.view().spent
    assert set(model.read) <= set(first.facts)
    ended = [one for one in weave.view().suggestions if one.finish != "open"]
    assert ended
    assert all(one.tail[:size] in weave.canonical for one in ended for size in range(len(one.tail)))


async def test_a_pass_that_is_stopped_leaves_the_figures_of_the_search() -> None:
    model = UncertainModel(7, scatter(0.1))
    first = await woven(model, USUAL)
    before = figures(first)
    canonical = CanonicalPass(first, model)
    async with aclosing(canonical.run()) as costs:
        await anext(costs)
    assert canonical.weave is first
    assert figures(first) == before


class Refusing(UncertainModel):
    """Cannot read what is longer than three tokens."""

    async def ask_in_order(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        async for answer in super().ask_in_order(queries):
            long = len(answer.path.tail) > 3
            yield Failed(answer.path, LltermError("full", "", "")) if long else answer


async def test_what_cannot_be_read_keeps_its_figures() -> None:
    model = Refusing(7, scatter(0.1))
    first = await woven(model, USUAL)
    weave, _ = await read_again(first, model)
    assert len(weave.view().suggestions) == len(first.view().suggestions)
    assert weave.canonical
    assert max(map(len, weave.canonical)) == 3
