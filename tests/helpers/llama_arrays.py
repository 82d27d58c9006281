"""Candidates as llama.cpp's own samplers take them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
Entries = NDArray[Any]
Sampler = Any


class Array:
    """Candidates in llama.cpp's hands."""

    def __init__(self, llama: Any, found: Entries) -> None:
        self._llama, self._found = llama, found.copy()
        data = self._found.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        self._array = llama.llama_token_data_array(data, len(found), -1, False)

    def apply(self, sampler: Sampler, context: Sequence[int] = ()) -> Array:
        for token in context:
            self._llama.llama_sampler_accept(sampler, token)
        self._llama.llama_sampler_apply(sampler, ctypes.byref(self._array))
        return self

    @property
    def selected(self) -> int:
        return int(self._array.data[self._array.selected].id)

    def p(self) -> dict[int, float]:
        """Probability of every candidate left; a logit of minus infinity is one dropped."""
        raw = ctypes.string_at(self._array.data, self._array.size * ENTRY.itemsize)
        left = np.frombuffer(raw, ENTRY)
        left = left[left["logit"] > -np.inf]
        logits = left["logit"].astype(np.float64)
        p = np.exp(logits - logits.max())
        return dict(zip(left["id"].tolist(), (p / p.sum()).tolist(), strict=True))
