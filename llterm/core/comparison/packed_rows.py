"""Rows of logprobs in 16 bits each, as llama-perplexity's base files hold them.

Source: `log_softmax` and `nearest_int` in llama.cpp's tools/perplexity/perplexity.cpp. A row is
nv = 2·⌊(size+1)/2⌋ + 4 numbers of 16 bits: scale and lowest logprob as two 32-bit floats, then for
each token the multiple of the scale that its logprob is above the lowest; logits further than 16
below the best count as 16 below it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEEPEST = np.float32(16)
"""Nats below the best."""

Packed = NDArray[np.uint16]


def width(size: int) -> int:
    """16-bit numbers a row of `size` tokens takes."""
    return 2 * ((size + 1) // 2) + 4


def pack(logits: NDArray[np.float32]) -> Packed:
    """Packed rows, shape (n, width(size)), from finite logits of shape (n, size).

    Every step is in the precision of the source, so that the bytes are the same.
    """
    count, size = logits.shape
    best = logits.max(axis=1)
    least = np.maximum(logits.min(axis=1), best - DEEPEST)
    # expf rounds a result that it knows to more places: so does this.
    p = np.exp((logits - best[:, None]).astype(np.float64)).astype(np.float32)
    norm = np.log(p.sum(axis=1, dtype=np.float64)).astype(np.float32)
    scale = (best - least) / np.float32(65535)
    packed = np.zeros((count, width(size)), "<u2")
    heads = np.stack([scale, least - best - norm], axis=1).astype("<f4")
    packed[:, :4] = heads.view("<u2")
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    # A row whose logits hardly differ is flat: the source would divide by next to nothing.
    inverse = np.where(np.isfinite(inverse), inverse, np.float32(0))
    above = np.maximum(logits - least[:, None], np.float32(0))
    packed[:, 4 : 4 + size] = np.rint(inverse[:, None] * above).astype("<u2")
    return packed


def unpack(packed: Packed, size: int) -> NDArray[np.float32]:
    """Logprobs, shape (n, size). They add up to 1 only as far as 16 bits allow."""
    heads = np.ascontiguousarray(packed[:, :4]).view("<f4")
    rows: NDArray[np.float32] = np.multiply(packed[:, 4 : 4 + size], heads[:, :1], dtype=np.float32)
    rows += heads[:, 1:]
    return rows
