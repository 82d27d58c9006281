"""Labels as they are typed and as files have them; templates; what ends a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.classification.classify_settings import ClassifySettings, LabelQuestion
from llterm.core.classification.labels import NO, YES, Label, check_labels, typed_label
from llterm.core.classification.question_template import (
    QuestionTemplate,
    label_orders,
    spelled_after,
    stem,
)
from llterm.core.classification.word_ends import continues, goes_on
from llterm.core.token_index import token_index
from llterm.core.tokens import EncodesHere, Tail, Token
from llterm.errors import UsageError
from llterm.formats.label_files import read_labels
from tests.helpers.random_model import RandomModel


def test_a_label_is_typed_with_its_aliases() -> None:
    assert typed_label("good").spellings == ("good",)
    assert typed_label("good=great|fine") == Label("good", ("good", "great", "fine"))
    for wrong in ("", "=a", "good=", "good=|"):
        with pytest.raises(UsageError):
            typed_label(wrong)


@pytest.mark.parametrize(
    ("labels", "title"),
    [
        (["a"], "too few"),
        (["a", "a"], "twice"),
        (["a=c", "b=c"], "spelled alike"),
        (["a=b", " b"], "spelled alike"),
        (["a", "b" * 2000], "too long"),
        ([f"{n}" for n in range(1001)], "too many"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(labels: list[str], title: str) -> None:
    with pytest.raises(UsageError, match=title):
        check_labels([typed_label(label) for label in labels])


def test_files_of_labels_are_lines_or_json() -> None:
    assert read_labels(b"# ours\ngood=great\n\nbad\n", "f") == (
        Label("good", ("good", "great")), Label("bad"),
    )  # fmt: skip
    assert read_labels(b'["good", "bad"]', "f") == (Label("good"), Label("bad"))
    assert read_labels(b'{"good": ["great"], "bad": []}', "f") == (
        Label("good", ("good", "great")), Label("bad"),
    )  # fmt: skip
    both = b'[{"label": "pos", "spellings": ["good"], "description": "praise"}, "bad"]'
    assert read_labels(both, "f") == (Label("pos", ("good",), "praise"), Label("bad"))


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b'[{"name": "a"}]', b'[{"label": "a", "x": 1}]', b"{", b"[[]]",
             b'{"a": 1}', b'[{"label": "a", "spellings": [1]}]', b"[" * 99]
)  # fmt: skip
def test_broken_files_of_labels_say_what_they_are(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"labels\.json"):
        read_labels(data, "labels.json")


def test_a_template_fills_its_places_and_leaves_other_braces() -> None:
    template = QuestionTemplate('{"review": "{text}"} {question} {other} {labels}')
    values = {"text": "{question} {0.__class__}", "question": "Q", "labels": "- a"}
    assert template.filled(values) == '{"review": "{question} {0.__class__}"} Q {other} - a'


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("{words}", "{text}"), ("{text}", "{question}"), ("{text}{question}", "{labels}")],
)
def test_a_template_that_lacks_a_place_is_refused(source: str, wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted):
        QuestionTemplate(source).check(questions=True, several=False, shuffled=True)


@pytest.mark.parametrize(
    ("prompt", "spelling", "begun", "spelled"),
    [
        ("Answer:", "good", "Answer:", " good"),
        ("Answer: ", "good", "Answer:", " good"),
        ("Answer:", " good", "Answer:", " good"),
        ("Answer:", "\ngood", "Answer:", "\ngood"),
        ("Answer:\n", "good", "Answer:\n", "good"),
        ("", "good", "", "good"),
    ],
)
def test_a_label_gets_one_blank_before_it(
    prompt: str, spelling: str, begun: str, spelled: str
) -> None:
    assert (stem(prompt), spelled_after(prompt, spelling)) == (begun, spelled)


@given(count=st.integers(2, 6), number=st.integers(1, 30), seed=st.integers(0, 99))
def test_orders_begin_with_the_given_one_and_differ(count: int, number: int, seed: int) -> None:
    orders = label_orders(count, number, seed)
    assert orders[0] == tuple(range(count))
    assert len(set(orders)) == len(orders) <= number
    assert all(sorted(order) == list(range(count)) for order in orders)
    if number >= count:
        # Each label stands at each place as often as any other.
        for place in range(count):
            assert {order[place] for order in orders[:count]} == set(range(count))
    assert orders == label_orders(count, number, seed)


@pytest.mark.parametrize(
    ("label", "after", "ends"),
    [
        ("cat", "fish", False), ("cat", "s", False), ("cat", " ", True), ("cat", ".", True),
        ("cat", "2", False), ("cat", "é", False), ("cat", "’s", True), ("cat", "", True),
        ("cat", "\u0301", False), (":)", "x", True), ("好", "的", True), ("7", "5", False),
    ],
)  # fmt: skip
def test_a_word_is_over_where_no_letter_follows(label: str, after: str, ends: bool) -> None:
    assert (not goes_on(label) or not continues(after.encode())) == ends


class Bytes(EncodesHere):
    """Every byte, and some longer tokens."""

    fingerprint = "bytes"
    prefix: Tail = ()

    def __init__(self, longer: list[bytes]) -> None:
        data = [bytes([byte]) for byte in range(256)] + longer
        self._tokens = [Token(id, each) for id, each in enumerate(data)]
        self.size = len(data)

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> Tail:
        return tuple(data)


@given(
    longer=st.lists(st.binary(min_size=1, max_size=4), max_size=12),
    data=st.binary(min_size=1, max_size=6),
)
def test_tokens_are_found_by_their_bytes(longer: list[bytes], data: bytes) -> None:
    vocabulary = Bytes(longer)
    index = token_index(vocabulary)
    every = [vocabulary.token(id) for id in range(vocabulary.size)]
    assert {id for id, _ in index.spelling(data)} == {
        each.id for each in every if data.startswith(each.data)
    }
    assert set(index.beginning(data).tolist()) == {
        each.id for each in every if each.data.startswith(data)
    }
    assert dict(index.longer(data)) == {
        each.id: each.data[len(data) :]
        for each in every if each.data.startswith(data) and each.data != data
    }  # fmt: skip


def test_an_index_is_made_once_and_goes_with_its_vocabulary() -> None:
    model = RandomModel(1)
    assert token_index(model) is token_index(model)
    assert token_index(RandomModel(1)) is not token_index(model)


@pytest.mark.parametrize("place", ["text", "question", "labels"])
def test_a_question_has_no_places_of_its_own(place: str) -> None:
    question = LabelQuestion(f"Is {{{place}}} good?", (YES, NO))
    settings = ClassifySettings((question,), QuestionTemplate("{text} {question}"))
    with pytest.raises(UsageError, match=f"A question has {{{place}}}"):
        settings.check()
