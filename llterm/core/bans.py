"""What a text must not hold: line breaks, capitals, refusals, texts of one's own.

Texts are compared as bytes, so that no token border matters. The case of a to z does not; a phrase
with other letters is also banned all small, all capital, and with its first letter capital.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

REFUSALS = (
    "I cannot", "I can't", "I can’t", "I could not", "I'm sorry", "I’m sorry", "I am sorry",
    "Sorry,", "I apologize", "I'm unable", "I’m unable", "I am unable", "I won't", "I won’t",
    "I will not", "I must decline", "I'm just", "I’m just", "I'm an AI", "I’m an AI", "I am an AI",
    "I'm not able", "I’m not able", "I am not able", "As an AI", "As a language model",
    "As a large language model", "Unfortunately, I", "However, I",
)  # fmt: skip
"""How models begin to beg off. The source system (seeds.md 5.2) bans tokens such as `I`, `As` and
`However` among the first ten instead, which takes honest sentences along."""

CAPITALS = "ban capitals"
_LEAD = b" \t\r\n\"'*(["
_QUOTES = ("“", "‘", "«")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One banned text."""

    said: str
    """How the ban is called where it took something, such as `banned "once upon"`."""
    data: bytes
    """With small letters a to z."""
    opening: bool = False
    """Banned only where what is drawn begins with it, spaces and quotes apart."""


@dataclass(frozen=True)
class Bans:
    """What is never written. Raises ValueError for a phrase that is empty or no text."""

    newline: bool = False
    """Line breaks."""
    capitals: bool = False
    """Words that begin with a capital letter."""
    refusals: bool = False
    """A beginning out of `REFUSALS`."""
    phrases: tuple[str, ...] = ()
    """Texts of one's own."""

    def __post_init__(self) -> None:
        if not all(self.phrases):
            raise ValueError("a banned phrase must not be empty")
        for phrase in self.phrases:
            phrase.encode()  # UnicodeEncodeError is a ValueError

    def __bool__(self) -> bool:
        return self.newline or self.capitals or self.refusals or bool(self.phrases)

    @cached_property
    def patterns(self) -> Sequence[Pattern]:
        """Every text that is banned."""
        from llterm.core.display_text import label_text

        patterns = [Pattern("ban newline", spelling) for spelling in (b"\n", b"\r") if self.newline]
        if self.refusals:
            spelled = (spelling for text in REFUSALS for spelling in _spellings(text))
            patterns += [Pattern("ban refusals", spelling, opening=True) for spelling in spelled]
        for phrase in self.phrases:
            said = f'banned "{label_text(phrase)}"'
            patterns += [Pattern(said, spelling) for spelling in _spellings(phrase)]
        return tuple(patterns)

    def broken_by(self, story: bytes, drawn: bytes, added: bytes) -> str | None:
        """Which ban `added` breaks after the story and what was drawn; None when it breaks none.

        What stood there before does not count, but a phrase may begin there.
        """
        for pattern in self.patterns:
            if pattern.opening:
                if _opens(drawn + added, pattern.data) and not _opens(drawn, pattern.data):
                    return pattern.said
                continue
            before = tail(story + drawn, len(pattern.data) - 1)
            if pattern.data in (before + added).lower():
                return pattern.said
        capital = self.capitals and begins_with_capital(story + drawn, added)
        return CAPITALS if capital else None


def begins_with_capital(before: bytes, added: bytes) -> bool:
    """Whether a word that begins with a capital has its first letter end in `added`."""
    whole = before[: len(before) - incomplete(before)]
    previous = tail(whole, 4).decode("utf-8", "replace")[-1:]
    for letter in (before[len(whole) :] + added).decode("utf-8", "replace"):
        if letter != letter.lower() and not previous.isalnum():
            return True
        previous = letter
    return False


def incomplete(data: bytes) -> int:
    """How many bytes at the end begin a character and do not end it; 0 to 3."""
    for size in range(1, min(len(data), 3) + 1):
        byte = data[-size]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return size if size < needed else 0
    return 0


def tail(data: bytes, size: int) -> bytes:
    """The last `size` bytes, fewer where there are no more."""
    return data[max(len(data) - size, 0) :]


def opening(drawn: bytes) -> bytes:
    """What is drawn without the spaces and quotes that it begins with, in small letters."""
    data = drawn.lstrip(_LEAD)
    while data.startswith(tuple(quote.encode() for quote in _QUOTES)):
        data = data.decode("utf-8", "surrogateescape")[1:].encode("utf-8", "surrogateescape")
        data = data.lstrip(_LEAD)
    return data.lower()


def _opens(drawn: bytes, data: bytes) -> bool:
    return opening(drawn).startswith(data)


def _spellings(phrase: str) -> tuple[bytes, ...]:
    cases = (phrase, phrase.lower(), phrase.upper(), phrase[:1].upper() + phrase[1:])
    return tuple(dict.fromkeys(one.encode().lower() for one in cases))
