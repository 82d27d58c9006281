"""Which dialect a server speaks, and what it can do: asked, and tried where it does not say."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from llterm.backends.remote.dialects.asking import Visit
from llterm.backends.remote.dialects.chat import Chat
from llterm.backends.remote.dialects.completions import Completions
from llterm.backends.remote.dialects.kobold import Kobold
from llterm.backends.remote.dialects.llama import Llama
from llterm.backends.remote.dialects.ollama import Ollama
from llterm.backends.remote.dialects.protocol import Dialect, Reads
from llterm.backends.remote.dialects.sglang import Sglang
from llterm.backends.remote.dialects.tabby import Tabby
from llterm.backends.remote.dialects.vllm import Vllm
from llterm.backends.remote.dialects.webui import Webui
from llterm.backends.remote.steps import Ask, Prompt, Step
from llterm.backends.remote.wire import BadAnswer, Refused, Wire
from llterm.core.jsontext import json_text
from llterm.errors import BackendUnavailable, CapabilityMissing, LltermError

KNOWN: Mapping[str, type[Dialect]] = {
    one.name: one for one in (Kobold, Sglang, Vllm, Tabby, Webui, Llama, Ollama)
}
"""Servers that can be told by what they say of themselves; some imitate those after them."""
OTHERS: Mapping[str, type[Dialect]] = {one.name: one for one in (Completions, Chat)}
"""What most others speak."""
MANY = 1000
"""Candidates that are asked for to see how many there can be."""
LIMITS = (100, 20, 10, 5)
"""Tried in turn where a refusal does not name the limit."""
_TEXT = "Once upon a time there was a"
_NUMBER = re.compile(r"\d+")


async def find_dialect(wire: Wire, name: str, model: str | None) -> Dialect:
    """The dialect that this server speaks, or the one that is named, with what it can do.

    Raises LltermError: BackendUnavailable, Refused without a key, CapabilityMissing.
    """
    visit = Visit(wire)
    try:
        return await found_out(visit, name, model)
    finally:
        await visit.close()


async def found_out(visit: Visit, name: str, model: str | None) -> Dialect:
    """As `find_dialect`, on a visit that goes on."""
    # Alone at first: a server that is not there is told once.
    await visit.get("/v1/models")
    if name != "auto":
        return await _named(visit, {**KNOWN, **OTHERS}[name], model)
    met = await asyncio.gather(*(one.meet(visit, model) for one in KNOWN.values()))
    for dialect in met:
        if dialect is not None:
            return await tried(visit.wire, dialect)
    return await _other(visit, model)


async def met_again(visit: Visit, name: str, model: str | None) -> tuple[Dialect, str] | None:
    """A server of this dialect before anything is tried, and a hash of what it says of itself.

    None where it is of another kind now. Raises LltermError.
    """
    listed = [{**one, "created": None} for one in await visit.models()]
    dialect = await {**KNOWN, **OTHERS}[name].meet(visit, model)
    if dialect is None:
        return None
    said = f"{dialect!r} {json_text(listed, sort=True)}"
    return dialect, hashlib.sha256(said.encode()).hexdigest()


async def tried(wire: Wire, dialect: Dialect) -> Dialect:
    """The dialect with what trying shows of its server. Raises CapabilityMissing where it gives no
    probabilities at all."""
    traits = dialect.traits
    first = await _steps(wire, dialect, Ask([_prompt(dialect)], 2))
    if not any(len(step.listed) >= 2 for step in first):
        raise CapabilityMissing(
            "This server gives no probabilities",
            f"{traits.server} was asked for the two most probable tokens and did not tell them.",
            "Some models and servers cannot, or must be started so that they do: see the page on"
            " servers in the documentation.",
        )
    known = [one for step in first for one in step.listed]
    if traits.ids_out and any(one.id is None for one in known):
        # Older than the ids in its answers, and then its bytes are those of the text shown.
        traits = replace(traits, ids_out=False, bytes_out=False, favours=False)
    dialect = dialect.knowing(traits)
    if isinstance(dialect, Llama):
        return dialect if dialect.size else dialect.knowing(
            replace(traits, top=await _most(wire, dialect))
        )  # fmt: skip
    top, lists, reads = await asyncio.gather(
        _most(wire, dialect), _takes_lists(wire, dialect), _scores(wire, dialect)
    )
    return dialect.knowing(replace(traits, top=top, lists=lists, reads=reads))


async def reuses(wire: Wire, dialect: Dialect) -> int | None:
    """How many tokens of a repeated prompt a server has in its cache; None: it does not say."""
    ask = Ask([_prompt(dialect)], 2)
    await _steps(wire, dialect, ask)
    again = await _steps(wire, dialect, ask)
    return next((step.reused for step in again if step.reused is not None), None)


async def _named(visit: Visit, kind: type[Dialect], model: str | None) -> Dialect:
    dialect = await kind.meet(visit, model)
    if dialect is None:
        raise CapabilityMissing(
            f"{visit.wire.name} is no server of that kind",
            f"It does not answer as the dialect {kind.name} does.",
            'Leave dialect out, or write dialect = "auto".',
        )
    return await tried(visit.wire, dialect)


async def _other(visit: Visit, model: str | None) -> Dialect:
    """Completions, or else chat."""
    found: list[LltermError] = []
    for kind in OTHERS.values():
        try:
            dialect = await kind.meet(visit, model)
            if dialect is not None:
                return await tried(visit.wire, dialect)
        except (Refused, BadAnswer, CapabilityMissing) as error:
            if isinstance(error, Refused) and error.status == 401:
                raise
            found.append(error)
    telling = max([*found, *visit.faults], key=_telling, default=None)
    if telling is not None:
        raise telling
    raise BackendUnavailable(
        f"{visit.wire.name} is no model's server",
        "It answers none of the questions by which llterm knows the kinds of servers.",
        "Check the address; `dialect` and `model` in the configuration help where it lists none.",
    )


def _telling(error: LltermError) -> int:
    """How much an error tells of what is wrong: that an address is missing says the least."""
    if isinstance(error, CapabilityMissing):
        return 3
    if isinstance(error, Refused):
        missing = error.status in (404, 405, 501)
        return (not missing) + (bool(error.detail) and not missing)
    # That an address took too long says something of what may be there, but least of all faults.
    return 1 if isinstance(error, BackendUnavailable) else 2


def told_of(error: LltermError, address: str, path: str) -> LltermError:
    """The error, which says of whom what was asked."""
    error.cause = f"{address} was asked for {path}. {error.cause}"
    return error


async def _steps(wire: Wire, dialect: Dialect, ask: Ask) -> list[Step]:
    call = dialect.request(ask)
    try:
        return list(dialect.read((await wire.post(call.path, call.body)).data))
    except (Refused, BadAnswer) as error:
        raise told_of(error, wire.name, call.path)  # noqa: B904 (it is the same error)


def _prompt(dialect: Dialect) -> Prompt:
    """A prompt that any server takes; an id that any vocabulary has."""
    return (1,) if dialect.traits.ids_in and dialect.name != Llama.name else _TEXT


async def _most(wire: Wire, dialect: Dialect) -> int | None:
    """The most candidates that it lists; None where it listed all that were asked for."""
    tries = [MANY, *LIMITS]
    while tries:
        asked = tries.pop(0)
        try:
            steps = await _steps(wire, dialect, Ask([_prompt(dialect)], asked))
        except Refused as error:
            named = [int(one) for one in _NUMBER.findall(error.detail)]
            told = max((one for one in named if 1 < one < asked), default=None)
            if told is not None:
                tries = [told, *(one for one in LIMITS if one < told)]
            continue
        found = max((len(step.listed) for step in steps), default=0)
        if found < 2:
            continue
        # Those that are written alike are one entry: what was asked is the limit then.
        if found < asked // 2:
            return found
        return None if asked == MANY else asked
    return dialect.traits.top


async def _takes_lists(wire: Wire, dialect: Dialect) -> bool:
    if not dialect.traits.lists:
        return False
    try:
        steps = await _steps(wire, dialect, Ask([_prompt(dialect)] * 2, 2))
    except LltermError:
        return False
    return {step.line for step in steps} == {0, 1}


async def _scores(wire: Wire, dialect: Dialect) -> bool:
    """Whether it tells the probabilities of a given text."""
    if not isinstance(dialect, Reads):
        return False
    prompt = _prompt(dialect)
    call = dialect.reading(prompt if isinstance(prompt, str) else prompt * 3, 2)
    try:
        found: Sequence[object] = dialect.read_text((await wire.post(call.path, call.body)).data)
    except LltermError:
        return False
    return len(found) > 1
