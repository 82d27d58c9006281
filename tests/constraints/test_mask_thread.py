"""Masks for many texts at once: each has its own place, and none waits for another's."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llterm.backends.scripted import ScriptedVocabulary
from llterm.constraints.compiled import compile
from llterm.constraints.mask_thread import MaskThread
from llterm.constraints.spec import choices, regex
from llterm.errors import UsageError


def test_texts_walk_side_by_side_as_each_alone() -> None:
    vocabulary, rng = ScriptedVocabulary(), np.random.default_rng(1)
    masks = MaskThread(vocabulary)
    constraints = [regex("[a-f]{2,9}(x|yy)*"), choices([" the cat", " the cart", " a dog"])]
    walks = [masks.begin(constraint).result() for constraint in constraints * 3]
    tails: list[tuple[int, ...]] = [()] * len(walks)
    going = set(range(len(walks)))
    for _ in range(12):
        for index in sorted(going):
            walk, tail = walks[index], tails[index]
            allowed = masks.mask(walk, tail[-1:]).result().allowed
            again = compile(constraints[index % 2], vocabulary)
            assert (allowed == again.mask(tail).allowed).all()
            assert walk.ended == again.ended(tail)
            if not allowed.any():
                going.discard(index)
                continue
            tails[index] = (*tail, int(rng.choice(np.flatnonzero(allowed))))
    assert len(set(tails)) > 2
    masks.close()


def test_a_constraint_asked_for_by_many_is_made_once() -> None:
    vocabulary = ScriptedVocabulary()
    gate = threading.Barrier(4)

    def made(_: int) -> int:
        gate.wait()
        return id(compile(regex("once[a-z]+"), vocabulary))

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(made, range(4)))) == 1


async def test_a_mask_that_is_not_ready_keeps_nobody_else_waiting() -> None:
    masks, gate = MaskThread(ScriptedVocabulary()), threading.Event()
    held = masks.call(gate.wait)
    walking = masks.begin(regex("[ab]+"))
    assert not held.done()
    assert not walking.done(), "asked for behind one that takes long, and nobody waited here"
    gate.set()
    walk = await asyncio.wrap_future(walking)
    allowed = (await asyncio.wrap_future(masks.mask(walk))).allowed
    assert allowed.any()
    masks.close()


def test_what_cannot_be_read_is_told_to_whoever_asked() -> None:
    masks = MaskThread(ScriptedVocabulary())
    with pytest.raises(UsageError):
        masks.begin(regex("[")).result()
    assert masks.begin(regex("a")).result().mask().allowed.any()
    masks.close()
