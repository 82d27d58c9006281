"""Killed at any moment, a loom opens again, and every accept that was reported is in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llterm.cli.doctor_loom import check_loom
from llterm.session.document import Document
from tests.helpers.tree_commands import kept

CHILD = """
import random, sys
from pathlib import Path
from llterm.errors import UsageError
from llterm.session.document import Document
from tests.session.test_document import model_run

dice = random.Random(int(sys.argv[2]))
document = Document.create(Path(sys.argv[1]), b"Once upon a time.")
count = 0
while True:
    at = dice.randrange(len(document.text) + 1)
    act = dice.choice(["accept", "accept", "edit", "delete", "undo", "redo", "flush", "prefix",
                       "branches", "branches", "branches"])
    node = dice.choice([1, *document.loom.nodes])
    if act == "accept":
        count += 1
        document.accept(model_run(b" <%d>" % count, b" told"), at)
        print(count, flush=True)
    elif act == "edit":
        document.edit(at, at, "typed")
    elif act == "delete":
        document.edit(at, min(at + 3, len(document.text)), "")
    elif act == "prefix":
        document.set_prefix(str(at))
    elif act == "flush":
        document.undo_log.flush()
    elif act == "branches":
        name = dice.choice(["delete", "delete_children", "merge", "trim", "bookmark", "sibling"])
        arguments = [" beside"] if name == "sibling" else []
        try:
            getattr(document.branches, name)(node, *arguments)
        except UsageError:
            pass  # The node is not in the tree any more.
    else:
        getattr(document, act)()
"""


def told(document: Document) -> set[bytes]:
    """The model's texts that are in the tree, in the bin, or one undo or redo away."""
    loom = document.loom
    return {loom.pieces[piece].data for piece in kept(document)}


@pytest.mark.parametrize("seed", range(24))
def test_every_reported_accept_is_there(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.loom"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(seed)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        for _ in range(1 + seed * 3):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split(b"\n")
        # A line cut short by the kill was not reported.
        last = max([last, *map(int, rest[:-1])])
    assert check_loom(path)[1] == 0
    document = Document.open(path)
    assert not document.read_only
    assert {b" <%d> told" % number for number in range(1, last + 1)} <= told(document)
    while document.undo() is not None:
        pass
    assert document.text == "Once upon a time."
    document.close()
