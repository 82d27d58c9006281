"""What models write into looms: children that are drawn, and tokens one by one."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from llterm.constraints.compiled import Compiled
from llterm.constraints.compiled import compile as compiled
from llterm.constraints.spec import read_constraint
from llterm.core.loom_tree import ROOT
from llterm.core.provenance import Arrival
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.weave import check_constraints, rules_for
from llterm.serve.api_errors import ApiError
from llterm.serve.generation_fields import stop_texts
from llterm.serve.inspections import TextPlace
from llterm.serve.legacy_logprobs import sayable
from llterm.serve.loom_records import held, node_record
from llterm.serve.request_prompts import check_size
from llterm.serve.request_rules import RequestRules
from llterm.serve.sampler_fields import sampling_of
from llterm.serve.served_loom import ServedLoom
from llterm.serve.served_models import ServedModel
from llterm.session.document import Document
from llterm.session.growth import Growth, GrowthRules, prompt_at
from llterm.session.manuscript import ModelRun
from llterm.session.placed_sample import ALTERNATIVES

Part = Mapping[str, Any]
_WAYS = {"sampled": "drawn", "greedy": "first choice"}
"""How a token came, as looms keep it; what was forced the person picked."""


async def begin_growth(
    body: Any, document: Document, node: int, model: ServedModel, rules: RequestRules
) -> Growth:
    """Children of a node that are to be drawn. Raises LltermError."""
    model.check_predicts()
    held(document, node)
    chain = await model.chains.told(await sampling_of(body, rules, model))
    wanted = read_constraint(document.constraint)
    constraint: Compiled | None = None
    if wanted is not None:
        check_constraints(model.backend)
        constraint = await asyncio.to_thread(compiled, wanted, model.vocabulary)
    growth = GrowthRules(body.n, body.max_tokens, body.sentence, stop_texts(body.stop), body.heal)
    return await Growth.begin(document, model.backend, [node], growth, chain, constraint)


async def grown(growth: Growth, loom: ServedLoom) -> AsyncGenerator[Part]:
    """Each token as it is drawn; then the children, once they are in the loom. Closing it leaves
    none. Raises LltermError."""
    decoders: dict[int, codecs.IncrementalDecoder] = {}
    sizes: dict[int, int] = {}
    async with aclosing(growth.run()) as tokens:
        async for child, drawn in tokens:
            number, data = child.number, drawn.sample.data
            decoder = decoders.setdefault(
                number, codecs.getincrementaldecoder("utf-8")(errors="replace")
            )
            text = decoder.decode(data[sizes.get(number, 0) :], final=bool(drawn.sample.finish))
            sizes[number] = len(data)
            yield {
                "type": "token",
                "index": number,
                "text": text,
                "id": drawn.choice.id,
                "logprob": sayable(drawn.choice.logprob),
                "finish": drawn.sample.finish,
            }
    yield await loom.write(lambda document: _planted(growth, document))


def _planted(growth: Growth, document: Document) -> Part:
    planted = {child.number: id for child, id in growth.plant()}
    for child in growth.children:
        if child.error is not None and not planted:
            raise child.error
    return {
        "type": "nodes",
        "revision": document.undo_log.revision,
        "nodes": [{**node_record(document, id), "index": number} for number, id in planted.items()],
        "finishes": [child.sample.finish for child in growth.children],
    }


async def node_place(document: Document, node: int, model: ServedModel) -> TextPlace:
    """A node's text as the model reads it: up to its parent, and its own. Raises LltermError."""
    rules = rules_for(WeaveSettings(heal=False), model.backend)
    held(document, node)
    whole = (await prompt_at(document, node, model.backend, rules)).tokens
    check_size(len(whole), model, "node")
    if node == ROOT:
        return TextPlace(whole, ())
    parent = document.loom.nodes[node].parent
    before = (await prompt_at(document, parent, model.backend, rules)).tokens
    size = len(before) if whole[: len(before)] == before else len(whole)
    return TextPlace(whole[:size], whole[size:])


def stepped_run(answer: Mapping[str, Any], model: ServedModel) -> ModelRun | None:
    """The tokens that a step wrote, on their way into a loom; None where they add no text."""
    vocabulary = model.vocabulary
    metas: Sequence[Mapping[str, Any]] = [
        meta for meta in answer["appended_meta"] if not vocabulary.token(meta["token"]["id"]).end
    ]
    tokens = [vocabulary.token(meta["token"]["id"]) for meta in metas]
    data = b"".join(b"" if token.special else token.data for token in tokens)
    if not data:
        return None
    return ModelRun(
        ids=tuple(meta["token"]["id"] for meta in metas),
        sizes=tuple(0 if token.special else len(token.data) for token in tokens),
        data=data,
        logprobs=tuple(meta["token"]["logprob"] for meta in metas),
        overlap=0,
        model=model.name,
        fingerprint=vocabulary.fingerprint,
        settings={"step": [meta["how"] for meta in metas]},
        alternatives=tuple(
            tuple(
                (each["id"], vocabulary.token(each["id"]).data, each["logprob"])
                for each in meta["tokens"][:ALTERNATIVES]
            )
            for meta in metas
        ),
        arrivals=tuple(
            Arrival(
                _WAYS.get(meta["how"], "picked"), meta["token"]["p_final"], meta["kept"] or None
            )
            for meta in metas
        ),
        kernels=model.backend.capabilities.kernel_kind,
    )


def check_children(body: Any) -> Sequence[str]:
    """The texts that a body wants written. Raises ApiError."""
    if (body.text is None) == (body.texts is None):
        raise ApiError(400, "There is to be text or texts", "", "Give one of the two.",
                       param="texts", code="invalid_value")  # fmt: skip
    return body.texts if body.texts is not None else [body.text]
