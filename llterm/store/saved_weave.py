"""Keeps a weave in the loom, so that its suggestions are there again after a restart.

One blob a weave: the facts and what they depend on. The tree is derived again from them.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from llterm.core.distribution import Distribution
from llterm.core.json_text import json_text
from llterm.core.prompt import Prompt, PromptDraft
from llterm.core.query import Cost, Source, members_of
from llterm.core.tokens import LearnsTokens, Tail, Token, Vocabulary
from llterm.core.weave_state import Weave
from llterm.core.windows import SeenStory

log = logging.getLogger(__name__)

VERSION = 2
MOST_CANDIDATES = 200_000
"""A larger weave is not kept (it would be some 2 MB, and take a blink of an eye); weaving it again
gives the same."""


@dataclass(frozen=True, slots=True)
class SavedWeave:
    """A weave as a loom keeps it."""

    tokens: Tail
    residue: bytes
    before: str
    model: str
    fingerprint: str
    grown: tuple[tuple[Tail, int], ...]
    facts: Mapping[Tail, Distribution]
    cost: Cost
    seconds: float
    names: Sequence[Token] = ()
    """Its tokens, where a vocabulary may have to be told them again."""
    carried: bool = False
    """As `Weave.carried`."""
    canonical: Sequence[Tail] = ()
    """As `Weave.canonical`."""

    def prompt(self, draft: PromptDraft, vocabulary: Vocabulary) -> Prompt | None:
        """The prompt in the tokens of then, where it is the same one now; None where it is not.

        A server is not asked for its tokens: it gave the same text the same ones then.
        """
        if self.residue != draft.residue:
            return None
        if (known := draft.known(vocabulary)) is not None:
            return known if known.tokens == self.tokens else None
        begun = draft.head.text(vocabulary)
        edges = _edges(self.tokens, vocabulary)
        text = begun + draft.story.text(vocabulary)
        if text_of(self.tokens, vocabulary) != text or len(begun) not in edges:
            return None
        head = len(edges) - 1 - edges[::-1].index(len(begun))
        hidden = max(head - len(vocabulary.prefix), 0)
        sight = SeenStory(story=len(self.tokens) - head, hidden=hidden, chat=draft.chat)
        return Prompt(self.tokens, head, self.residue, draft.before, sight)

    def of(self, source: Source) -> bool:
        """Whether this very model made it: others may have the same vocabulary."""
        return (self.model, self.fingerprint) == (name_of(source), source.vocabulary.fingerprint)


def pack(weave: Weave, source: Source, cost: Cost, seconds: float) -> bytes:
    """The blob of a weave; empty when it is too large to keep."""
    facts = weave.facts
    if not 0 < sum(len(one.ids) for one in facts.values()) <= MOST_CANDIDATES:
        return b""
    header = {
        "version": VERSION,
        "tokens": weave.anchor.tokens,
        "residue": weave.residue.hex(),
        "before": weave.before,
        "model": name_of(source),
        "fingerprint": source.vocabulary.fingerprint,
        "grown": weave.grown,
        "carried": weave.carried,
        "rules": asdict(weave.rules),
        "cost": asdict(cost),
        "seconds": seconds,
        "names": names_of(_ids(weave), source.vocabulary),
    }
    out = io.BytesIO()
    np.savez_compressed(
        out,
        header=np.frombuffer(json_text(header, bytes_kept=True).encode(), dtype=np.uint8),
        tail_sizes=np.array([len(tail) for tail in facts], dtype=np.int32),
        tails=np.array([id for tail in facts for id in tail], dtype=np.int32),
        canonical=np.array([tail in weave.canonical for tail in facts]),
        **arrays_of(list(facts.values())),
    )
    return out.getvalue()


def unpack(blob: bytes) -> SavedWeave | None:
    """The kept weave; None where there is none, of another version, or broken (it is a cache)."""
    if not blob:
        return None
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["version"] != VERSION:
                return None
            tails = np.split(arrays["tails"], np.cumsum(arrays["tail_sizes"])[:-1])
            found = distributions(arrays)
            facts = {tuple(tail.tolist()): one for tail, one in zip(tails, found, strict=True)}
            read = arrays["canonical"].tolist() if "canonical" in arrays else [False] * len(facts)
            canonical = tuple(tail for tail, is_read in zip(facts, read, strict=True) if is_read)
        return SavedWeave(
            tokens=tuple(header["tokens"]),
            residue=bytes.fromhex(header["residue"]),
            before=header["before"],
            model=header["model"],
            fingerprint=header["fingerprint"],
            grown=tuple((tuple(tail), depth) for tail, depth in header["grown"]),
            facts=facts,
            cost=Cost(**header["cost"]),
            seconds=header["seconds"],
            names=read_names(header.get("names", ())),
            carried=bool(header.get("carried", False)),
            canonical=canonical,
        )
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, OSError, EOFError) as broken:
        log.warning("a kept weave could not be read: %s", broken)
        return None


def arrays_of(facts: Sequence[Distribution]) -> dict[str, Any]:
    """Distributions as arrays, less what was asked for beside their candidates."""
    return {
        "sizes": np.array([len(fact.ids) for fact in facts], dtype=np.int32),
        "ids": np.concatenate([fact.ids for fact in facts]),
        "logprobs": np.concatenate([fact.logprobs for fact in facts]),
        "masses": np.array(
            [(fact.rest, fact.permitted, *fact.entropy, fact.exact) for fact in facts]
        ),
    }


def distributions(arrays: Mapping[str, Any]) -> Iterator[Distribution]:
    """What `arrays_of` was given. Raises ValueError or KeyError where they don't fit together."""
    bounds = np.cumsum(arrays["sizes"])[:-1]
    rows = zip(
        np.split(arrays["ids"], bounds),
        np.split(arrays["logprobs"], bounds),
        arrays["masses"].tolist(),
        strict=True,
    )
    for ids, logprobs, (rest, permitted, low, high, exact) in rows:
        yield Distribution(ids, logprobs, rest, permitted, (low, high), bool(exact))


def name_of(source: Source) -> str:
    """Who said it: of a mix, by what formula too. Fast kernels say it otherwise than exact ones."""
    formula = getattr(source, "formula", "")
    name = f"{source.name}: {formula}" if formula else source.name
    fast = [
        f"{member.name} by fast kernels, {kernels.switches}"
        for member in members_of(source)
        if (kernels := member.capabilities.kernels) is not None and kernels.kind == "fast"
    ]
    return f"{name} ({'; '.join(fast)})" if fast else name


Name = tuple[int, str, bool, bool]
"""A token as JSON has it."""


def names_of(ids: Iterable[int], vocabulary: Vocabulary) -> list[Name]:
    """These tokens, where the vocabulary is told token by token."""
    if not isinstance(vocabulary, LearnsTokens):
        return []
    tokens = map(vocabulary.token, sorted(set(ids)))
    return [(one.id, one.data.hex(), one.special, one.end) for one in tokens if one.data]


def read_names(names: Iterable[Name]) -> list[Token]:
    """The tokens that `names_of` told."""
    return [
        Token(id, bytes.fromhex(data), special=special, end=end) for id, data, special, end in names
    ]


def text_of(tokens: Tail, vocabulary: Vocabulary) -> bytes:
    """With the names of special tokens."""
    return b"".join(vocabulary.token(id).data for id in tokens)


def _ids(weave: Weave) -> Iterator[int]:
    """Every token of the weave."""
    yield from weave.anchor.tokens
    for tail, fact in weave.facts.items():
        yield from tail
        yield from fact.ids.tolist()


def _edges(tokens: Tail, vocabulary: Vocabulary) -> list[int]:
    """Where each token begins in the text, and its end."""
    sizes = (len(vocabulary.token(id).data) for id in tokens)
    return list(accumulate(sizes, initial=0))
