"""Whatever writes in the middle of a story, and a walk through it with undo, redo and a kill."""

from __future__ import annotations

import shutil
from pathlib import Path

from llterm.backends.scripted import ScriptedBackend
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.sentences import Sentences
from llterm.session.session import Session
from tests.helpers.document_edits import check, state
from tests.helpers.sessions import SEEDED, draw_by, greedy_session

HEAD = b"One evening the maker went to the"
TAIL = b" river.\n\n\xff It \xe2\x80\x94 slept \xe6\x97\xa5\xe6\x9c\xac.\x1b "
WAYS = (
    "weave", "word", "sample", "sentence", "step", "play", "fly", "paste", "write", "leave",
    "undo", "redo", "kill",
)  # fmt: skip


def story(begun: Session) -> bytes:
    return begun.document.bytes_before(len(begun.document.text))


def middle(head: bytes = HEAD, tail: bytes = TAIL, begun: Session | None = None) -> Session:
    begun = begun or greedy_session(head + tail)
    begun.move(begun.document.display_offset(len(head)))
    return begun


async def inserted(begun: Session) -> bytes:
    """Take the best suggestion at the cursor; what it added."""
    before = len(story(begun))
    begun.weave()
    await begun.wait()
    assert begun.view is not None
    at = len(begun.document.bytes_before(begun.document.cursor))
    begun.accept(begun.view.suggestions[0].tail)
    return story(begun)[at : at + len(story(begun)) - before]


async def act(begun: Session, way: str) -> None:
    """Let the model or the person write at the cursor in one of the ways there are."""
    document = begun.document
    match way:
        case "weave" | "word":
            begun.weave()
            await begun.wait()
            assert begun.view is not None
            tail = begun.view.suggestions[0].tail if begun.view.suggestions else ()
            begun.accept(begun.word_of(tail) if way == "word" else tail)
        case "sample":
            begun.samples.start(2, 4, sentence=False)
            await begun.samples.task.wait()
            assert begun.view is not None
            drawn = [row.tail for row in begun.view.branches if row.sampled]
            if drawn:
                begun.accept(drawn[0])
        case "sentence":
            sentences = Sentences(begun, lambda: None)
            sentences.start(2, 12)
            await sentences.task.wait()
            if sentences.offers:
                sentences.pick(sentences.offers[0])
            sentences.close()
        case "step":
            begun.player.step()
            await begun.player.task.wait()
        case "play":
            end = begun.player.drawn + 5
            begun.player.landed = lambda change: (
                begun.player.pause() if begun.player.drawn >= end else None
            )
            begun.player.play()
            await begun.player.task.wait()
        case "fly":
            begun.autopilot.start(2)
            await begun.autopilot.task.wait()
        case "paste":
            begun.edit(document.cursor, document.cursor, "two\r\nlines, 日本 ")
        case "write":
            begun.edit(document.cursor, document.cursor, " a")
        case "leave":
            before = story(begun)
            begun.end_here()
            assert before.startswith(story(begun))
            begun.undo()
            assert story(begun) == before
            # A redo would leave it again.
            begun.edit(document.cursor, document.cursor, " a")
        case "undo":
            begun.undo()
        case "redo":
            begun.redo()


async def walk(path: Path, ways: list[str]) -> None:
    """Write in the middle of a new loom's story in these ways, then undo and redo it all."""

    def opened(document: Document) -> Session:
        begun = Session(document)
        begun.attach(ScriptedBackend())
        draw_by(begun, SEEDED)
        begun.player.speed = float("inf")
        return begun

    begun = opened(Document.create(path, HEAD + TAIL, WeaveSettings(depth=3, beams=3)))
    middle(begun=begun)
    first = state(begun.document)
    for way in ways:
        if way == "kill":
            # The files as they stand while the other still has them open.
            begun.document.undo_log.flush()
            copy = path.with_name(f"again-{path.name}")
            for end in ("", "-wal"):
                if (left := Path(f"{path}{end}")).exists():
                    shutil.copyfile(left, f"{copy}{end}")
            was, cursor = state(begun.document), begun.document.cursor
            await begun.close()
            path = copy
            again = Document.open(path)
            assert state(again) == was
            assert again.cursor == cursor
            # Where the sampler's settings were undone, they are a new step.
            begun = opened(again)
        else:
            await act(begun, way)
        assert story(begun).startswith(HEAD)
        assert story(begun).endswith(TAIL)
        check(begun.document)
        begun.document.loom.check()
    document = begun.document
    document.checkpoint()
    moments = [state(document)]
    while document.undo_label is not None:
        begun.undo()
        moments.append(state(document))
        assert story(begun).endswith(TAIL)
    assert story(begun) == HEAD + TAIL
    assert moments[-1][0] == first[0]
    for moment in moments[-2::-1]:
        begun.redo()
        assert state(document) == moment
    await begun.close()
