"""A constraint made ready for one vocabulary: which tokens may come next.

llguidance's matchers are for one thread at a time: what is kept here for all is used under a lock,
and a `ConstraintWalk` has one of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from llterm.constraints.spec import Constraint
from llterm.core.distribution import Mask
from llterm.core.tokens import Tail, Vocabulary, end_ids
from llterm.errors import UsageError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT_STATES = 512
"""A state is some 20 KB, and a bit for each token of the vocabulary."""
KEPT_CONSTRAINTS = 16
KEPT_TOKENIZERS = 4

_DEAD_END = "NoExtensionBias"
"""What llguidance calls it when the grammar goes on but no token does."""

K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """What was used last, up to a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        constrained = self._kept.get(key)
        if constrained is not None:
            self._kept.move_to_end(key)
        return constrained

    def keep(self, key: K, value: V) -> V:
        self._kept[key] = value
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value


_compiled: _Recent[tuple[Constraint, str], Compiled] = _Recent(KEPT_CONSTRAINTS)
_tokenizers: _Recent[str, LLTokenizer] = _Recent(KEPT_TOKENIZERS)
_making = threading.Lock()
"""Held while something is made: whoever asks for the same meanwhile gets it, made once."""


def compile(constraint: Constraint, vocabulary: Vocabulary) -> Compiled:
    """The constraint over this vocabulary, the same object when it is asked for again, from any
    thread.

    Raises UsageError for a constraint that cannot be read, or that no token can begin.
    """
    key = constraint, vocabulary.fingerprint
    with _making:
        return _compiled.get(key) or _compiled.keep(key, Compiled(constraint, vocabulary))


@dataclass(slots=True)
class _MatcherState:
    """Where the grammar stands after some tokens."""

    matcher: LLMatcher | None
    """None: nothing may follow."""
    accepting: bool
    """The text may be over here."""
    bits: bytes | None = None
    """Which ids may follow, a bit each, least significant first; None until asked for."""


_BROKEN = _MatcherState(None, accepting=False)
"""After tokens that the constraint does not allow."""


class Compiled:
    """Masks for what is written under a constraint. Tails begin where the constraint does."""

    def __init__(self, constraint: Constraint, vocabulary: Vocabulary) -> None:
        self.constraint = constraint
        self.texts = constraint.texts
        """All that may be written, where these are a few texts; else empty."""
        self._size = vocabulary.size
        self._ends = [*end_ids(vocabulary)]
        self._states: _Recent[Tail, _MatcherState] = _Recent(KEPT_STATES)
        self._lock = threading.Lock()
        self._root = self._start(vocabulary)
        if self.stuck(()):
            raise constraint.refused("Nothing that this model can write fits it.")

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow `tail`; none after an end or after what is not allowed."""
        with self._lock:
            return self._mask(self._state(tail))

    def ended(self, tail: Tail) -> bool:
        """Whether the text may be over after `tail`, with or without an end token there."""
        with self._lock:
            return self._state(tail).accepting

    def stuck(self, tail: Tail) -> bool:
        """Whether nothing may follow `tail` though the text may not be over."""
        return not self.ended(tail) and not self.mask(tail).allowed.any()

    def walk(self) -> ConstraintWalk:
        """A text that begins under the constraint."""
        with self._lock:
            return ConstraintWalk(self, self._copied(self._root))

    def _mask(self, state: _MatcherState) -> Mask:
        if state.bits is None:
            state.bits = self._bits(state)
        packed = np.frombuffer(state.bits, dtype=np.uint8)
        allowed = np.unpackbits(packed, count=self._size, bitorder="little").view(np.bool_)
        allowed[self._ends] = state.accepting and state.matcher is not None
        return Mask(allowed)

    def _start(self, vocabulary: Vocabulary) -> _MatcherState:
        from llguidance import LLMatcher, LLParserLimits

        try:
            grammar = self.constraint.grammar()
        except UnicodeEncodeError as error:
            raise self.constraint.refused(
                f"Character {error.start + 1} is half of a surrogate pair."
            ) from error
        limits = LLParserLimits(verbose_errors=False)
        matcher = LLMatcher(_tokenizer(vocabulary), grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise self.constraint.refused(self.constraint.explained(matcher.get_error()))
        return _MatcherState(matcher, matcher.is_accepting())

    def _state(self, tail: Tail) -> _MatcherState:
        """The state after `tail`, from that after the longest known part of it."""
        state = self._states.get(tail)
        if state is not None:
            return state
        if not tail:
            return self._root
        start, known = len(tail), None
        while start and known is None:
            start -= 1
            known = self._states.get(tail[:start])
        known = self._copied(known or self._root)
        return self._states.keep(tail, self._after(known, tail[start:]))

    def _copied(self, state: _MatcherState) -> _MatcherState:
        matcher = state.matcher.deep_copy() if state.matcher is not None else None
        return _MatcherState(matcher, state.accepting, state.bits)

    def _after(self, state: _MatcherState, ids: Tail) -> _MatcherState:
        """The state after these. That before is used up."""
        *body, last = ids
        matcher = state.matcher
        if matcher is None or any(id in self._ends for id in body):
            return _BROKEN
        if not self._consumed(matcher, body):
            return _BROKEN
        if last in self._ends:
            return _MatcherState(None, matcher.is_accepting())
        if not self._consumed(matcher, [last]):
            return _BROKEN
        return _MatcherState(matcher, matcher.is_accepting())

    def _consumed(self, matcher: LLMatcher, ids: list[int]) -> bool:
        taken = matcher.try_consume_tokens(ids)
        self._check(matcher)
        return taken == len(ids)

    def _bits(self, state: _MatcherState) -> bytes:
        if state.matcher is not None:
            bits = state.matcher.compute_bitmask()
            self._check(state.matcher)
            if not state.matcher.is_error():
                return bits
        return bytes(self._size // 8 + 1)

    def _check(self, matcher: LLMatcher) -> None:
        """Raise when llguidance gave up, which is not the same as nothing being allowed."""
        error = matcher.get_error()
        if error and not error.startswith(_DEAD_END):
            cause = self.constraint.explained(error)
            raise UsageError("The constraint is too complex", cause, "Make it simpler.")


class ConstraintWalk:
    """One text under a constraint, which goes on token by token and never back.

    For one thread at a time; several walks do not disturb each other.
    """

    def __init__(self, compiled: Compiled, state: _MatcherState) -> None:
        self.compiled = compiled
        self._state = state

    @property
    def ended(self) -> bool:
        """Whether the text may be over here."""
        return self._state.accepting

    def mask(self) -> Mask:
        """Which ids may follow here."""
        return self.compiled._mask(self._state)

    def take(self, id: int) -> None:
        """Go on by a token."""
        self._state = self.compiled._after(self._state, (id,))


class _Tokens:
    """A vocabulary as llguidance wants it, which outlives the model."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokens = [vocabulary.token(id) for id in range(vocabulary.size)]
        # An end of our own: a vocabulary may have none, or several.
        self.eos_token_id = vocabulary.size
        self.tokens = [*(token.data for token in tokens), b""]
        self.special_token_ids = [token.id for token in tokens if token.special]
        self.special_token_ids.append(self.eos_token_id)

    def __call__(self, data: bytes) -> Sequence[int]:
        """Asked for text that is forced only, and nothing is."""
        return []


def _tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    known = _tokenizers.get(vocabulary.fingerprint)
    if known is not None:
        return known
    made = LLTokenizer(TokenizerWrapper(_Tokens(vocabulary)))
    return _tokenizers.keep(vocabulary.fingerprint, made)
