"""States of token paths that are kept whatever else is asked: in memory, and in files.

A state is what the sequence of the trunk holds after a path's tokens: it is derived from the path
and belongs to it, its model and the layout of its cells; nothing else is ever put in its place.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass

from llterm.core.json_text import json_text
from llterm.core.tokens import Tail
from llterm.errors import UsageError

_MAGIC = b"llterm state 1\n"
_SIZE = struct.Struct("<I")
_MOST_HEADER = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class PathState:
    """What a context holds after some tokens."""

    tokens: Tail
    data: bytes
    """As llama.cpp writes one sequence."""


def state_bytes(state: PathState, maker: str) -> bytes:
    """A state as a file has it. `maker`: what it can be read by again."""
    header = {
        "maker": maker,
        "tokens": list(state.tokens),
        "sha256": hashlib.sha256(state.data).hexdigest(),
    }
    head = json_text(header, compact=True).encode()
    return _MAGIC + _SIZE.pack(len(head)) + head + state.data


def read_state(data: bytes, maker: str, name: str) -> PathState:
    """What `state_bytes` gave. Raises UsageError for another model's, and for what is damaged: no
    byte of that gets to llama.cpp."""
    start = len(_MAGIC) + _SIZE.size
    if not data.startswith(_MAGIC) or len(data) < start:
        raise UsageError(f"{name} holds no state", "", "Model.save writes such files.")
    (size,) = _SIZE.unpack_from(data, len(_MAGIC))
    try:
        if size > _MOST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(data[start : start + size])
        tokens = tuple(map(int, header["tokens"]))
        state = data[start + size :]
        whole = header["sha256"] == hashlib.sha256(state).hexdigest()
        made_by = str(header["maker"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{name} is damaged", f"{error}.", "Prefill the path again.") from error
    if made_by != maker:
        raise UsageError(
            f"{name} is not of this model",
            f"It is a state of {made_by}; this is {maker}.",
            "States belong to a model's file, its cache's types and llama.cpp's version.",
        )
    if not whole or not tokens:
        raise UsageError(f"{name} is damaged", "Its bytes are not those written.", "Prefill again.")
    return PathState(tokens, state)
