"""The tokens of a text that nobody has to be asked for."""

from __future__ import annotations

from llterm.core.sampling.sampler_chain import Chain, Chains
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Draft, Tail, Vocabulary


def tokens_of(vocabulary: Vocabulary, text: bytes | Draft) -> Tail:
    """Of a vocabulary in this process, or of a text whose tokens were told."""
    draft = text if isinstance(text, Draft) else Draft((text,))
    tokens = draft.known(vocabulary)
    assert tokens is not None
    return tokens


def chain_of(vocabulary: Vocabulary, sampling: Sampling) -> Chain:
    """The chain of a sampling whose words' tokens are known so."""
    chain = Chains(vocabulary).known(sampling)
    assert chain is not None
    return chain
