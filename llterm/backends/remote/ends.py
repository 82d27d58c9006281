"""Tokens that end a text, by the names that they have in the models of today.

From the list by which llama.cpp finds them (`llama_vocab::impl::load`), and models' own cards.
"""

from __future__ import annotations

_NAMES = frozenset(
    """
    <|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <EOT> _<EOT>
    <|return|> <|call|> <|eom_id|> <|END_OF_TURN_TOKEN|> <|endofprompt|> </s> <turn|>
    """.split()  # noqa: SIM905 (a list of quoted words hides the words)
)


def is_end(name: bytes) -> bool:
    """Whether a token of this name ends a text."""
    return name[:1] in (b"<", b"_") and name.decode("utf-8", "replace") in _NAMES
