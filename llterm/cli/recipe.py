"""How several models are to be mixed, from typed words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llterm.errors import UsageError

if TYPE_CHECKING:
    from llterm.core.mixing.mix_recipe import Recipe

Values = Mapping[str, Any]
"""A command's parameters, by name."""


def typed_recipe(values: Values) -> Recipe | None:
    """What several `-m` and the flags beside them mean for a weave; None for one model.

    Raises UsageError.
    """
    models = tuple(values["model"] or ())
    if len(models) < 2:
        typed = [name for name in ("mode", "pool", "weight", "plausible", "turn") if values[name]]
        if typed:
            raise UsageError(f"--{typed[0]} needs several models", "", "Give -m for each of them.")
        return None
    return recipe_of(values, models, values["mode"] or "democratic")


def recipe_of(values: Values, models: Sequence[str], mode: str) -> Recipe:
    """What the flags say of these models. Raises UsageError for a weight of none of them."""
    from llterm.core.mixing.mix_recipe import Recipe
    from llterm.core.mixing.opinion_pools import OpinionPool

    weights = [1.0] * len(models)
    for typed in values["weight"] or ():
        name, equals, number = typed.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(
                f"--weight {typed} is not understood", "", "Write it as --weight MODEL=0.5."
            )
        weights[index_of(name, models)] = weight
    plausible = 0.1 if values["plausible"] is None else values["plausible"]
    pool = OpinionPool(tuple(weights), values["pool"] or "linear", plausible)
    return Recipe(mode, pool, values["turn"] or 1)  # type: ignore[arg-type]


def index_of(name: str, models: Sequence[str]) -> int:
    """Which of the models is meant: as typed with -m, or its file's name. Raises UsageError."""
    stems = [Path(model).stem if model.endswith(".gguf") else model for model in models]
    for known in (models, stems):
        if name in known:
            return list(known).index(name)
    near = get_close_matches(name, [*models, *stems], 1, 0.5)
    raise UsageError(
        f"There is no model {name} in this mix",
        f"Given with -m: {', '.join(models)}.",
        f"Did you mean {near[0]}?" if near else "",
    )
