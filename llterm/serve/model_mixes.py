"""Mixes of served models, by a name such as `mix:a+b`: each token is drawn from the mean of their
distributions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.mixture import Mix
from llterm.serve.api_errors import ApiError
from llterm.serve.serve_limits import MOST_MIXED, ServeLimits
from llterm.serve.served_models import ServedModel

MIX = "mix:"
"""What the name of a mix begins with: those of its models follow, with + between them."""


def mixed_names(name: str) -> Sequence[str]:
    """The names of a mix's models, each once. Raises ApiError (404) for what is no mix."""
    names = [*dict.fromkeys(name.removeprefix(MIX).split("+"))]
    if not all(names) or any(each.startswith(MIX) for each in names):
        names = []
    if not 2 <= len(names) <= MOST_MIXED:
        raise ApiError(
            404,
            f"{name[:100]} is no mix",
            f"A mix is of 2 to {MOST_MIXED} models, by their names.",
            "Name it as in mix:a+b.",
            param="model",
            code="model_not_found",
        )
    return names


KEPT = 8
"""Mixes that nobody asks and that are not forgotten: clients may name any number of them."""


@dataclass(slots=True, eq=False)
class _MadeMix:
    """A mix, and how many requests use it."""

    model: ServedModel
    mix: Mix
    requests: int = 0


class ModelMixes:
    """Mixes, made when they are first asked for. Their models stay whose they are."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[ServedModel, ...], _MadeMix] = OrderedDict()
        """The one that was asked last is the last."""

    @asynccontextmanager
    async def held(
        self, members: Sequence[ServedModel], loaded: Collection[ServedModel]
    ) -> AsyncIterator[ServedModel]:
        """The mix of these for a request; `loaded`: all models that there are now, without which
        none is kept."""
        key = tuple(members)
        if key not in self._made:
            self._made[key] = _mixed(key)
        self._made.move_to_end(key)
        made = self._made[key]
        made.requests += 1
        try:
            await self._forget(loaded)
            yield made.model
        finally:
            made.requests -= 1

    async def _forget(self, loaded: Collection[ServedModel]) -> None:
        idle = [key for key, made in self._made.items() if not made.requests]
        gone = [key for key in idle if not all(member in loaded for member in key)]
        old = idle[: max(len(idle) - KEPT, 0)]
        forgotten = [self._made.pop(key) for key in dict.fromkeys([*gone, *old])]
        for each in forgotten:
            await each.mix.leave()


def _mixed(members: Sequence[ServedModel]) -> _MadeMix:
    recipe = Recipe("democratic", OpinionPool((1.0,) * len(members)))
    names = [member.name for member in members]
    mix = Mix([member.backend for member in members], recipe, names=names)
    # Its models are asked in step for one text at a time.
    generator = BackendGenerator(mix, 1, ServeLimits().queue)
    return _MadeMix(ServedModel(MIX + "+".join(names), generator, mix), mix)
