"""Masks against brute force over whole vocabularies, by regular expression derivatives."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import llguidance
import numpy as np
import pytest

from llterm.backends.llamacpp import open_llama
from llterm.backends.scripted import ScriptedVocabulary
from llterm.constraints import compiled
from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint, choices, json_schema, lark, regex
from llterm.core.tokens import EncodesHere, Tail, Token, Vocabulary, text_bytes
from llterm.errors import UsageError
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.known_tokens import tokens_of
from tests.helpers.regular_languages import (
    CHARACTER,
    DIGIT,
    EMPTY,
    LETTER,
    NOTHING,
    Language,
    Many,
    either,
    joined,
    nullable,
    one_of,
    read,
    text,
)

CASES: dict[str, tuple[Constraint, Language, list[bytes]]] = {
    "choices": (
        choices(["yes", "no", "not now", "yes", "the cat", 'a "b"\\c/']),
        one_of(["yes", "no", "not now", "the cat", 'a "b"\\c/']),
        [b"", b"n", b"no", b"not", b"not now", b"the", b"the c", b'a "', b'a "b"\\', b"x", b"yesx"],
    ),
    "choices in other scripts": (
        choices(["日本", "日没", "👩‍🚀", "“so”", "éclair", "e\u0301"]),
        one_of(["日本", "日没", "👩‍🚀", "“so”", "éclair", "e\u0301"]),
        [b"", b"\xe6", b"\xe6\x97", "日".encode(), "日".encode() + b"\xe6", b"\xf0\x9f",
         "👩".encode() + b"\xe2\x80", "“".encode(), "“so".encode() + b"\xe2\x80", b"e", b"\xff"],
    ),
    "finite regex": (
        regex("(the|a) (cat|lamp)s?(, [12][0-9])?[.!]"),
        one_of(
            f"{article} {noun}{plural}{count}{sign}"
            for article in ("the", "a") for noun in ("cat", "lamp") for plural in ("", "s")
            for count in ("", *(f", {number}" for number in range(10, 30))) for sign in ".!"
        ),
        [b"", b"a", b"a ", b"the lam", b"the lamps", b"the lamps, ", b"a cat, 2", b"a cat, 24",
         b"a cat!", b"the cats!!"],
    ),
    "finite regex in other scripts": (
        regex("[é日€]{1,3}/?"),
        one_of(
            "".join(letters) + slash
            for count in (1, 2, 3) for letters in itertools.product("é日€", repeat=count)
            for slash in ("", "/")
        ),
        [b"", b"\xc3", b"\xe2", b"\xe2\x82", "€".encode(), "é日".encode() + b"\xe6\x97",
         "ééé".encode()],
    ),
    "endless regex": (
        regex("([a-z]+ )*[a-z]+(\n[0-9]*)?"),
        joined(
            Many(joined(LETTER, Many(LETTER), text(" "))), LETTER, Many(LETTER),
            either(EMPTY, joined(text("\n"), Many(DIGIT))),
        ),
        [b"", b"once", b"once ", b"once upon a time", b"once\n", b"once\n42", b"Once"],
    ),
    "any text": (
        regex("(?s).*"),
        Many(CHARACTER),
        [b"", b"a", b"\xc3", b"\xe0", b"\xe2\x80", b"\xed", b"\xf0", b"\xf4", b"\xf4\x8f",
         b"\xf0\x9f\x91", b"\xc0", b"\x80", b"\xff", "日".encode()],
    ),
    "quotes": (
        regex('"(?s:.)*?"'),
        joined(text('"'), Many(CHARACTER), text('"')),
        [b"", b'"', b'"Who', b'"Who"', b'"\xe2\x80'],
    ),
    "grammar": (
        lark('start: "once" (" upon" tail)*\ntail: " a" | /[0-9]+/\n'),
        joined(
            text("once"),
            Many(joined(text(" upon"), either(text(" a"), joined(DIGIT, Many(DIGIT))))),
        ),
        [b"", b"on", b"once", b"once ", b"once upon", b"once upon a", b"once upon12",
         b"once upon12 up"],
    ),
}  # fmt: skip


class Odd(EncodesHere):
    """Doubles, an empty token, no byte tokens, characters in halves, and these many ends."""

    prefix: Tail = ()

    def __init__(self, ends: int) -> None:
        data = [b"a", b"a", b"", b"b", b"aab", b"\xff", b"\xffq", b"\xe6\x97", b"\xa5",
                "日".encode(), b"\xa5\xe6", b"ya", b"the"]  # fmt: skip
        self._tokens = [Token(id, one) for id, one in enumerate(data)]
        self._tokens.append(Token(len(data), b"<s>", special=True))
        self._tokens += [
            Token(len(data) + 1 + end, b"<e>", special=True, end=True) for end in range(ends)
        ]
        self.fingerprint = f"odd-{ends}"

    @property
    def size(self) -> int:
        return len(self._tokens)

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> Tail:
        raise AssertionError("constraints need no tokenizer, and may outlive the model's")


@pytest.fixture(params=["bundled", "scripted"])
async def vocabulary(request: pytest.FixtureRequest) -> AsyncIterator[Vocabulary]:
    if request.param == "scripted":
        yield ScriptedVocabulary()
        return
    backend = await open_llama(BUNDLED)
    yield backend.vocabulary
    await backend.close()


def brute(vocabulary: Vocabulary, language: Language) -> list[int]:
    """Ids that may come while `language` is what may follow."""
    ids = []
    for id in range(vocabulary.size):
        token = vocabulary.token(id)
        if token.special:
            allowed = token.end and nullable(language)
        else:
            allowed = bool(token.data) and read(language, token.data) != NOTHING
        if allowed:
            ids.append(id)
    return ids


def allowed(compiled: Compiled, tail: Tail) -> list[int]:
    return [int(id) for id in np.flatnonzero(compiled.mask(tail).allowed)]


def byte_tail(vocabulary: Vocabulary, data: bytes) -> Tail:
    """One token a byte: no tokenizer would write so."""
    ids = {vocabulary.token(id).data: id for id in range(vocabulary.size)}
    return tuple(ids[bytes([byte])] for byte in data)


@pytest.mark.parametrize("case", CASES)
def test_masks_are_those_of_brute_force(vocabulary: Vocabulary, case: str) -> None:
    constraint, language, texts = CASES[case]
    compiled = compile(constraint, vocabulary)
    for data in texts:
        rest = read(language, data)
        expected = brute(vocabulary, rest)
        for tail in {tokens_of(vocabulary, data), byte_tail(vocabulary, data)}:
            assert text_bytes(vocabulary, tail) == data
            mask = compiled.mask(tail)
            assert mask.allowed.shape == (vocabulary.size,)
            assert mask.allowed.dtype == np.bool_
            assert allowed(compiled, tail) == expected, (data, tail)
            assert compiled.ended(tail) == nullable(rest)
            assert compiled.stuck(tail) == (not expected)


@pytest.mark.parametrize("case", CASES)
def test_random_order_gives_the_same_masks(
    case: str, monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary
) -> None:
    constraint, _, texts = CASES[case]
    tails = [encoded[:size] for data in texts for encoded in [tokens_of(vocabulary, data)]
             for size in range(len(encoded) + 1)]  # fmt: skip
    fresh = {tail: allowed(Compiled(constraint, vocabulary), tail) for tail in tails}
    monkeypatch.setattr(compiled, "KEPT_STATES", 5)
    forgetful = Compiled(constraint, vocabulary)
    for seed in range(3):
        random.Random(seed).shuffle(tails)
        assert {tail: allowed(forgetful, tail) for tail in tails} == fresh


@pytest.mark.parametrize("ends", [0, 1, 3])
@pytest.mark.parametrize(
    ("constraint", "language"),
    [
        (regex("a*b?"), joined(Many(text("a")), either(EMPTY, text("b")))),
        (regex("aab"), text("aab")),
        (regex("(日|ya)+"), joined(one_of(["日", "ya"]), Many(one_of(["日", "ya"])))),
        (regex("(?s).*"), Many(CHARACTER)),
    ],
)
def test_odd_vocabularies(ends: int, constraint: Constraint, language: Language) -> None:
    vocabulary = Odd(ends)
    compiled = Compiled(constraint, vocabulary)
    for size in range(3):
        # No mask allows the empty token, 2.
        for tail in itertools.product([0, 1, *range(3, 13)], repeat=size):
            rest = read(language, text_bytes(vocabulary, tail))
            expected = brute(vocabulary, rest)
            assert allowed(compiled, tail) == expected, tail
            assert compiled.ended(tail) == nullable(rest)
            assert compiled.stuck(tail) == (not expected and not nullable(rest))


def test_a_dead_end_is_stuck() -> None:
    compiled = Compiled(regex("a(c|日)|b"), Odd(1))
    assert allowed(compiled, ()) == [0, 1, 3]
    assert allowed(compiled, (0,)) == [7, 9]
    assert not compiled.stuck((0,))
    # No token writes the c.
    compiled = Compiled(regex("ac|b"), Odd(1))
    assert compiled.stuck((0,))
    assert allowed(compiled, (0,)) == []
    assert compiled.stuck((0,))
    assert compiled.stuck((0, 3))
    assert not compiled.stuck((3,))
    with pytest.raises(UsageError, match="Nothing that this model can write"):
        compile(regex("c"), Odd(1))


def test_after_an_end_nothing_follows() -> None:
    vocabulary = ScriptedVocabulary()
    compiled = compile(choices(["the cat", "the cats"]), vocabulary)
    cat = vocabulary.encode(b"the cat")
    assert compiled.ended(cat)
    assert 0 in allowed(compiled, cat)
    assert compiled.ended((*cat, 0))
    assert not compiled.stuck((*cat, 0))
    assert allowed(compiled, (*cat, 0)) == []
    for wrong in [(*cat, 0, 0), (*cat, 0, *vocabulary.encode(b"s")), (0,)]:
        assert not compiled.ended(wrong)
        assert compiled.stuck(wrong)


def test_the_end_stands_only_at_the_end() -> None:
    """A grammar that names the end token gets no way round that."""
    vocabulary = ScriptedVocabulary()
    compiled = compile(lark('start: "a" <|end|> "b" | "c"'), vocabulary)
    assert compiled.stuck(vocabulary.encode(b"a"))
    assert compiled.stuck((*vocabulary.encode(b"a"), 0))
    assert allowed(compiled, vocabulary.encode(b"c")) == [0]


class Counting:
    """Stands for llguidance's LLMatcher and counts the grammars it is given."""

    grammars = 0
    grammar_from_lark = staticmethod(llguidance.LLMatcher.grammar_from_lark)
    grammar_from_regex = staticmethod(llguidance.LLMatcher.grammar_from_regex)

    def __new__(cls, *given: object, **named: object) -> llguidance.LLMatcher:  # type: ignore[misc]
        cls.grammars += 1
        return llguidance._lib.LLMatcher(*given, **named)  # type: ignore[arg-type]


def test_compiled_once(vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llguidance, "LLMatcher", Counting)
    monkeypatch.setattr(Counting, "grammars", 0)
    constraint = regex("([a-z]+ )*[a-z]+[.]")
    compiled = Compiled(constraint, vocabulary)
    picked = random.Random(5)
    tail: Tail = ()
    for _ in range(200):
        further = [id for id in allowed(compiled, tail) if not vocabulary.token(id).end]
        tail = (*tail, picked.choice(further)) if further else ()
    assert Counting.grammars == 1
    assert compile(constraint, vocabulary) is compile(regex(constraint.text), vocabulary)
    assert Counting.grammars == 2
    assert compile(constraint, Odd(1)) is not compile(constraint, vocabulary)


class Spied:
    """A matcher that notes the tokens that it and its copies are given."""

    def __init__(self, matcher: llguidance.LLMatcher, consumed: list[int]) -> None:
        self._matcher = matcher
        self.consumed = consumed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._matcher, name)

    def deep_copy(self) -> Spied:
        return Spied(self._matcher.deep_copy(), self.consumed)

    def try_consume_tokens(self, ids: list[int]) -> int:
        self.consumed += ids
        return self._matcher.try_consume_tokens(ids)


def test_one_more_token_costs_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = ScriptedVocabulary()
    consumed: list[int] = []
    matcher = Counting.__new__
    monkeypatch.setattr(llguidance, "LLMatcher", Counting)
    monkeypatch.setattr(
        Counting, "__new__", lambda *given, **named: Spied(matcher(*given, **named), consumed)
    )
    compiled = Compiled(regex("[a-z ]*"), vocabulary)
    tail = vocabulary.encode(b"the cat and the lamp and the river")
    for size in range(len(tail) + 1):
        compiled.mask(tail[:size])
        compiled.mask(tail[:size])
    assert consumed == list(tail)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]{1,8}$"},
        "mood": {"enum": ["glad", "“odd”", None]},
        "age": {"type": "integer", "minimum": 3, "maximum": 120},
        "friends": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "mood", "age"],
    "additionalProperties": False,
}


def test_random_walks_under_a_schema_are_valid_json(vocabulary: Vocabulary) -> None:
    compiled = compile(json_schema(json.dumps(SCHEMA, indent=2)), vocabulary)
    for seed in range(10):
        picked = random.Random(seed)
        tail: Tail = ()
        while not (tail and vocabulary.token(tail[-1]).end):
            assert not compiled.stuck(tail)
            ids = allowed(compiled, tail)
            # Any number of spaces is allowed between the parts: seldom take one.
            solid = [id for id in ids if vocabulary.token(id).data.strip()]
            tail = (*tail, picked.choice(solid if picked.random() < 0.9 and solid else ids))
        assert compiled.ended(tail)
        made = json.loads(text_bytes(vocabulary, tail))
        assert list(made)[:3] == ["name", "mood", "age"]
        assert set(made) <= SCHEMA["properties"].keys()
        assert re.fullmatch("[a-z]{1,8}", made["name"])
        assert made["mood"] in ("glad", "“odd”", None)
        assert 3 <= made["age"] <= 120
        friends = made.get("friends", [])
        assert len(friends) <= 3
        assert all(friend in (True, False) for friend in friends)


@pytest.mark.parametrize(
    ("constraint", "title", "cause"),
    [
        (regex("a("), "The pattern", "Character 2 of the pattern, '(': unclosed group."),
        (regex("x[z-a]"), "The pattern",
         "Character 3 of the pattern, 'z-a': invalid character class range, the start must be <="
         " the end."),
        (regex("(?=a)b"), "The pattern",
         "Character 1 of the pattern, '(?=': look-around, including look-ahead and look-behind, is"
         " not supported."),
        (regex("   1 | x("), "The pattern", "Character 9 of the pattern, '(': unclosed group."),
        (regex(r"the\b"), "The pattern", "Lookarounds not supported yet; WordUnicode."),
        (regex("ab\udc80"), "The pattern", "Character 3 is half of a surrogate pair."),
        (lark('start: "a" )'), "The grammar",
         'Line 1, column 12: expecting rule, token or statement at ")".'),
        (lark("start: a\n\na: b"), "The grammar", 'Line 3, column 4: unknown name: "b".'),
        (lark("start: a\na: /x(/"), "The grammar",
         "Line 2, column 4: character 2 of the pattern, '(': unclosed group."),
        (lark("start: /a"), "The grammar", "At the end: lexer error."),
        (lark('other: "a"'), "The grammar", "No start rule found."),
        (lark(""), "The grammar", "No start rule found."),
        (lark("start: start"), "The grammar", "Nothing that this model can write fits it."),
        (json_schema('{\n "type"'), "The JSON schema",
         "Line 2, column 8: Expecting ':' delimiter."),
        (json_schema(""), "The JSON schema", "Line 1, column 1: Expecting value."),
        (json_schema('{} | "a"'), "The JSON schema", "Line 1, column 4: Extra data."),
        (json_schema("[" * 100_000), "The JSON schema", "It is nested too deeply."),
        (json_schema('{"type": "strin"}'), "The JSON schema", "Invalid type: strin."),
        (json_schema('{"not": {}}'), "The JSON schema", 'Unimplemented keys: ["not"].'),
        (json_schema('{"pattern": "a("}'), "The JSON schema",
         "Character 2 of the pattern, '(': unclosed group."),
        (json_schema("3"), "The JSON schema", "Schema must be an object or boolean."),
    ],
)  # fmt: skip
def test_refusals_name_the_place(constraint: Constraint, title: str, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile(constraint, ScriptedVocabulary())
    assert caught.value.title == f"{title} cannot be used"
    assert caught.value.cause == cause
    assert caught.value.hint


@pytest.mark.parametrize(
    ("texts", "cause"),
    [([], "There are none."), (["yes", " \n", "no"], "Choice 2 of 3 is empty.")],
)
def test_empty_choices_are_refused(texts: list[str], cause: str) -> None:
    with pytest.raises(UsageError, match="The choices cannot be used") as caught:
        choices(texts)
    assert caught.value.cause == cause
    assert caught.value.hint


def test_giving_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of llguidance is no dead end: nobody knows what may follow."""
    real = llguidance.LLParserLimits
    monkeypatch.setattr(
        llguidance, "LLParserLimits", lambda **given: real(**given, max_lexer_states=12)
    )
    with pytest.raises(UsageError) as caught:
        Compiled(regex("[ab]*c[ab]{10}d"), ScriptedVocabulary())
    assert caught.value.title == "The constraint is too complex"
    assert caught.value.cause.startswith("Lexer error: too many states")
    assert "\n" not in caught.value.cause


def test_equal_constraints() -> None:
    assert choices(["yes", " no", "yes"]) == choices(["yes", " no"]) != choices(["yes", "no"])
    assert choices(["é"]).text == '["é"]'
    assert len({regex("a"), regex("a"), lark("a"), json_schema("a")}) == 3


def test_imports_are_light() -> None:
    code = "import llterm.constraints.spec, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "llguidance"} & set(done.stdout.split())
    code = "import llterm.constraints.compiled, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "llguidance" not in done.stdout.split()
