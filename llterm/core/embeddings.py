"""Embeddings: what texts are to a model, as unit vectors. Pure: numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.errors import ModelError

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Of several texts."""

    vectors: Vectors
    """Unit vectors, shape (texts, width)."""
    tokens: tuple[int, ...]
    """Tokens that were evaluated of each text."""


def unit_vectors(rows: NDArray[np.floating], model: str) -> Vectors:
    """The rows, each of length 1. Raises ModelError naming the model where one is no vector."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ModelError(
            f"{model} gives no numbers",
            "An embedding is nothing, or no number at all.",
            "The file may be damaged or badly converted: look for another one of this model.",
        )
    units: Vectors = (rows / lengths).astype(np.float32)
    return units
