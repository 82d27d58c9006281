"""Every field of the app on a file of another program's, with a stranger's text in every part."""

from __future__ import annotations

import json
from pathlib import Path

from llterm.formats.imports import import_file
from llterm.session.document import Document
from tests.helpers import hostile_text
from tests.helpers.foreign_files import ALL
from tests.helpers.program_home import Start
from tests.helpers.terminal import Terminal

CTRL_L, CTRL_Q, ESCAPE, F7 = "\x0c", "\x11", "\x1b", "\x1b[18~"
ON_STORY = {
    "hidden prefix": (F7, "Hidden prefix"),
    "chat": ("\x1bc", "How it is to behave"),
    "what suggestions must fit": (CTRL_L, "What suggestions must fit"),
    "file stem": ("\x1be", "Export"),
    "keep as a starting story": ("\x1bk", "Keep as a starting story"),
    "find": ("\x06", "find  "),
    "looms": ("\x1bo", "Looms"),
}
ON_BRANCH = {
    "note": ("o", "A note on this branch"),
    "tags": ("t", "Tags"),
    "write": ("a", "Write a branch"),
    "find": ("/", "find  "),
}


def made(home: Path, format: str) -> Path:
    """A loom of a poisoned file, under a name of the same kind."""
    source = json.dumps(hostile_text.poisoned(ALL[format])).encode()
    path = home / f"{format} \x1b]52;c;cHduZWQ=\x07.loom"
    import_file(source, "a.json", format, path)
    document = Document.open(path)
    document.set_chat(json.dumps({"system": hostile_text.TEXT, "message": hostile_text.TEXT}))
    if not document.prefix:
        document.set_prefix(hostile_text.TEXT)
    document.close()
    return path


def look(terminal: Terminal, keys: str, shown: str) -> None:
    """Press a key, see what it opens, and leave."""
    terminal.send(keys)
    terminal.wait_for(shown)
    terminal.send(ESCAPE)
    terminal.wait_for(lambda text: shown not in text)


def look_everywhere(start: Start, home: Path, format: str, rows: int) -> None:
    """Open every field of the app, and those of so many rows of the loom; count what is drawn."""
    terminal = start("weave", made(home, format).name, "-m", "scripted")
    terminal.wait_for("scripted")
    for keys, shown in ON_STORY.values():
        look(terminal, keys, shown)
    terminal.send("\x1bl")
    terminal.wait_for("open")
    terminal.settle()
    for _ in range(rows):
        for keys, shown in ON_BRANCH.values():
            look(terminal, keys, shown)
        terminal.send("j")
        terminal.settle(0.1)
    assert not hostile_text.controls(terminal.output)
    assert "Owned" in terminal.text
    terminal.send(ESCAPE)
    terminal.send(CTRL_Q)
    assert terminal.wait() == 0
