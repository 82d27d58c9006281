"""Attention weights, and what they come to over the layers of a model. Pure: numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Who attends to whom at the end of a text."""

    layers: tuple[int, ...]
    """Numbers of the layers that have attention, ascending; a hybrid model lacks it in some."""
    weights: Weights
    """Mean over a layer's heads, shape (layers, rows, columns): how the last `rows` tokens of the
    text attend to its last `columns`. A row's sum is 1 less what goes to tokens before these."""
    evaluated: int
    """Tokens that were evaluated for it."""


def last_row(attention: Attention, layer: int | None) -> Shares:
    """What the text's last token attends to, in one layer or (None) in all layers' mean.

    Shape (columns,); `layer` counts among all layers of the model. Raises KeyError where that one
    has no attention.
    """
    rows = attention.weights[:, -1].astype(np.float64)
    if layer is None:
        mean: Shares = rows.mean(axis=0)
        return mean
    if layer not in attention.layers:
        raise KeyError(layer)
    chosen: Shares = rows[attention.layers.index(layer)]
    return chosen


def rollout(attention: Attention) -> Shares:
    """What reaches the last token along all ways through the layers, shape (columns,).

    With A_l the mean over a layer's heads, Ã_l = ½·A_l + ½·I (half for the residual connection),
    the last row of Ã_L · … · Ã_1. Source: Abnar and Zuidema, Quantifying Attention Flow in
    Transformers (2020), §3. Rows and columns must be the same tokens; as no token attends to a
    later one, the product of these blocks is the block of the product, and what is missing to 1
    stands before them.
    """
    layers, rows, columns = attention.weights.shape
    if rows != columns:
        raise ValueError("rollout needs the attention among the same tokens")
    reached: Shares = np.zeros(columns)
    reached[-1] = 1.0
    for layer in reversed(range(layers)):
        reached = 0.5 * reached + 0.5 * (reached @ attention.weights[layer])
    return reached
