"""Weaves after nodes of looms: what they find, as it comes, and what of it goes into the loom."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from llterm.constraints.compiled import Compiled
from llterm.constraints.compiled import compile as compiled
from llterm.constraints.spec import read_constraint
from llterm.core.healing import Healer
from llterm.core.suggestion_tree import Suggestion, View
from llterm.core.weave_state import Weave
from llterm.engine.canonical_pass import CanonicalPass
from llterm.engine.weave import check_constraints, drive, make_weave, rules_for, to_drive
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.legacy_logprobs import sayable, token_text
from llterm.serve.loom_bodies import weave_rules
from llterm.serve.loom_records import held
from llterm.serve.served_models import ServedModel
from llterm.session.document import Document
from llterm.session.growth import prompt_at
from llterm.session.manuscript import ModelRun
from llterm.session.placed_weave import WeavePath
from llterm.store.stored_settings import read_sampling

Part = Mapping[str, Any]
MOST_KEPT = 32
MOST_PART = 50
"""Suggestions told while it goes on."""
PART_SECONDS = 0.25
"""Between two parts."""


@dataclass(slots=True, eq=False)
class NodeWeave:
    """A weave, and where it hangs."""

    loom: str
    node: int
    text: bytes
    """Up to the node."""
    model: ServedModel
    weave: Weave

    async def run(self) -> AsyncGenerator[View]:
        """What is found so far, again and again, until nothing is left to search. Closing it
        cancels. Raises LltermError."""
        source = self.model.backend
        self.weave = to_drive(self.weave, source)
        told = time.monotonic()
        async with aclosing(_closable(drive(self.weave, source))) as costs:
            async for _ in costs:
                if time.monotonic() - told > PART_SECONDS:
                    yield await asyncio.to_thread(lambda: self.weave.view(running=True))
                    told = time.monotonic()
        again = CanonicalPass(self.weave, source)
        async for _ in again.run():
            pass
        self.weave = again.weave
        yield await asyncio.to_thread(self.weave.view)

    def taken(self, ids: Sequence[int]) -> ModelRun:
        """The first tokens of a suggestion on their way into the loom. Raises ApiError."""
        try:
            run = WeavePath.of(self.weave, tuple(ids)).run(self.model.backend)
        except KeyError:
            raise bad_field("ids", "This weave has no such suggestion") from None
        if not run.data:
            raise bad_field("ids", "These tokens add no text")
        return run

    def record(self, view: View, most: int | None = None) -> Part:
        """What is told of it."""
        return {
            "node": self.node,
            "model": self.model.name,
            "suggestions": [self._suggestion(each) for each in view.suggestions[:most]],
            "settled": view.settled,
            "coverage": list(view.coverage),
            "done": view.done,
        }

    def _suggestion(self, suggestion: Suggestion) -> Part:
        vocabulary = self.model.vocabulary
        return {
            "text": suggestion.data.decode("utf-8", "replace"),
            "ids": list(suggestion.tail),
            "logprob": sayable(suggestion.logprob),
            "p": math.exp(suggestion.logprob),
            "finish": suggestion.finish,
            "tokens": [
                {
                    "id": step.id,
                    "text": token_text(vocabulary.token(step.id)),
                    "logprob": sayable(step.logprob),
                    "rank": step.rank,
                }
                for step in suggestion.steps
            ],
        }


class LoomWeaves:
    """The weaves that were made last, whose suggestions can be accepted."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, NodeWeave] = OrderedDict()

    def keep(self, weave: NodeWeave) -> str:
        """Keep one. Returns its id."""
        id = f"weave-{secrets.token_hex(12)}"
        self._kept[id] = weave
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return id

    def get(self, id: str, loom: str, node: int) -> NodeWeave:
        """One of this node. Raises ApiError (404)."""
        weave = self._kept.get(id)
        if weave is None or (weave.loom, weave.node) != (loom, node):
            raise ApiError(404, "There is no such weave", "It is of another node, or too long ago.",
                           "Weave again.", param="weave", code="weave_not_found")  # fmt: skip
        return weave


async def begin_weave(
    body: Any, document: Document, loom: str, node: int, model: ServedModel
) -> NodeWeave:
    """A weave after a node, under the loom's settings and the body's. Raises LltermError."""
    model.check_predicts()
    held(document, node)
    source = model.backend
    wanted = read_constraint(document.constraint)
    constraint: Compiled | None = None
    if wanted is not None:
        check_constraints(source)
        constraint = await asyncio.to_thread(compiled, wanted, source.vocabulary)
    rules = weave_rules(body, document.rules)
    rules = rules_for(rules, source, constrained=constraint is not None)
    prompt = await prompt_at(document, node, source, rules)
    if not prompt.tokens:
        raise ApiError(400, "There is no text to go on from", "This model needs a beginning.")
    sampling = read_sampling(document.sampling)
    weave = make_weave(
        source,
        prompt,
        rules,
        healer=Healer(source.vocabulary) if prompt.residue else None,
        constraint=constraint,
        bans=None if sampling is None else sampling.bans,
    )
    return NodeWeave(loom, node, document.loom.text(node), model, weave)


async def _closable(costs: Any) -> AsyncGenerator[Any]:
    async for cost in costs:
        yield cost
