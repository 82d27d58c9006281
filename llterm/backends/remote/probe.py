"""Which dialect a server speaks, and what it can do: asked, and tried where it does not say."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from llterm.backends.remote.dialect import Dialect, EchoesLogprobs
from llterm.backends.remote.dialects import REGISTRY, dialects_to_probe
from llterm.backends.remote.dialects.llama import LlamaDialect
from llterm.backends.remote.discovery import Discovery, told_of
from llterm.backends.remote.model_choice import listing
from llterm.backends.remote.steps import CompletionRequest, CompletionStep, Prompt, shown_name
from llterm.backends.remote.transport import BadAnswer, RequestRefused, ServerFailed, Transport
from llterm.core.json_text import json_text
from llterm.errors import BackendUnavailable, CapabilityMissing, LltermError

MANY = 1000
"""Candidates that are asked for to see how many there can be."""
LIMITS = (100, 20, 10, 5)
"""Tried in turn where a refusal does not name the limit."""
_TEXT = "Once upon a time there was a"
_NUMBER = re.compile(r"\d+")


async def find_dialect(discovery: Discovery, name: str, model: str | None) -> Dialect:
    """The dialect that this server speaks, or the one that is named, with what it can do.

    Raises LltermError: BackendUnavailable, Refused without a key, CapabilityMissing.
    """
    # Alone at first: a server that is not there is told once.
    await discovery.get("/v1/models")
    try:
        return await _found(discovery, name, model)
    except RequestRefused as error:
        names = await discovery.model_names()
        if model is not None and names and model not in names and error.status in (400, 404, 422):
            error.hint = f"It lists {listing(names)}; {shown_name(model)} is not among them."
        raise


async def _found(discovery: Discovery, name: str, model: str | None) -> Dialect:
    if name != "auto":
        return await _named(discovery, REGISTRY[name].dialect, model)
    owners = {entry.get("owned_by") for entry in await discovery.models()}
    for row in REGISTRY.values():
        if row.owner and row.owner in owners:
            named = await row.dialect.detect(discovery, model)
            if named is not None:
                return await with_trials(discovery.transport, named)
    kinds = dialects_to_probe(by_themselves=True)
    for dialect in await asyncio.gather(*(kind.detect(discovery, model) for kind in kinds)):
        if dialect is not None:
            return await with_trials(discovery.transport, dialect)
    return await _other(discovery, model)


async def detect_again(
    discovery: Discovery, name: str, model: str | None
) -> tuple[Dialect, str] | None:
    """A server of this dialect before anything is tried, and a hash of what it says of itself.

    None where it is of another kind now. Raises LltermError.
    """
    dialect = await REGISTRY[name].dialect.detect(discovery, model)
    if dialect is None:
        return None
    # vLLM makes the first two up for each answer.
    passing = {"created": None, "permission": None, "status": None}
    listed = [{**entry, **passing} for entry in await discovery.models()]
    # What else a server has, and has loaded, says nothing of this model.
    own = [entry for entry in listed if shown_name(str(entry.get("id"))) == dialect.traits.model]
    said = f"{dialect!r} {json_text(own or listed, sort=True)}"
    return dialect, hashlib.sha256(said.encode()).hexdigest()


async def with_trials(transport: Transport, dialect: Dialect) -> Dialect:
    """The dialect with what trying shows of its server. Raises CapabilityMissing where it gives no
    probabilities at all."""
    traits = dialect.traits
    first = await _steps(transport, dialect, CompletionRequest([_prompt(dialect)], 2))
    if not any(len(step.listed) >= 2 for step in first):
        raise CapabilityMissing(
            "This server gives no probabilities",
            f"{traits.server} was asked for the two most probable tokens and did not tell them.",
            "Some must be started so that they do: see the page on servers. transformers' server"
            " cannot: vLLM and mlx_lm serve the same folder, and `-m FILE.gguf` needs no server.",
        )
    known = [one for step in first for one in step.listed]
    if traits.ids_out and any(one.id is None for one in known):
        # Older than the ids in its answers, and then its bytes are those of the text shown.
        traits = replace(traits, ids_out=False, bytes_out=False, favours=False)
    dialect = dialect.with_traits(traits)
    if isinstance(dialect, LlamaDialect):
        return dialect if dialect.size else dialect.with_traits(
            replace(traits, top=await _most(transport, dialect))
        )  # fmt: skip
    top, lists, reads = await asyncio.gather(
        _most(transport, dialect), _takes_lists(transport, dialect), _scores(transport, dialect)
    )
    return dialect.with_traits(replace(traits, top=top, lists=lists, reads=reads))


async def reused_tokens(transport: Transport, dialect: Dialect) -> int | None:
    """How many tokens of a repeated prompt a server has in its cache; None: it does not say."""
    request = CompletionRequest([_prompt(dialect)], 2)
    await _steps(transport, dialect, request)
    again = await _steps(transport, dialect, request)
    return next((step.reused for step in again if step.reused is not None), None)


async def _named(discovery: Discovery, kind: type[Dialect], model: str | None) -> Dialect:
    dialect = await kind.detect(discovery, model)
    if dialect is None:
        raise CapabilityMissing(
            f"{discovery.transport.name} is no server of that kind",
            f"It does not answer as the dialect {kind.name} does.",
            'Leave dialect out, or write dialect = "auto".',
        )
    return await with_trials(discovery.transport, dialect)


async def _other(discovery: Discovery, model: str | None) -> Dialect:
    """Completions, or else chat."""
    errors: list[LltermError] = []
    for kind in dialects_to_probe(by_themselves=False):
        try:
            dialect = await kind.detect(discovery, model)
            if dialect is not None:
                return await with_trials(discovery.transport, dialect)
        except (RequestRefused, BadAnswer, CapabilityMissing) as error:
            if isinstance(error, RequestRefused) and error.status == 401:
                raise
            errors.append(error)
        except ServerFailed as error:
            # One that breaks at what it does not know; any other failure passes, or is told.
            if error.status != 500:
                raise
            errors.append(error)
    telling = max([*errors, *discovery.faults], key=_telling, default=None)
    if telling is not None:
        if model is None and not await discovery.model_names():
            first = discovery.transport.name.split()[0]
            telling.hint = f"It lists no models: name the one you mean, -m '{first}#NAME'."
        raise telling
    raise BackendUnavailable(
        f"{discovery.transport.name} is no model's server",
        "It answers none of the questions by which llterm knows the kinds of servers.",
        "Check the address; `dialect` and `model` in the configuration help where it lists none.",
    )


def _telling(error: LltermError) -> int:
    """How much an error tells of what is wrong: that an address is missing says the least."""
    if isinstance(error, CapabilityMissing):
        return 3
    if isinstance(error, RequestRefused):
        missing = error.status in (404, 405, 501)
        return (not missing) + (bool(error.detail) and not missing)
    # That an address took too long says something of what may be there, but least of all faults.
    return 1 if isinstance(error, BackendUnavailable) else 2


async def _steps(
    transport: Transport, dialect: Dialect, request: CompletionRequest
) -> list[CompletionStep]:
    call = dialect.call(request)
    try:
        return list(dialect.read((await transport.post(call.path, call.body)).data))
    except (RequestRefused, BadAnswer) as error:
        raise told_of(error, transport.name, call.path)  # noqa: B904 (it is the same error)


def _prompt(dialect: Dialect) -> Prompt:
    """A prompt that any server takes; an id that any vocabulary has."""
    return (1,) if dialect.traits.ids_in and dialect.name != LlamaDialect.name else _TEXT


async def _most(transport: Transport, dialect: Dialect) -> int | None:
    """The most candidates that it lists, or None where it listed all that were asked for."""
    tries = [MANY, *LIMITS]
    while tries:
        asked = tries.pop(0)
        try:
            steps = await _steps(transport, dialect, CompletionRequest([_prompt(dialect)], asked))
        except RequestRefused as error:
            named = [int(limit) for limit in _NUMBER.findall(error.detail)]
            named_limit = max((limit for limit in named if 1 < limit < asked), default=None)
            if named_limit is not None:
                if named_limit == dialect.traits.top:
                    # It is what servers of this kind are known for.
                    return named_limit
                tries = [named_limit, *(limit for limit in LIMITS if limit < named_limit)]
            continue
        listed = max((len(step.listed) for step in steps), default=0)
        if listed < 2:
            continue
        # Those that are written alike are one entry: what was asked is the limit then.
        if listed < asked // 2:
            return listed
        return None if asked == MANY else asked
    return dialect.traits.top


async def _takes_lists(transport: Transport, dialect: Dialect) -> bool:
    if not dialect.traits.lists:
        return False
    try:
        steps = await _steps(transport, dialect, CompletionRequest([_prompt(dialect)] * 2, 2))
    except LltermError:
        return False
    return {step.line for step in steps} == {0, 1}


async def _scores(transport: Transport, dialect: Dialect) -> bool:
    """Whether it tells the probabilities of a given text."""
    if not isinstance(dialect, EchoesLogprobs):
        return False
    prompt = _prompt(dialect)
    call = dialect.scoring_call(prompt if isinstance(prompt, str) else prompt * 3, 2)
    try:
        positions: Sequence[object] = dialect.read_scoring(
            (await transport.post(call.path, call.body)).data
        )
    except LltermError:
        return False
    return len(positions) > 1
