"""What is put into the middle of a story, and what becomes of the text that follows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.loom_tree import ROOT
from llterm.session.document import Document
from tests.helpers.document_edits import DATA, check, model_run, state

TAIL = b" ran.\r\n\xff It \xe2\x80\x94 slept.\x1b "
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.lists(DATA, min_size=1, max_size=3)),
        st.tuples(st.just("play"), st.lists(DATA, min_size=1, max_size=3)),
        st.tuples(st.just("type"), st.sampled_from(["a", " the", "\n", "é", "日本"])),
        st.tuples(st.just("undo")),
        st.tuples(st.just("redo")),
    ),
    max_size=20,
)


def story(document: Document) -> bytes:
    return document.bytes_before(len(document.text))


def inserted(document: Document, *tokens: bytes, onward: bool = False) -> None:
    document.accept(model_run(*tokens), document.cursor, onward=onward)


def middle() -> Document:
    document = Document.scratch(b"The fox ran. It slept.")
    document.cursor = len("The fox")
    return document


def test_a_suggestion_in_the_middle_stands_before_the_text_that_follows() -> None:
    document = middle()
    change = document.accept(model_run(b" of", b" old"), document.cursor)
    assert document.text == "The fox of old ran. It slept."
    assert (change.start, change.stop, change.text) == (7, 7, " of old")
    assert document.cursor == len("The fox of old")
    assert document.undo_label == "insert"


def test_the_story_without_it_stays_as_a_branch() -> None:
    document = middle()
    inserted(document, b" of old")
    (first,) = document.loom.children[ROOT]
    texts = {document.loom.text(document.loom.deepest(id)) for id in document.loom.children[first]}
    assert texts == {b"The fox ran. It slept.", b"The fox of old ran. It slept."}


def test_token_after_token_in_the_middle_makes_one_fork() -> None:
    document = middle()
    for token in (b" of", b" old", b" times"):
        inserted(document, token)
    assert document.text == "The fox of old times ran. It slept."
    forks = [ids for ids in document.loom.children.values() if len(ids) > 1]
    assert len(forks) == 1
    for text in ("The fox of old ran. It slept.", "The fox of ran. It slept."):
        document.undo()
        assert document.text == text


def test_a_play_in_the_middle_is_one_node_and_one_step() -> None:
    document = middle()
    inserted(document, b" of")
    nodes = len(document.loom.nodes)
    inserted(document, b" old", onward=True)
    inserted(document, b" times", onward=True)
    assert document.text == "The fox of old times ran. It slept."
    assert len(document.loom.nodes) == nodes
    document.undo()
    assert (document.text, document.cursor) == ("The fox ran. It slept.", len("The fox"))


def test_what_was_undone_there_comes_back_as_a_branch() -> None:
    document = middle()
    inserted(document, b" of")
    inserted(document, b" old")
    document.undo()
    inserted(document, b" iron")
    assert document.text == "The fox of iron ran. It slept."
    loom = document.loom
    leaves = {loom.text(id) for id in loom.nodes if loom.holds(id) and not loom.children.get(id)}
    assert any(text.startswith(b"The fox of old") for text in leaves)
    check(document)


def test_ending_the_story_keeps_the_rest_and_undo_gives_it_back() -> None:
    document = middle()
    before = state(document)
    document.end_at(document.cursor)
    assert document.text == "The fox"
    document.undo()
    assert state(document) == before
    document.end_at(len(document.text))
    assert document.redo_label == "end the story here"


@settings(max_examples=60)
@given(STEPS)
def test_the_text_that_follows_never_changes(steps: list[tuple[object, ...]]) -> None:
    head = b"The fox"
    document = Document.scratch(head + TAIL)
    document.cursor = len("The fox")
    first = story(document)
    for step in steps:
        match step:
            case ("insert", list(tokens)):
                inserted(document, *tokens)
            case ("play", list(tokens)):
                inserted(document, *tokens, onward=True)
            case ("type", str(text)):
                document.edit(document.cursor, document.cursor, text)
            case ("undo",):
                document.undo()
            case ("redo",):
                document.redo()
        assert story(document).startswith(head)
        assert story(document).endswith(TAIL)
        check(document)
    document.checkpoint()
    moments = [state(document)]
    while document.undo_label is not None:
        document.undo()
        moments.append(state(document))
    assert story(document) == first
    for moment in moments[-2::-1]:
        document.redo()
        assert state(document) == moment
