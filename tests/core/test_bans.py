"""Bans: what a text may not hold, and which tokens would make it do so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.scripted import ScriptedVocabulary
from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import choices, regex
from llterm.core.ban_table import BanTable
from llterm.core.bans import REFUSALS, Bans
from llterm.core.tokens import EncodesHere, Token, text_bytes

WORDS = ScriptedVocabulary()
ALL = Bans(
    newline=True, capitals=True, refusals=True, phrases=("the river", " LAMP", "été", "\n\n")
)
TABLE = BanTable(ALL, WORDS)


@pytest.mark.parametrize(
    ("bans", "story", "added", "said"),
    [
        (Bans(phrases=("once upon",)), b"", b"once upon", 'banned "once upon"'),
        (Bans(phrases=("once upon",)), b"Once u", b"pon a", 'banned "once upon"'),
        (Bans(phrases=("once upon",)), b"once upon", b" a time", None),
        (Bans(phrases=("once upon",)), b"", b"once  upon", None),
        (Bans(phrases=("Été",)), b"", "L'été".encode(), 'banned "Été"'),
        (Bans(phrases=("Été",)), b"\xc3", b"\xa9t\xc3\xa9", 'banned "Été"'),
        (Bans(newline=True), b"a", b" b\nc", "ban newline"),
        (Bans(newline=True), b"a\n", b"b", None),
        (Bans(capitals=True), b"said", b" The", "ban capitals"),
        (Bans(capitals=True), b"i", b"Phone", None),
        (Bans(capitals=True), b"", b"\"Oh", "ban capitals"),
        (Bans(capitals=True), b" \xc3", b"\x89t\xc3\xa9", "ban capitals"),
        (Bans(capitals=True), b"t\xc3", b"\x89t\xc3\xa9", None),
        (Bans(refusals=True), b"Tell me.", b" \"I cannot say", "ban refusals"),
        (Bans(refusals=True), b"", b"Henri cannot", None),
    ],
)  # fmt: skip
def test_a_ban_says_what_it_takes(bans: Bans, story: bytes, added: bytes, said: str | None) -> None:
    assert bans.broken_by(story, b"", added) == said


def test_a_refusal_is_banned_at_the_beginning_only() -> None:
    bans = Bans(refusals=True)
    assert bans.broken_by(b"", b" I", b" cannot") == "ban refusals"
    assert bans.broken_by(b"", b"She said: I", b" cannot") is None


def test_refusals_are_written_as_they_begin_a_sentence() -> None:
    assert all(text[0].isupper() and text == text.strip() for text in REFUSALS)


def test_wrong_phrases_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Bans(phrases=("",))
    with pytest.raises(ValueError, match="surrogate"):
        Bans(phrases=("\udcff",))


PIECES = st.sampled_from(
    [b"", b" ", b"the ri", b"the River", b"I", b" I c", b"\"", b" l", b" LaM", "é".encode(),
     b"\xc3", b"\xc3\xa9t", b"\n", b"A", b"some words ", b"wo", b"I could"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=3), st.lists(PIECES, max_size=3))
def test_the_table_bars_what_breaks_a_ban(story: list[bytes], drawn: list[bytes]) -> None:
    """Against the definition, for every token of the vocabulary."""
    before, since = b"".join(story), b"".join(drawn)
    barred = TABLE.barred(before, since)
    taken = np.zeros(WORDS.size, bool)
    for one in barred:
        taken |= one.ids
    for id in range(WORDS.size):
        token = WORDS.token(id)
        data = b"" if token.special else token.data
        assert taken[id] == (ALL.broken_by(before, since, data) is not None), token


class Alphabet(EncodesHere):
    """A vocabulary of given texts, and an end."""

    fingerprint = "alphabet"
    prefix: tuple[int, ...] = ()

    def __init__(self, *texts: str) -> None:
        ended = Token(len(texts), b"<end>", special=True, end=True)
        self._tokens = [*(Token(id, one.encode()) for id, one in enumerate(texts)), ended]
        self.size = len(self._tokens)

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> tuple[int, ...]:
        return tuple(self.id(chr(byte)) for byte in data)

    def id(self, text: str) -> int:
        return next(token.id for token in self._tokens if token.data == text.encode())


LETTERS = Alphabet("a", "b", "c", "bc", "x", "y")


def ahead(table: BanTable, constraint: Compiled, written: tuple[int, ...] = ()) -> list[int]:
    drawn = text_bytes(LETTERS, written)
    doomed = table.doomed(b"", drawn, constraint, written)
    return sorted(id for one in doomed for id in np.flatnonzero(one.ids).tolist())


def test_tokens_that_a_constraint_leads_into_a_ban_are_doomed() -> None:
    """After `a` only `bc` may come, in one token or two; after `x` there is another way."""
    constraint = compile(choices(["abc", "xbc", "xby"]), LETTERS)
    table = BanTable(Bans(phrases=("bc",)), LETTERS)
    assert ahead(table, constraint) == [LETTERS.id("a")]
    assert ahead(table, constraint, (LETTERS.id("x"),)) == []
    assert ahead(table, constraint, (LETTERS.id("a"),)) == [LETTERS.id("b")]


def test_where_a_constraint_allows_much_only_phrases_that_go_on_are_followed() -> None:
    """`I` alone leads to `I cannot`; every other word may be followed by anything."""
    constraint = compile(regex(r"( I cannot.*| [a-z]+.*)"), WORDS)
    table = BanTable(Bans(phrases=("I c",)), WORDS)
    (doomed,) = table.doomed(b"", b" ", constraint, WORDS.encode(b" "))
    assert {WORDS.token(id).data for id in np.flatnonzero(doomed.ids).tolist()} == {b"I"}


@given(st.lists(st.integers(0, WORDS.size - 1), max_size=12))
def test_no_path_of_free_tokens_holds_a_banned_phrase(ids: list[int]) -> None:
    """What is written by tokens that are not barred breaks no ban, however it is cut."""
    bans = Bans(phrases=("the river", "lamp"))
    table = BanTable(bans, WORDS)
    drawn = b""
    for id in ids:
        if any(one.ids[id] for one in table.barred(b"", drawn)):
            continue
        token = WORDS.token(id)
        drawn += b"" if token.special else token.data
    assert b"the river" not in drawn.lower()
    assert b"lamp" not in drawn.lower()
