"""Every sampler setting as a field of a body: names, ranges and words are the configuration's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from llterm.config.sampling_values import changed
from llterm.config.schema import SAMPLING
from llterm.config.setting import Setting
from llterm.core.sampling.sampler_settings import Sampling
from llterm.serve.api_errors import bad_field, check_neutral
from llterm.serve.request_rules import RequestRules
from llterm.serve.serve_limits import MOST_BIASED, STOP_BYTES
from llterm.serve.served_models import ServedModel

Kind = TypeVar("Kind", bound=msgspec.Struct)
_Biased = Annotated[str, Meta(max_length=STOP_BYTES)]
_Bias = Annotated[float, Meta(ge=-1e9, le=1e9)]
_BiasedId = Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)]
LogitBias = (
    Annotated[dict[_Biased, _Bias | bool], Meta(max_length=MOST_BIASED)]
    | Annotated[list[Annotated[list[_BiasedId | _Biased | _Bias | bool],
                               Meta(min_length=2, max_length=2)]], Meta(max_length=MOST_BIASED)]
)  # fmt: skip
"""By token id or text; or pairs of the two. `false` bans."""

SEED = "seed"
OTHER_NAMES: Mapping[str, str] = {
    "repetition_penalty": "repeat_penalty",
    "repeat_last_n": "penalty_last_n",
    "repetition_penalty_range": "penalty_last_n",
    "typical": "typical_p",
    "samplers": "order",
    "mirostat_mode": "mirostat",
}
"""What other servers call a setting."""
NEUTRAL_SAMPLERS: Mapping[str, Sequence[Any]] = {
    "tfs_z": (1,),
    "tfs": (1,),
    "banned_tokens": ([], ""),
}
"""Samplers of other servers that there are none of here: only what turns them off is taken."""
_OF_OTHERS = ("penalize_nl", *NEUTRAL_SAMPLERS)
"""`penalize_nl`, which clients still send, is gone from llama.cpp: passed over there and here."""
_BREAKERS = "dry_sequence_breakers"
_STAGES = {"typ_p": "typical_p"}
_SEEDS = 1 << 53
"""Seeds are below this: JSON's readers keep them exactly."""
_ROWS: Mapping[str, Setting] = {row.name: row for row in SAMPLING if row.name != SEED}
SAMPLER_NAMES: Sequence[str] = (*_ROWS, *OTHER_NAMES, *_OF_OTHERS)
"""All fields that `with_sampler_fields` adds."""


def with_sampler_fields(kind: type[Kind]) -> type[Kind]:
    """The body with a field for every setting, under each of its names."""
    names = dict(_ROWS) | {other: _ROWS[name] for other, name in OTHER_NAMES.items()}
    fields: list[tuple[str, Any, None]] = [
        *((name, _annotated(row), None) for name, row in names.items()),
        *((name, Any, None) for name in _OF_OTHERS),
    ]
    made = msgspec.defstruct(
        kind.__name__, fields, bases=(kind,), kw_only=True, forbid_unknown_fields=True
    )
    made.__doc__ = kind.__doc__
    return cast("type[Kind]", made)


def _annotated(row: Setting) -> Any:
    kinds: dict[str, Any] = {
        "whole number": int, "number": float, "yes or no": bool,
        "text": Annotated[str, Meta(max_length=STOP_BYTES)],
        "list of texts": Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=STOP_BYTES)]], Meta(max_length=100)
        ],
    }  # fmt: skip
    kind = kinds[row.kind]
    if row.name == _BREAKERS:
        kind |= Annotated[str, Meta(max_length=STOP_BYTES)]
    if row.low is not None and row.high is not None:
        low: dict[str, Any] = {"gt" if row.above else "ge": row.low}
        kind = Annotated[kind, Meta(**low, le=row.high)]
    return Annotated[kind | None, Meta(description=row.help)]


async def sampling_of(body: Any, rules: RequestRules, model: ServedModel) -> Sampling:
    """How a body with these fields, `seed` and `logit_bias` wants tokens drawn.

    What it leaves out is the rules'. Raises ApiError naming the field.
    """
    check_neutral(body, NEUTRAL_SAMPLERS)
    sampling = changed(Sampling(), "preset", rules.preset, rules.presets)
    names = [*((name, name) for name in _ROWS), *OTHER_NAMES.items()]
    for name, meant in names:
        value = getattr(body, name)
        if value is None:
            continue
        if meant == "order":
            value = [_STAGES.get(stage, stage) for stage in value]
        if isinstance(value, str) and meant == _BREAKERS:
            value = _listed(value, name)
        try:
            sampling = changed(sampling, meant, _ROWS[meant].check(value), rules.presets)
        except ValueError as error:
            raise bad_field(name, f"{name} cannot be so", f"{error}.") from None
    settings = replace(sampling.settings, seed=_seed(body.seed, rules.seed))
    biases = await _biases(body.logit_bias, model)
    return replace(sampling, settings=settings, bias=(*sampling.bias, *biases))


def _listed(text: str, name: str) -> list[str]:
    """Texts that text-generation-webui's clients send as JSON in a text. Raises ApiError."""
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        raise bad_field(name, f"{name} is no list of texts") from None


def _seed(seed: int | None, usual: int | None) -> int | None:
    """None draws afresh, and so does llama.cpp's -1. `usual`: where none is given."""
    if seed is None:
        return usual
    return None if seed == -1 else seed % _SEEDS


async def _biases(given: Any, model: ServedModel) -> list[tuple[str, float]]:
    """By token; a text's is on each of the tokens that it is made of, as in llama.cpp."""
    pairs = given.items() if isinstance(given, dict) else given or ()
    biases: list[tuple[str, float]] = []
    for said, amount in pairs:
        where = f"logit_bias.{said}"[:100]
        if amount is True or isinstance(amount, str) or isinstance(said, bool | float):
            raise bad_field(where, "A bias is a token and a number, or false")
        bias = -math.inf if amount is False else float(amount)
        if isinstance(said, int) or said.lstrip("-").isdecimal():
            if len(str(said)) > 18:
                raise bad_field(where, "There is no such token")
            ids = model.check_ids([int(said)], "logit_bias")
        else:
            ids = await model.vocabulary.tokenize(said.encode())
        biases += [(f"#{id}", bias) for id in ids]
    return biases
