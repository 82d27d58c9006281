"""What one llterm tells another arrives as it was, or is refused by its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from llterm.backends.remote.answer import AnswerValue, parse
from llterm.backends.remote.llterm_form import (
    attention_of,
    attention_record,
    bits_of,
    bits_text,
    columns_of,
    columns_record,
    distribution_of,
    distribution_record,
    rows_of,
    rows_record,
    vocabulary_of,
    vocabulary_record,
)
from llterm.backends.remote.transport import BadAnswer
from llterm.core.attention_weights import Attention
from llterm.core.distribution import Distribution
from llterm.core.json_text import json_text
from llterm.core.query import Cost, LogitRows, ScoreColumns
from llterm.core.tokens import Token

SIZE = 40
REALS = st.floats(-1e6, 1e6)
LOGPROBS = st.floats(-1e4, 0, width=32)
COSTS = st.builds(Cost, st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 99))


def told(record: Any) -> AnswerValue:
    """As it arrives."""
    return AnswerValue(parse(json_text(record, compact=True).encode()))


def ids(shape: Any) -> st.SearchStrategy[Any]:
    return arrays.arrays(np.int32, shape, elements=st.integers(0, SIZE - 1))


def floats(shape: Any, kind: Any = np.float64) -> st.SearchStrategy[Any]:
    return arrays.arrays(kind, shape, elements=LOGPROBS)


@st.composite
def distributions(draw: st.DrawFn) -> Distribution:
    count = draw(st.integers(0, 9))
    return Distribution(
        ids=draw(ids(count)),
        logprobs=draw(floats(count, np.float32)),
        rest=draw(REALS),
        permitted=draw(REALS),
        entropy=(draw(REALS), draw(REALS)),
        exact=draw(st.booleans()),
        certain=draw(st.booleans()),
        full=draw(st.none() | floats(SIZE, np.float32)),
        log_z=draw(st.none() | REALS),
        varentropy=draw(st.none() | REALS),
    )


@st.composite
def columns(draw: st.DrawFn) -> ScoreColumns:
    count, each = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    return ScoreColumns(
        first=draw(st.integers(1, 99)),
        ids=draw(ids(count)),
        logprobs=draw(floats(count)),
        ranks=draw(arrays.arrays(np.int64, count, elements=st.integers(1, 1 << 40))),
        listed=draw(ids((count, each))),
        listed_logprobs=draw(floats((count, each), np.float32)),
        rests=draw(floats(count)),
        entropies=draw(floats(count)),
        varentropies=draw(floats(count)),
        log_zs=draw(floats(count)),
        cost=draw(COSTS),
    )


@st.composite
def rows(draw: st.DrawFn) -> LogitRows:
    shape = draw(st.integers(0, 3)), SIZE
    return LogitRows(draw(st.integers(1, 99)), draw(floats(shape, np.float32)), draw(COSTS))


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    layers = tuple(sorted(draw(st.sets(st.integers(0, 99), min_size=1, max_size=3))))
    shape = len(layers), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Attention(layers, draw(floats(shape, np.float32)), draw(st.integers(0, 9)))


@st.composite
def vocabularies(draw: st.DrawFn) -> list[Token]:
    entries = draw(
        st.lists(st.tuples(st.binary(max_size=5), st.booleans(), st.booleans()), min_size=1)
    )
    return [Token(id, *entry) for id, entry in enumerate(entries)]


KINDS: list[tuple[Any, Callable[[Any], Any], Callable[[AnswerValue], Any]]] = [
    (distributions(), distribution_record, lambda value: distribution_of(value, SIZE)),
    (columns(), columns_record, lambda value: columns_of(value, SIZE)),
    (rows(), rows_record, lambda value: rows_of(value, SIZE)),
    (attentions(), attention_record, attention_of),
    (vocabularies(), vocabulary_record, vocabulary_of),
]
NAMES = ["distribution", "columns", "rows", "attention", "vocabulary"]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    if isinstance(one, Distribution | ScoreColumns | LogitRows | Attention):
        names = [field.name for field in fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


@pytest.mark.parametrize(("values", "record", "read"), KINDS, ids=NAMES)
@given(data=st.data())
@settings(max_examples=40)
def test_it_arrives_as_it_was(values: Any, record: Any, read: Any, data: st.DataObject) -> None:
    sent = data.draw(values)
    assert same(sent, read(told(record(sent))))


@pytest.mark.parametrize(("values", "record", "read"), KINDS, ids=NAMES)
@given(data=st.data())
@settings(max_examples=60)
def test_what_was_harmed_is_refused_or_read_as_something_possible(
    values: Any, record: Any, read: Any, data: st.DataObject
) -> None:
    """One entry is another one, or missing: never is that a fault of llterm's own."""
    harmed = json.loads(json_text(record(data.draw(values))))
    name = data.draw(st.sampled_from(sorted(harmed)))
    worse: st.SearchStrategy[Any] = st.sampled_from(
        [None, True, -1, 3, 1e9, "", "AAAA", "!", [], [[]], {}]
    )
    if data.draw(st.booleans()):
        harmed[name] = data.draw(worse)
    else:
        del harmed[name]
    with suppress(BadAnswer):
        read(told(harmed))


@pytest.mark.parametrize("name", ["logprobs", "rests", "entropies", "varentropies", "log_zs"])
@given(data=st.data())
@settings(max_examples=10)
def test_what_is_no_number_is_refused(name: str, data: st.DataObject) -> None:
    sent = data.draw(columns().filter(len))
    numbers = getattr(sent, name)
    numbers[-1] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(BadAnswer, match=name):
        columns_of(told(columns_record(sent)), SIZE)


@given(arrays.arrays(np.bool_, st.integers(1, 70)))
def test_masks_arrive_as_they_were(bits: Any) -> None:
    read = bits_of(bits_text(bits), len(bits))
    assert read is not None
    assert np.array_equal(read, bits)
    assert bits_of(bits_text(bits), len(bits) + 8) is None
