"""What a loom says where a command takes it in place of a text."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llterm.constraints.spec import Constraint, read_constraint
from llterm.core.chat_messages import Chat, read_chat
from llterm.core.display_text import DisplayText
from llterm.core.pieces import Run
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import LltermError
from llterm.jobs.inputs import check_is_loom
from llterm.store.database import to_look
from llterm.store.file import LoomFile
from llterm.store.stored_settings import read_rules, read_sampling


@dataclass(frozen=True, slots=True)
class LoomStory:
    """A loom's story and the settings that it brings."""

    text: bytes
    """All of it."""
    runs: Sequence[Run]
    """Up to the cursor, by author, a model's text in its own tokens; empty where those were not
    asked for."""
    prefix: str
    chat: Chat
    """What the story is a reply to; empty where it is none."""
    rules: WeaveSettings
    constraint: Constraint | None
    """What the loom's suggestions must fit."""
    sampling: Sampling | None
    """None where the loom has no sampler settings of its own."""
    saved_weave: bytes
    """The suggestions that the loom keeps for the story's end (`store.saved_weave`)."""
    damage: str
    """What of the loom is damaged and was not needed; empty where all is sound."""

    @property
    def replied(self) -> Chat | None:
        """What the story is a reply to, the hidden prefix included; None where it is none."""
        return self.chat.with_prefix(self.prefix) if self.chat else None


def read_story(loom: Path, *, tokens: bool = True) -> LoomStory:
    """Read it of a copy: the file stays as it is, and another llterm may have it open.

    Without `tokens` only texts and settings are read, also where the tokens are damaged.
    Raises UsageError where it cannot be read.
    """
    check_is_loom(loom)
    with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
        copy = Path(folder) / loom.name
        try:
            with closing(to_look(loom)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error:
            # Opening it as a loom says in full what is wrong.
            shutil.copyfile(loom, copy)
        try:
            with closing(LoomFile(copy)) as file:
                return _story(file, loom, tokens=tokens)
        except LltermError as error:
            # Of the copy nobody knows.
            error.cause = error.cause.replace(str(copy), str(loom))
            error.hint = error.hint.replace(str(copy), str(loom))
            raise


def _story(file: LoomFile, path: Path, *, tokens: bool) -> LoomStory:
    contents = file.load()
    loom, meta = contents.loom, contents.meta
    text = loom.text()
    display = DisplayText.of(text)
    size = len(text)
    cursor = int(meta.get("cursor", len(display.text)))
    if cursor < len(display.text):
        size = display.byte_offset(max(cursor, 0))
    return LoomStory(
        text=text,
        runs=loom.runs_before(size) if tokens else (),
        prefix=str(meta.get("prefix", "")),
        chat=read_chat(str(meta.get("chat", ""))),
        rules=read_rules(str(meta.get("rules", "{}"))),
        constraint=read_constraint(str(meta.get("constraint", ""))),
        sampling=read_sampling(str(meta.get("sampling", "{}"))),
        saved_weave=(file.late.weave(loom.head) or b"") if tokens else b"",
        damage=file.damage.replace(str(file.path), str(path)),
    )
