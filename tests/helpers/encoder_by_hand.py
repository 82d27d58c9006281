"""A BERT by numpy, as its paper has it: what a text's tokens are in its last layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.helpers.tiny_models import HEAD, HEADS, LAYERS

Rows = NDArray[np.float64]


class EncoderByHand:
    """Reads the file's weights, and computes with them."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self._weights = {each.name: each.data.astype(np.float64) for each in reader.tensors}

    def rows(self, tokens: Sequence[int]) -> Rows:
        """A row for each token, shape (tokens, width)."""
        weights, size = self._weights, len(tokens)
        rows = weights["token_embd.weight"][list(tokens)] + weights["token_types.weight"][0]
        rows = self._norm(rows + weights["position_embd.weight"][:size], "token_embd_norm")
        for layer in range(LAYERS):
            block = f"blk.{layer}"
            seen = self._attended(rows, block)
            rows = self._norm(rows + self._times(seen, f"{block}.attn_output"),
                              f"{block}.attn_output_norm")  # fmt: skip
            inner = self._times(rows, f"{block}.ffn_up")
            inner *= 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
            rows = self._norm(rows + self._times(inner, f"{block}.ffn_down"),
                              f"{block}.layer_output_norm")  # fmt: skip
        return rows

    def _attended(self, rows: Rows, block: str) -> Rows:
        query, key, value = (
            self._times(rows, f"{block}.attn_{name}").reshape(-1, HEADS, HEAD) for name in "qkv"
        )
        scores = np.einsum("ihd,jhd->hij", query, key) / np.sqrt(HEAD)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen: Rows = np.einsum("hij,jhd->ihd", shares, value).reshape(len(rows), -1)
        return seen

    def _times(self, rows: Rows, name: str) -> Rows:
        result: Rows = rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _norm(self, rows: Rows, name: str) -> Rows:
        rows = rows - rows.mean(axis=-1, keepdims=True)
        rows = rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-12)
        return rows * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
