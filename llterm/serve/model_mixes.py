"""Mixes of served models, by a name such as `mix:a+b`: each token is drawn from the mean of their
distributions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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


class ModelMixes:
    """Mixes, made when they are first asked for. Their models stay whose they are."""

    def __init__(self) -> None:
        self._made: dict[tuple[ServedModel, ...], ServedModel] = {}

    def get(self, members: Sequence[ServedModel], loaded: Collection[ServedModel]) -> ServedModel:
        """The mix of these; `loaded`: all models that there are now, without which none is kept."""
        key = tuple(members)
        self._made = {
            each: mix for each, mix in self._made.items() if all(one in loaded for one in each)
        }
        if key not in self._made:
            self._made[key] = _mixed(key)
        return self._made[key]


def _mixed(members: Sequence[ServedModel]) -> ServedModel:
    recipe = Recipe("democratic", OpinionPool((1.0,) * len(members)))
    names = [member.name for member in members]
    mix = Mix([member.backend for member in members], recipe, names=names)
    # Its models are asked in step for one text at a time.
    return ServedModel(MIX + "+".join(names), BackendGenerator(mix, 1, ServeLimits().queue), mix)
