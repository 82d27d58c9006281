"""Models of a mix that fall silent: who waits, who goes on, and who comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from llterm.core.mixing.blend import Blend
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Fact, Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.engine import ensemble
from llterm.engine.mixture import Mix
from llterm.errors import BackendUnavailable
from tests.helpers.known_tokens import tokens_of
from tests.helpers.mix_models import Endless, Hanging, absence
from tests.helpers.polling import until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "AGAIN", 0.01)


def mixed(mode: Mode = "democratic", *, reference: int = 0) -> tuple[Mix, Hanging]:
    """A mix of a model in process and, second, one on a server."""
    models = Endless(1), Hanging(2)
    recipe = Recipe(mode, OpinionPool((1.0, 1.0)), reference=reference)
    return Mix(models, recipe, forgiving=True), models[1]


def a_path(mix: Mix) -> Path:
    return Path(Anchor((*mix.vocabulary.prefix, *tokens_of(mix.vocabulary, b"ab a"))))


async def looked_at(server: Hanging) -> None:
    """Until it was noticed that it is away, and would have been left out."""
    looks = server.news.looks
    server.news.stir()
    await until(lambda: server.news.looks > looks)


@pytest.mark.parametrize("mode", ["democratic", "round-robin", "reference"])
async def test_the_others_go_on_at_once_where_they_can(mode: Mode) -> None:
    mix, server = mixed(mode)
    server.leave()
    blend = await mix.look(a_path(mix))
    assert blend.speakers == (0,)
    lost = mix.company.lost[1]
    assert lost.returns
    assert lost.error.cause == "http://near: Connection refused."
    assert server.name in lost.error.title
    await mix.close()


async def test_it_comes_back_by_itself_and_is_heard_again() -> None:
    mix, server = mixed()
    changes: list[set[int]] = []
    mix.news.listen(lambda: changes.append(set(mix.company.back)))
    server.leave()
    await mix.look(a_path(mix))
    server.come_back()
    await until(lambda: mix.company.back)
    assert changes[0] == set()
    assert changes[-1] == {1}
    assert (await mix.look(a_path(mix))).speakers == (0, 1)
    assert not mix.company.lost
    await mix.close()


async def test_after_its_wire_gave_up_it_still_comes_back() -> None:
    mix, server = mixed()
    server.gives_up = True
    await mix.look(a_path(mix))
    before, asked = mix.company.lost[1], server.refused
    await until(lambda: server.refused > asked + 2)
    assert mix.company.lost[1] == before
    server.come_back()
    await until(lambda: mix.company.back)
    await mix.close()


async def test_a_reference_is_waited_for() -> None:
    mix, server = mixed("reference", reference=1)
    server.leave()
    asked = asyncio.create_task(mix.look(a_path(mix)))
    await until(lambda: 1 in mix.company.awaited and 0 not in mix.company.awaited)
    await looked_at(server)
    assert not asked.done()
    assert not mix.company.lost
    assert mix.company.away(1) == absence()
    server.come_back()
    blend = await asked
    assert isinstance(blend, Blend)
    assert blend.speakers == (1,)
    assert not mix.company.awaited
    await mix.close()


async def test_the_last_one_alive_is_waited_for_too() -> None:
    mix, server = mixed()
    mix.recipe = Recipe("democratic", OpinionPool((0.0, 1.0)))
    server.leave()
    asked = asyncio.create_task(mix.look(a_path(mix)))
    await until(lambda: 1 in mix.company.awaited)
    await looked_at(server)
    assert not asked.done()
    server.gives_up = True
    asked.cancel()
    with pytest.raises(BackendUnavailable, match="No connection"):
        await mix.look(a_path(mix))
    assert not mix.able
    await mix.close()


async def test_a_search_waits_and_is_of_one_mix() -> None:
    mix, server = mixed()
    server.leave()
    path = a_path(mix)
    await mix.look(path)
    queries = [Query(path)]
    assert [type(answer) async for answer in mix.ask(queries)] == [Fact]
    server.come_back()
    await until(lambda: mix.company.back)
    asked = len(server.asked)
    further = [Query(Path(path.anchor, (id,))) for id in (3, 4)]
    assert len([answer async for answer in mix.ask(further)]) == 2
    assert len(server.asked) == asked
    assert mix.company.lost
    server.leave()
    waiting = asyncio.create_task(anext(mix.ask([Query(a_path(mix))])))
    await until(lambda: 1 in mix.company.awaited)
    assert not mix.company.lost
    server.come_back()
    assert isinstance(await waiting, Fact)
    assert len(server.asked) == asked + 1
    await mix.close()


class Faulty(Endless):
    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        raise ZeroDivisionError
        yield  # Makes it a generator.


async def test_a_fault_of_our_own_is_raised_and_not_waited_for() -> None:
    mix = Mix(
        [Endless(1), Faulty(2)], Recipe("democratic", OpinionPool((1.0, 1.0))), forgiving=True
    )
    with pytest.raises(ZeroDivisionError):
        await mix.look(a_path(mix))
    await mix.close()


async def test_who_is_recalled_is_asked_by_the_next_question() -> None:
    mix, server = mixed()
    server.leave()
    await mix.look(a_path(mix))
    server.news.tell([])
    mix.retry()
    assert not mix.company.lost
    asked = asyncio.create_task(mix.look(a_path(mix)))
    await until(lambda: 1 in mix.company.awaited)
    server.come_back()
    assert (await asked).speakers == (0, 1)
    await mix.close()
