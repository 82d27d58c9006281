"""`llterm weave` in a real terminal: what it opens, makes, and refuses."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from llterm.session.document import Document
from tests.helpers.program import folders
from tests.helpers.terminal import Terminal, llterm, process_state

pytestmark = pytest.mark.pty

QUIT = "\x11"


def start(home: Path, *arguments: str, **environment: str) -> Terminal:
    command = llterm("weave", "-m", "scripted", *arguments)
    return Terminal(command, env={**folders(home), **environment}, cwd=home)


def leave(terminal: Terminal) -> None:
    terminal.send(QUIT)
    assert terminal.wait() == 0
    assert terminal.restored, terminal.left_on


def story(path: Path) -> str:
    document = Document.open(path)
    try:
        return document.text
    finally:
        document.close()


def test_a_text_is_imported_beside_it_and_never_overwritten(tmp_path: Path) -> None:
    text = tmp_path / "tale.txt"
    text.write_bytes(b"Every evening the cat\xff")
    with start(tmp_path, "tale.txt") as terminal:
        terminal.wait_for("Every evening")
        terminal.send("!")
        terminal.wait_for("!")
        leave(terminal)
    assert text.read_bytes() == b"Every evening the cat\xff"
    first = story(tmp_path / "tale.loom")
    assert first.startswith("Every evening the cat")
    with start(tmp_path, "tale.txt") as terminal:
        terminal.wait_for("is there already")
        terminal.wait_for("Every evening")
        leave(terminal)
    assert story(tmp_path / "tale.loom") == first


def test_a_paste_is_text_also_where_it_holds_keys(tmp_path: Path) -> None:
    with start(tmp_path, "a.loom") as terminal:
        terminal.wait_for("your own")
        terminal.send(f"\x1b[200~a \x1b[31mred\x1b[0m cat{QUIT}\x1b{QUIT}\x1b[201~!")
        terminal.wait_for("!")
        leave(terminal)
    assert story(tmp_path / "a.loom") == "a ␛[31mred␛[0m cat␑␛␑!"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_is_painted_anew_after_it_was_stopped(tmp_path: Path) -> None:
    with start(tmp_path, "--prompt", "Every evening the cat") as terminal:
        terminal.wait_for("Every evening")
        terminal.signal(signal.SIGTSTP)
        terminal.wait_for(lambda _: process_state(terminal.pid) == "T")
        terminal.settle()
        stopped = len(terminal.output)
        os.killpg(terminal.pid, signal.SIGCONT)
        terminal.wait_for(lambda _: b"Every evening" in terminal.output[stopped:])
        leave(terminal)


def test_a_nameless_story_is_kept_in_the_data_folder(tmp_path: Path) -> None:
    with start(tmp_path, "--prompt", "Every evening the cat") as terminal:
        terminal.wait_for("Every evening")
        leave(terminal)
    (loom,) = (tmp_path / "data" / "looms").iterdir()
    assert loom.suffix == ".loom"
    assert story(loom) == "Every evening the cat"


REFUSED = [
    (("a.loom", "--prompt", "x"), 2, "has a story already"),
    (("no/a.loom",), 2, "no folder"),
    (("bad.loom",), 2, "bad.loom"),
    (("-",), 2, "reads keys"),
    (("-m", "gone.gguf"), 4, "gone.gguf"),
    (("-m", "bad.loom"), 4, "not a GGUF"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED)
def test_refused_before_the_screen_is_taken(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    Document.create(tmp_path / "a.loom", b"a story").close()
    (tmp_path / "bad.loom").write_bytes(b"no loom")
    with start(tmp_path, *arguments) as terminal:
        assert terminal.wait() == code
        assert b"\x1b[?1049h" not in terminal.output
        assert terminal.restored
        said = terminal.output.decode()
    assert "llterm: " in said
    assert words in said
    assert "\n  " in said.replace("\r", "")


def test_a_terminal_that_cannot_draw_gets_one_weave(tmp_path: Path) -> None:
    with start(tmp_path, "--prompt", "Every evening the cat", TERM="dumb") as terminal:
        assert terminal.wait() == 0
        said = terminal.output.decode()
    assert "TERM is dumb" in said
    assert "%" in said
