"""Whatever a grammar of calls lets through is a call of a tool that fits its schema."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from llterm.backends.scripted import ScriptedVocabulary
from llterm.constraints.compiled import Compiled
from llterm.constraints.tool_grammar import Thinking, ToolGrammar
from llterm.core.special_tokens import SpecialTokens, special_tokens
from llterm.core.tokens import Tail, Token
from llterm.core.tool_arguments import Tool
from llterm.core.tool_call_parser import CallArguments, CallBegun, Said, ToolCallParser
from llterm.core.tool_format import (
    GENERIC,
    JSON_KINDS,
    NUMBER,
    TaggedArguments,
    ToolFormat,
    ValueMarks,
)
from tests.helpers.random_tools import call_faults, random_tools

NAMES = ("<calls>", "</calls>", "<think>", "<|over|>")
COUNTED = ToolFormat("<calls>functions.", f":{NUMBER} ", ", functions.", "</calls><|over|>")
BARE = ToolFormat('{"name": "', '", "parameters": ', "", "}")
QUOTED = ToolFormat(
    "<calls>", "{", "}\n", "}</calls>",
    TaggedArguments(
        tuple(
            (kind, ValueMarks(":<think>", "<think>") if kind == "string" else ValueMarks(":", ""))
            for kind in JSON_KINDS
        ),
        ",", "{}\n", "{}</calls>",
    ),
)  # fmt: skip
TAGGED = ToolFormat(
    "\n<call>\n<f=", ">\n<a=", "</f>\n</call>\n<call>\n<f=", "</f>\n</call>",
    TaggedArguments(
        tuple((kind, ValueMarks(">\n", "\n</a>\n")) for kind in JSON_KINDS),
        "<a=", ">\n</f>\n</call>\n<call>\n<f=", ">\n</f>\n</call>",
    ),
)  # fmt: skip
FORMS = {"generic": GENERIC, "counted": COUNTED, "bare": BARE, "quoted": QUOTED, "tagged": TAGGED}


class MarkedVocabulary(ScriptedVocabulary):
    """With further special tokens, of which one ends a text."""

    @property
    def fingerprint(self) -> str:
        return f"{ScriptedVocabulary().fingerprint}-marked"

    @property
    def size(self) -> int:
        return super().size + len(NAMES)

    def token(self, id: int) -> Token:
        own = id - super().size
        if own < 0:
            return super().token(id)
        return Token(id, NAMES[own].encode(), special=True, end=own == len(NAMES) - 1)


VOCABULARY = MarkedVocabulary()
TOKENS = [VOCABULARY.token(id) for id in range(VOCABULARY.size)]
SPECIAL = special_tokens(TOKENS)
ENDS = np.array([token.end for token in TOKENS])
SHARP = np.array([token.data[:1] in (*map(bytes, zip(b'"}<],/:1\n{')),) for token in TOKENS])


def marked(form: ToolFormat) -> ToolFormat:
    made = SPECIAL.marked_format(form)
    assert made is not None
    return made


def walked(compiled: Compiled, rng: np.random.Generator, most: int = 300) -> tuple[str, bool]:
    """A text that the constraint lets through, with its special tokens marked, and whether it came
    to its end: drawn at random, with a liking for what ends things."""
    walk, data = compiled.walk(), b""
    for _ in range(most):
        allowed = walk.mask().allowed
        ends = allowed & ENDS
        going = np.flatnonzero(allowed & ~ENDS)
        if ends.any() and (not len(going) or rng.random() < 0.3):
            return data.decode(), True
        sharp = np.flatnonzero(allowed & ~ENDS & SHARP)
        id = int(rng.choice(sharp if len(sharp) and rng.random() < 0.6 else going))
        walk.take(id)
        token = TOKENS[id]
        data += SPECIAL.marked(token.data.decode()).encode() if token.special else token.data
    return data.decode("utf-8", "replace"), False


def made_calls(form: ToolFormat, tools: Sequence[Tool], text: str) -> tuple[str, list[list[str]]]:
    parser = ToolCallParser(form, tools)
    said, calls = "", []
    for part in (*parser.add(text), *parser.rest()):
        match part:
            case Said(more):
                said += more
            case CallBegun(_, name):
                calls.append([name, ""])
            case CallArguments(place, more):
                calls[place][1] += more
    return said, calls


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("must", [True, False])
def test_calls_fit_their_schemas_and_come_where_they_have_to(name: str, must: bool) -> None:
    form = marked(FORMS[name])
    ended = 0
    for seed in range(12):
        random, rng = Random(seed), np.random.default_rng(seed)
        bodies = random_tools(random, 3)
        tools = [Tool(body["function"]["name"], body["function"]["parameters"]) for body in bodies]
        several = bool(seed % 2)
        grammar = ToolGrammar(form, SPECIAL).calling(tools, must=must, several=several)
        text, over = walked(Compiled(grammar, VOCABULARY), rng)
        said, calls = made_calls(form, tools, text)
        assert not must or not said
        ended += over
        if over:
            assert [fault for call in calls for fault in call_faults(bodies, *call)] == []
            assert not must or calls
            assert several or len(calls) <= 1
    assert ended > 4


def test_a_call_begun_after_text_can_only_be_one() -> None:
    tools = [Tool("stop", {"type": "object", "properties": {}})]
    for form in (GENERIC, marked(COUNTED), TAGGED):
        compiled = Compiled(
            ToolGrammar(form, SPECIAL).calling(tools, must=False, several=True), VOCABULARY
        )
        begin = "The cat. " + form.begin.replace("\ufdd2", "").replace("\ufdd7", "")
        walk = compiled.walk()
        for id in tail(begin):
            assert walk.mask().allowed[id]
            walk.take(id)
        assert {TOKENS[id].data for id in np.flatnonzero(walk.mask().allowed)} == {b"s"}


def tail(text: str) -> Tail:
    """Tokens of a text in which names of special tokens are these."""
    ids: list[int] = []
    for place, part in enumerate(text.split("<calls>")):
        ids += [SPECIAL.ids["<calls>"]] if place else []
        ids += VOCABULARY.encode(part.encode())
    return tuple(ids)


@pytest.mark.parametrize("name", FORMS)
def test_no_call_begins_where_none_may(name: str) -> None:
    form = marked(FORMS[name])
    compiled = Compiled(ToolGrammar(form, SPECIAL).without_calls(), VOCABULARY)
    walk = compiled.walk()
    refused = False
    for id in tail(FORMS[name].begin):
        refused = refused or not walk.mask().allowed[id]
        walk.take(id)
    assert refused
    rng = np.random.default_rng(1)
    for _ in range(5):
        assert not made_calls(form, (), walked(compiled, rng, 60)[0])[1]


def test_thoughts_stand_before_calls() -> None:
    tools = [Tool("stop", {"type": "object", "properties": {}})]
    call = f"{GENERIC.begin}stop{GENERIC.after_name}{{}}{GENERIC.end}"
    for begun, text in ((True, f"A lamp.</t>\n{call}"), (False, f"<t>A lamp.</t>{call}")):
        thoughts = Thinking("<t>", "</t>", begun)
        grammar = ToolGrammar(GENERIC, SPECIAL, thoughts).calling(tools, must=True, several=False)
        compiled = Compiled(grammar, VOCABULARY)
        assert compiled.ended(VOCABULARY.encode(text.encode()))
        assert not compiled.ended(VOCABULARY.encode(b"A lamp.</t>"))
        assert compiled.ended(VOCABULARY.encode(call.encode())) is not begun


def test_a_format_ends_where_the_text_is_over() -> None:
    assert marked(COUNTED).end == SPECIAL.marked("</calls>")
    assert SpecialTokens({}, frozenset(["<calls>"])).marked_format(COUNTED) is None
