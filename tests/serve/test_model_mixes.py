"""Mixes of served models: few are kept, and none is lost to who uses it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

from llterm.backends.scripted import ScriptedBackend
from llterm.serve.model_mixes import KEPT, ModelMixes
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.served_models import ServedModel, served_model


def models(count: int) -> Sequence[ServedModel]:
    return [served_model(f"m{n}", ScriptedBackend(), ServeLimits()) for n in range(count)]


async def test_the_last_few_are_kept_with_all_that_are_used() -> None:
    """Clients may name any number of mixes."""
    mixes, served = ModelMixes(), models(KEPT + 3)
    first, *others = served
    seen: list[weakref.ref[ServedModel]] = []
    async with mixes.held(served[1:3], served) as used:
        for other in others:
            async with mixes.held([first, other], served) as mix:
                assert mix.name == f"mix:{first.name}+{other.name}"
                seen.append(weakref.ref(mix))
        del mix
        async with mixes.held(served[1:3], served) as again:
            assert again is used
        gc.collect()
        assert [each() is not None for each in seen] == [False] * 2 + [True] * KEPT


async def test_one_whose_model_is_gone_is_forgotten() -> None:
    mixes, served = ModelMixes(), models(3)
    async with mixes.held(served[:2], served) as mix:
        gone = weakref.ref(mix)
    del mix
    async with mixes.held(served[1:], served[1:]):
        gc.collect()
        assert gone() is None
