"""What is in force over a story, in a few words: the same in the app's header and on stderr."""

from __future__ import annotations

from collections.abc import Mapping

from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import Sampling

FLAG = "flag"
"""Who says what was typed."""


def ban_count(bans: Bans) -> int:
    """How many bans there are, each phrase one."""
    return bans.newline + bans.capitals + bans.refusals + len(bans.phrases)


def memory_piece(prefix: str, tokens: int = 0) -> str:
    """The hidden prefix with its tokens, where those are known; empty where there is none."""
    return (f"memory {tokens:,}" if tokens else "memory") if prefix else ""


def ban_pieces(sampling: Sampling) -> list[str]:
    """Bans and biases, `2 bans` and `1 bias`; nothing of what there is none of."""
    bans, biases = ban_count(sampling.bans), len(sampling.bias)
    pieces = [f"{bans:,} ban{'s' if bans > 1 else ''}"] if bans else []
    return pieces + ([f"{biases:,} bias{'es' if biases > 1 else ''}"] if biases else [])


def in_force_line(pieces: Mapping[str, str], origins: Mapping[str, str]) -> str:
    """What is in force, by kind, and who says so; empty where nothing is."""
    told = [f"{piece} ({origins[kind]})" for kind, piece in pieces.items() if piece]
    return f"In force: {' · '.join(told)}" if told else ""
