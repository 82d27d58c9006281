"""A small random model with a whole vocabulary, and the plain search it is compared with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from llterm.backends.scripted import listed
from llterm.core.bans import Bans
from llterm.core.distribution import Logprobs
from llterm.core.query import Capabilities, Cost, Fact, Failed, Query
from llterm.core.stops import Stopper
from llterm.core.tokens import EncodesHere, Tail, Token, text_bytes
from llterm.core.weave_settings import WeaveSettings

PIECES = (b"a", b"b", b" a", b" b", b" ab", b"ab", b".", b'."', b" ", b"\n", "é".encode()[:1],
          "é".encode()[1:], b" be", b" bea", b"ea", b"e", b"!")  # fmt: skip


class RandomModel(EncodesHere):
    """Every distribution is drawn from a seed and the tokens before it."""

    name = "random"
    fingerprint = "random"
    prefix: Tail = (0,)

    def __init__(self, seed: int, sharpness: float = 2.0) -> None:
        self._seed = seed
        self._sharpness = sharpness
        self._tokens = [Token(0, b"<end>", special=True, end=True)]
        self._tokens += [Token(id, data) for id, data in enumerate(PIECES, 1)]
        self.size = len(self._tokens)
        self.vocabulary = self
        self.capabilities = Capabilities(full_vocabulary=True, batch=7)
        self.asked: list[Tail] = []

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> Tail:
        ids: list[int] = []
        while data:
            best = max((t for t in self._tokens[1:] if data.startswith(t.data)),
                       key=lambda token: len(token.data))  # fmt: skip
            ids.append(best.id)
            data = data[len(best.data) :]
        return tuple(ids)

    def logprobs(self, tokens: Tail) -> Logprobs:
        digest = hashlib.sha256(repr((self._seed, tokens)).encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        logits = random.normal(0.0, self._sharpness, self.size)
        found: Logprobs = (logits - np.log(np.exp(logits).sum())).astype(np.float32)
        return found

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in reversed(queries):
            self.asked.append(query.path.tail)
            found = listed(self.logprobs(query.path.tokens), query.keep, query.mask)
            yield Fact(query.path, found, Cost(tokens=1))


def plain_search(
    model: RandomModel,
    anchor: Tail,
    rules: WeaveSettings,
    residue: bytes = b"",
    bans: Bans | None = None,
) -> list[tuple[float, Tail]]:
    """Every suggestion under the rules, by decoding every prefix alone; the best N of them."""
    stopper = Stopper(rules)
    finished: list[tuple[float, Tail]] = []

    def banned(id: int, left: bytes, written: bytes) -> bool:
        token = model.token(id)
        added = b"" if token.special else token.data[len(left) :]
        return bans is not None and bans.broken_by(b"", written, added) is not None

    def walk(tail: Tail, logprob: float, depth: int, left: bytes) -> None:
        logprobs = [float(one) for one in model.logprobs(anchor + tail)]
        ids = [id for id in range(model.size) if not left or fits(model.token(id), left)]
        if left:
            total = math.log(sum(math.exp(logprobs[id]) for id in ids)) if ids else 0.0
            logprobs = [one - total for one in logprobs]
        written = text_bytes(model, tail)[len(residue) :]
        ids = [id for id in ids if not banned(id, left, written)]
        ids.sort(key=lambda id: (-logprobs[id], id))
        least = rules.cutoff * rules.multiplier**depth
        kept = [id for rank, id in enumerate(ids) if not rank or math.exp(logprobs[id]) >= least]
        for id in kept[: rules.split_limit or None]:
            token, path = model.token(id), (*tail, id)
            score, deep = logprob + logprobs[id], depth + (not left)
            rest = left[len(token.data) :]
            text = text_bytes(model, path)[len(residue) :].decode("utf-8", "ignore")
            ended = not rest and stopper.ended(text)
            if token.end or ended or deep >= rules.depth:
                finished.append((score, path))
            else:
                walk(path, score, deep, rest)

    walk((), 0.0, 0, residue)
    return sorted(finished, key=lambda item: (-item[0], item[1]))[: rules.goal]


def fits(token: Token, residue: bytes) -> bool:
    """Whether a token may re-encode the residue."""
    data = token.data
    return not token.special and (data.startswith(residue) or residue.startswith(data))
