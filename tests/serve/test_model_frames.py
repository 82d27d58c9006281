"""What crosses the pipe to a model's process arrives as it was, or is refused."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.errors import LltermError
from llterm.serve.model_frames import (
    BrokenFrame,
    FromModel,
    OpenFailed,
    ToModel,
    error_words,
    frame,
    read_answers,
    read_questions,
    told_error,
)

SIZE = 4
EXAMPLES = 25
"""Of each kind."""
TO_MODEL, FROM_MODEL = get_args(ToModel), get_args(FromModel)
PLAIN: Mapping[object, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    str: st.text(),
    bytes: st.binary(),
    type(None): st.none(),
    Path: st.sampled_from([Path("/a/b.gguf"), Path("/a/\udcff.gguf")]),
    SamplerSettings: st.sampled_from(list(PRESETS.values())).flatmap(
        lambda preset: st.builds(
            lambda seed, banned: dataclasses.replace(preset, seed=seed, banned=banned),
            st.none() | st.integers(0, 2**63), st.lists(st.integers(0, 9)).map(tuple),
        )
    ),
    Sampling: st.builds(
        Sampling, st.sampled_from(list(PRESETS.values())),
        bias=st.lists(
            st.tuples(st.text(min_size=1), st.sampled_from([0.5, -math.inf]))
        ).map(tuple),
    ),
}  # fmt: skip


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that crosses."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, inner))
    if origin is np.ndarray:
        (dtype,) = get_args(inner[1])
        return st.builds(
            lambda shape, data: np.resize(np.frombuffer(data, dtype), shape),
            st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
            st.binary(min_size=8, max_size=8) if dtype is not np.bool_ else st.just(b"\x01\x00"),
        )
    if origin is tuple and inner[-1] is not Ellipsis:
        return st.tuples(*map(values, inner))
    if origin in (tuple, frozenset, list):
        return st.lists(values(inner[0]), max_size=3).map(origin)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
    hints = get_type_hints(kind)
    return st.builds(kind, **{name: values(hints[name]) for name in names_of(kind)})


def names_of(kind: Any) -> list[str]:
    """The fields of a struct, a dataclass or a named tuple."""
    if issubclass(kind, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(kind)]
    if issubclass(kind, tuple):
        return [*kind._fields]
    return [field.name for field in dataclasses.fields(kind)]


def plain(value: Any) -> object:
    """All that a value is, to be compared: NaN equals itself, arrays are by type and bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        return type(value), [plain(getattr(value, name)) for name in names_of(type(value))]
    if isinstance(value, Mapping):
        return [(plain(key), plain(each)) for key, each in value.items()]
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    if isinstance(value, tuple | list):
        return type(value), [plain(each) for each in value]
    return repr(value)


@pytest.mark.parametrize("kind", TO_MODEL)
def test_questions_arrive_as_they_were(kind: type[ToModel]) -> None:
    @settings(max_examples=EXAMPLES)
    @given(values(kind))
    def arrives(part: ToModel) -> None:
        (arrived,) = read_questions(frame([part])[SIZE:])
        assert plain(arrived) == plain(part)

    arrives()


@pytest.mark.parametrize("kind", FROM_MODEL)
def test_answers_arrive_as_they_were(kind: type[FromModel]) -> None:
    @settings(max_examples=EXAMPLES)
    @given(values(kind))
    def arrives(part: FromModel) -> None:
        (arrived,) = read_answers(frame([part])[SIZE:])
        assert plain(arrived) == plain(part)

    arrives()


@pytest.mark.parametrize("kind", FROM_MODEL)
def test_harmed_answers_are_read_or_refused(kind: type[FromModel]) -> None:
    """A process that a file took over may write what it likes."""

    @settings(max_examples=EXAMPLES)
    @given(values(kind), st.data())
    def is_read_or_refused(part: FromModel, data: st.DataObject) -> None:
        harmed = bytearray(frame([part])[SIZE:])
        for _ in range(data.draw(st.integers(1, 3))):
            harmed[data.draw(st.integers(0, len(harmed) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = read_answers(bytes(harmed))
        except BrokenFrame:
            return
        assert all(isinstance(each, FROM_MODEL) for each in read)

    is_read_or_refused()


@given(st.binary())
def test_bytes_of_no_kind_are_read_or_refused(data: bytes) -> None:
    for read in (read_questions, read_answers):
        with suppress(BrokenFrame):
            assert isinstance(read(data), list)


def subclasses(kind: type[LltermError]) -> typing.Iterator[type[LltermError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


@pytest.mark.parametrize(
    "kind", [k for k in subclasses(LltermError) if k.__module__ == "llterm.errors"]
)
def test_errors_arrive_as_their_kind(kind: type[LltermError]) -> None:
    error = kind("What \udcff", "Why.", "What to do.")
    (arrived,) = read_answers(frame([OpenFailed(*error_words(error))])[SIZE:])
    assert isinstance(arrived, OpenFailed)
    again = told_error(arrived)
    assert type(again) is kind
    assert (again.title, again.cause, again.hint) == ("What ?", "Why.", "What to do.")
