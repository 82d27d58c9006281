"""The typed bodies: what they may say, and that anything else is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.config.schema import SAMPLING
from llterm.serve.api_errors import ApiError
from llterm.serve.body_reader import read_body
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.sampler_fields import OTHER_NAMES


def test_every_sampler_setting_is_a_field() -> None:
    fields = set(CompletionBody.__struct_fields__)
    assert {row.name for row in SAMPLING} <= fields
    assert set(OTHER_NAMES) <= fields


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=40)
@given(
    body=st.dictionaries(
        st.sampled_from(CompletionBody.__struct_fields__) | st.text(max_size=5), ANYTHING
    )
)
def test_a_body_is_read_or_refused_and_nothing_else(body: dict[str, Any]) -> None:
    with suppress(ApiError):
        read_body(json.dumps(body).encode("utf-8", "replace"), CompletionBody)
