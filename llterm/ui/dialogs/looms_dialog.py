"""The looms there are: open one, begin another, rename, duplicate, delete with a way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm.core.display_text import label_text
from llterm.number_format import count_of
from llterm.session import looms, stories
from llterm.session.stories import Story
from llterm.store.loom_summary import LoomSummary
from llterm.ui.dialogs.dialog import FilesDialog
from llterm.ui.dialogs.stories_dialog import beginning, heading
from llterm.ui.dialogs.text_dialogs import AskLine
from llterm.ui.key_gate import AWAITED
from llterm.ui.widgets.text_fit import crop, fill

LoomChoice = Path | Story
"""A loom to open, or a starting story."""
NAME = 24


class LoomsDialog(FilesDialog[LoomChoice]):
    """Gives back what to go on with; None is the loom that is open."""

    TITLE = "Looms"
    KEYS = "⏎ open  R rename  C duplicate  D delete  U undo  Esc close"
    BINDINGS = [  # noqa: RUF012
        Binding("n", "cancel", show=False),
        Binding("c", "duplicate", show=False),
    ]

    def __init__(self, used: Path | None, *, begin: bool) -> None:
        """`used`: the loom that is open. `begin`: it is a new, empty one."""
        super().__init__()
        self._used = used.absolute() if used is not None else None
        self._begin = begin
        self._cards: Sequence[LoomSummary] = ()
        self._stories: Sequence[Story] = ()
        if begin:
            self.KEYS = "⏎ open  N or Esc new  R rename  C duplicate  D delete  U undo"

    def body(self) -> ComposeResult:
        yield OptionList(markup=False, compact=True)
        yield Static("", id="told", classes="dialog--note", markup=False)

    def on_mount(self) -> None:
        self._list(0)

    def _list(self, index: int) -> None:
        self.run_worker(self._look(index), exclusive=True, group=AWAITED)

    async def _look(self, index: int) -> None:
        """Fill the list: disks may be slow, and the app must not wait for them."""
        cards = await asyncio.to_thread(looms.looms)
        self._cards = [one for one in cards if not self._begin or one.path != self._used]
        self._stories = stories.starting_stories()
        options = self.options
        options.clear_options()
        now = time.time()
        # What the frame, the mark and the figures leave of a line.
        room = max(min(self.size.width * 96 // 100, 100) - 60, 0)
        options.add_options(Option(_line(card, card.path == self._used, now, room))
                            for card in self._cards)  # fmt: skip
        options.add_options(
            Option(Content.assemble("  ", (heading(story), "bold"), (_kind(story), "$ghost")))
            for story in self._stories
        )
        options.highlighted = min(index, options.option_count - 1)
        options.focus()

    @property
    def _card(self) -> LoomSummary | None:
        index = self.options.highlighted
        return self._cards[index] if index is not None and index < len(self._cards) else None

    @property
    def _story(self) -> Story:
        """The starting story on the highlighted row, where that is no loom."""
        return self._stories[(self.options.highlighted or 0) - len(self._cards)]

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        card = self._card
        if card is None:
            self._tell(beginning(self._story))
        else:
            folder = label_text(str(card.path.parent))
            self._tell(f"… {card.trouble or card.ending or 'empty'}\n{folder}")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        card = self._card
        if card is None:
            self.dismiss(self._story)
        elif card.path == self._used:
            self.dismiss(None)
        else:
            self.dismiss(card.path)

    # --- what can be done with one

    def action_rename(self) -> None:
        card = self._card
        rename: Callable[[str], object]
        if card is None:
            story = self._story
            path, title, rename = story.path, story.title, partial(stories.rename, story)
        else:
            path, title, rename = card.path, card.title, partial(looms.rename, card.path)

        def done(name: str | None) -> None:
            if name:
                self._do(lambda: rename(name), f"renamed to {name}")

        if path is None:
            done(title)
        else:
            self.app.push_screen(AskLine("Rename", str(path), title), done)

    def action_duplicate(self) -> None:
        card = self._card
        if card is not None:
            self._do(lambda: looms.remember(looms.duplicate(card.path)), "duplicated")

    def _delete(self) -> Callable[[], object]:
        card = self._card
        if card is None:
            return stories.delete(self._story)
        return partial(looms.restore, looms.delete(card.path))

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(Content(text))


def _kind(story: Story) -> str:
    return "  a starting story of yours" if story.path else "  a starting story"


def _line(card: LoomSummary, used: bool, now: float, room: int) -> Content:
    """Mark, name, when, how large, how it begins."""
    words = count_of(card.nodes, "node")
    return Content.assemble(
        "● " if used else "  ",
        (fill(label_text(card.title), NAME), "bold"),
        f" {_ago(now - card.changed):>9} {words:>13}  ",
        (card.trouble, "$warning") if card.trouble else (crop(card.beginning, room), "$ghost"),
    )


def _ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:,.0f} {unit} ago"
    return "just now"
