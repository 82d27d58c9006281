"""Another model in mid-story, and chats: what stays in sight, and what belongs to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.constraints.spec import choices
from llterm.core.chat_messages import Chat
from llterm.core.query import Capabilities
from llterm.errors import CapabilityMissing, LltermError, UsageError
from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.random_model import RandomModel

STORY = b"Once upon a time a lamp maker lived by the river with a cat. The cat"


class Twin(ScriptedBackend):
    """Another model with the same vocabulary."""

    name = "twin"


async def woven(document: Document) -> Session:
    session = Session(document)
    session.attach(ScriptedBackend())
    session.weave()
    await session.wait()
    return session


async def test_the_old_suggestions_stay_in_sight_until_the_next_weave() -> None:
    session = await woven(Document.scratch(STORY))
    view = session.view
    assert view is not None
    tail = view.suggestions[0].tail
    await session.change_model(Twin())
    assert session.stale
    assert session.suggestions.foreign
    assert session.view is not None
    assert [one.tail for one in session.view.suggestions] == [one.tail for one in view.suggestions]
    with pytest.raises(UsageError, match="another model"):
        session.accept(tail)
    session.weave()
    await session.wait()
    assert not session.stale
    assert session.accept(tail).text


async def test_no_edit_or_undo_makes_them_the_new_models() -> None:
    session = await woven(Document.scratch(STORY))
    await session.change_model(Twin())
    session.edit(len(STORY), len(STORY), " sat")
    session.undo()
    assert session.stale
    session.weave()
    assert session.figures.tokens == 0
    await session.wait()
    assert session.figures.tokens > 0


async def test_suggestions_kept_in_the_loom_come_back_to_their_own_model_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.loom"
    await (await woven(Document.create(path, STORY))).close()
    other = Session(Document.open(path))
    other.attach(Twin())
    assert other.view is None
    other.attach(ScriptedBackend())
    assert other.view is not None
    assert not other.stale
    await other.close()


async def test_a_model_that_fails_leaves_the_one_in_use() -> None:
    session = await woven(Document.scratch(STORY))
    source = session.source
    session.loading(0.5, "other")
    assert session.incoming is not None
    session.weave()
    session.failed(LltermError("Broken"))
    assert session.incoming is None
    assert session.source is source
    await session.wait()
    assert not session.stale


async def test_without_a_model_nothing_is_woven_and_nothing_is_lost() -> None:
    session = await woven(Document.scratch(STORY))
    session.detach()
    assert session.view is not None
    assert session.stale
    with pytest.raises(LltermError, match="No model is in use"):
        session.weave()
    session.edit(0, 0, "x")
    session.attach(ScriptedBackend())
    session.weave()
    await session.wait()
    assert not session.stale


async def test_what_suggestions_must_fit_is_made_anew_for_the_new_vocabulary() -> None:
    session = await woven(Document.scratch(b"a bea"))
    await session.set_constraint(choices([" a", " be"]))
    await session.change_model(RandomModel(1))
    session.weave()
    await session.wait()
    assert session.view is not None
    texts = {one.data for one in session.view.suggestions}
    assert texts
    assert texts <= {b" a", b" be"}


async def test_the_story_is_the_reply_and_goes_on_in_mid_turn() -> None:
    document = Document.scratch(STORY)
    session = await woven(document)
    alone = session.figures.tokens
    session.set_chat(Chat("Be kind.", "Who counts lamps?"))
    assert session.stale
    session.weave()
    await session.wait()
    assert session.figures.tokens > alone
    head = session.shown
    assert head is not None
    text = b"".join(ScriptedBackend().vocabulary.token(id).data for id in head.prompt.tokens if id)
    before, _, reply = text.partition(b"Assistant:")
    assert before == b"System: Be kind.\n\nUser: Who counts lamps?\n\n"
    assert STORY.startswith(reply)
    assert document.text.encode() == STORY
    session.undo()
    assert not document.chat
    assert not session.stale
    session.redo()
    assert document.chat


async def test_an_empty_reply_is_woven_and_the_hidden_prefix_joins_the_system_message() -> None:
    document = Document.scratch()
    session = Session(document)
    session.attach(ScriptedBackend())
    session.set_prefix("The cat counts.")
    session.set_chat(Chat(message="Go on"))
    session.weave()
    await session.wait()
    assert session.view is not None
    assert session.view.suggestions
    session.accept(session.view.suggestions[0].tail)
    assert document.text
    assert session.shown is not None
    text = b"".join(
        ScriptedBackend().vocabulary.token(id).data for id in session.shown.prompt.tokens if id
    )
    assert text.startswith(b"System: The cat counts.\n\nUser: Go on\n\nAssistant:")


async def test_a_chat_is_kept_with_the_loom(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    session = await woven(Document.create(path, STORY))
    session.set_chat(Chat(message="Go on"))
    await session.close()
    document = Document.open(path)
    assert "Go on" in document.chat
    document.undo()
    assert document.chat == ""
    document.close()


async def test_a_source_without_templates_says_so() -> None:
    session = Session(Document.scratch(STORY))
    model = RandomModel(1)
    model.capabilities = Capabilities(full_vocabulary=True)
    session.attach(model)
    session.set_chat(Chat(message="Go on"))
    with pytest.raises(CapabilityMissing, match="random cannot open a chat"):
        session.weave()
