"""The form in which one llterm asks another: what `llterm serve` writes, and how it is read.

Arrays are base64 of little-endian numbers, masks of bits, first bit first. A record is what JSON
holds of one thing; whoever reads one raises BadAnswer with the place of what cannot be.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.backends.remote.answer import AnswerValue, unreadable
from llterm.core.attention_weights import Attention
from llterm.core.display_text import field_text
from llterm.core.distribution import Bits, Distribution, Mask
from llterm.core.query import Cost, LogitRows, ScoreColumns
from llterm.core.tokens import Token
from llterm.errors import LltermError

FORM = 1
"""Its number: raised where an older llterm could not read what is written."""
MOST_QUERIES = 256
MOST_ROW_BYTES = 8 << 20
"""Whole rows told at once: in one answer to queries, in one part of rows."""
MOST_SCORED = 4_000_000
"""Candidates told with the scores of one text: tokens × candidates."""
MOST_ATTENTION = 1 << 20
"""Rows × columns of one question."""
_ROUNDING = 0.02
Record = Mapping[str, Any]
Number = TypeVar("Number", bound=np.generic)
_Kind = Literal["<i4", "<i8", "<f4", "<f8"]


def most_rows(size: int) -> int:
    """Whole rows of so many ids that are told at once."""
    return max(MOST_ROW_BYTES // (4 * size), 1)


def array_text(array: NDArray[Any], kind: _Kind) -> str:
    """An array's numbers, row by row."""
    return b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


def bits_text(bits: Bits) -> str:
    """Truths, eight a byte."""
    return b64encode(np.packbits(bits).tobytes()).decode()


def data_of(text: str) -> bytes | None:
    """What base64 stands for; None where it is no base64."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def bits_of(text: str, size: int) -> Bits | None:
    """`size` truths; None where it is no base64 of so many."""
    data = data_of(text)
    if data is None or len(data) != (size + 7) // 8:
        return None
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=size)
    return bits.astype(np.bool_)


def cost_record(cost: Cost) -> Sequence[int]:
    """Tokens, tokens of the anchor among them, decodes."""
    return [cost.tokens, cost.prompt_tokens, cost.decodes]


def cost_of(value: AnswerValue) -> Cost:
    return Cost(value[0].whole(), value[1].whole(), value[2].whole())


def distribution_record(distribution: Distribution) -> Record:
    """`full` holds every id's logprob where the query asked for it."""
    full = distribution.full
    return {
        "ids": array_text(distribution.ids, "<i4"),
        "logprobs": array_text(distribution.logprobs, "<f4"),
        "rest": distribution.rest,
        "permitted": distribution.permitted,
        "entropy": list(distribution.entropy),
        "exact": distribution.exact,
        "certain": distribution.certain,
        "log_z": distribution.log_z,
        "varentropy": distribution.varentropy,
        "full": None if full is None else array_text(full, "<f4"),
    }


def distribution_of(value: AnswerValue, size: int) -> Distribution:
    """Of a vocabulary of `size` tokens."""
    ids = _numbers(value["ids"], "<i4", np.int32)
    full, log_z, varentropy = value.get("full"), value.get("log_z"), value.get("varentropy")
    entropy = value["entropy"]
    return Distribution(
        ids=_checked_ids(value["ids"], ids, size),
        logprobs=_checked_logprobs(value["logprobs"], len(ids)),
        rest=value["rest"].number(),
        permitted=value["permitted"].number(),
        entropy=(entropy[0].number(), entropy[1].number()),
        exact=value["exact"].truth(),
        certain=value["certain"].truth(),
        full=None if full is None else _checked_logprobs(full, size),
        log_z=None if log_z is None else log_z.number(),
        varentropy=None if varentropy is None else varentropy.number(),
    )


def error_record(error: LltermError) -> Record:
    """An error that is one query's alone."""
    return {"title": error.title, "cause": error.cause, "hint": error.hint}


def error_of(value: AnswerValue) -> LltermError:
    words = (field_text(value[name].text()) for name in ("title", "cause", "hint"))
    return LltermError(*words)


def columns_record(columns: ScoreColumns) -> Record:
    """Scores of successive tokens; what is listed row by row."""
    return {
        "first": columns.first,
        "listed_each": columns.listed.shape[1],
        "ids": array_text(columns.ids, "<i4"),
        "logprobs": array_text(columns.logprobs, "<f8"),
        "ranks": array_text(columns.ranks, "<i8"),
        "listed": array_text(columns.listed, "<i4"),
        "listed_logprobs": array_text(columns.listed_logprobs, "<f4"),
        "rests": array_text(columns.rests, "<f8"),
        "entropies": array_text(columns.entropies, "<f8"),
        "varentropies": array_text(columns.varentropies, "<f8"),
        "log_zs": array_text(columns.log_zs, "<f8"),
        "cost": cost_record(columns.cost),
    }


def columns_of(value: AnswerValue, size: int) -> ScoreColumns:
    ids = _checked_ids(value["ids"], _numbers(value["ids"], "<i4", np.int32), size)
    count, each = len(ids), value["listed_each"].whole(most=size)
    listed = _numbers(value["listed"], "<i4", np.int32, count * each)
    below = _checked_logprobs(value["listed_logprobs"], count * each)

    def reals(name: str) -> NDArray[np.float64]:
        numbers = _numbers(value[name], "<f8", np.float64, count)
        if not np.isfinite(numbers).all():
            raise unreadable(f"{value[name].name} has what is no number")
        return numbers

    return ScoreColumns(
        first=value["first"].whole(1),
        ids=ids,
        logprobs=reals("logprobs"),
        ranks=_numbers(value["ranks"], "<i8", np.int64, count),
        listed=_checked_ids(value["listed"], listed, size).reshape(count, each),
        listed_logprobs=below.reshape(count, each),
        rests=reals("rests"),
        entropies=reals("entropies"),
        varentropies=reals("varentropies"),
        log_zs=reals("log_zs"),
        cost=cost_of(value["cost"]),
    )


def rows_record(rows: LogitRows) -> Record:
    """Whole rows of logits."""
    return {
        "first": rows.first,
        "logits": array_text(rows.logits, "<f4"),
        "cost": cost_record(rows.cost),
    }


def rows_of(value: AnswerValue, size: int) -> LogitRows:
    logits = _numbers(value["logits"], "<f4", np.float32)
    if len(logits) % size or not np.isfinite(logits).all():
        raise unreadable(f"{value['logits'].name} is no whole rows of numbers")
    return LogitRows(value["first"].whole(1), logits.reshape(-1, size), cost_of(value["cost"]))


def attention_record(attention: Attention) -> Record:
    """Weights layer by layer, row by row."""
    return {
        "layers": list(attention.layers),
        "rows": attention.weights.shape[1],
        "weights": array_text(attention.weights, "<f4"),
        "evaluated": attention.evaluated,
    }


def attention_of(value: AnswerValue) -> Attention:
    layers = tuple(layer.whole() for layer in value["layers"].items())
    rows = value["rows"].whole(1)
    weights = _numbers(value["weights"], "<f4", np.float32)
    if not layers or len(weights) % (len(layers) * rows) or not np.isfinite(weights).all():
        raise unreadable(f"{value['weights'].name} is no {len(layers):,} layers of {rows:,} rows")
    shaped = weights.reshape(len(layers), rows, -1)
    return Attention(layers, shaped, value["evaluated"].whole())


def vocabulary_record(tokens: Sequence[Token]) -> Record:
    """Every token: all bytes in a row, how many each has, and what each is."""
    return {
        "size": len(tokens),
        "bytes": b64encode(b"".join(token.data for token in tokens)).decode(),
        "lengths": array_text(np.array([len(token.data) for token in tokens]), "<i4"),
        "special": bits_text(np.array([token.special for token in tokens], np.bool_)),
        "end": bits_text(np.array([token.end for token in tokens], np.bool_)),
    }


def vocabulary_of(value: AnswerValue) -> Sequence[Token]:
    size = value["size"].whole(1)
    data = _data(value["bytes"])
    lengths = _numbers(value["lengths"], "<i4", np.int32, size)
    if (lengths < 0).any() or int(lengths.sum()) != len(data):
        raise unreadable(f"{value['lengths'].name} are not those of {len(data):,} bytes")
    ends = np.cumsum(lengths).tolist()
    special, end = _bits(value["special"], size), _bits(value["end"], size)
    return [
        Token(id, data[stop - length : stop], bool(special[id]), bool(end[id]))
        for id, (stop, length) in enumerate(zip(ends, lengths.tolist(), strict=True))
    ]


def mask_text(mask: Mask) -> str:
    """Which ids may stand."""
    return bits_text(mask.allowed)


def _data(value: AnswerValue) -> bytes:
    data = data_of(value.text())
    if data is None:
        raise unreadable(f"{value.name} is no base64")
    return data


def _bits(value: AnswerValue, size: int) -> Bits:
    bits = bits_of(value.text(), size)
    if bits is None:
        raise unreadable(f"{value.name} is no {size:,} bits in base64")
    return bits


def _numbers(
    value: AnswerValue, kind: _Kind, native: type[Number], count: int | None = None
) -> NDArray[Number]:
    data = _data(value)
    each = np.dtype(kind).itemsize
    if len(data) % each or (count is not None and len(data) != count * each):
        wanted = "whole" if count is None else f"{count:,}"
        raise unreadable(f"{value.name} is no {wanted} numbers of {each} bytes")
    return np.frombuffer(data, kind).astype(native)


def _checked_ids(value: AnswerValue, ids: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        raise unreadable(f"{value.name} has an id that is not below {size:,}")
    return ids


def _checked_logprobs(value: AnswerValue, count: int) -> NDArray[np.float32]:
    logprobs = _numbers(value, "<f4", np.float32, count)
    if not (logprobs <= _ROUNDING).all():
        raise unreadable(f"{value.name} has a number that is no logprob")
    return logprobs
