"""What the model would call a text: labels to type, and bars that grow as it tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llterm.core.classification.verdict_words import certainty, label_bars, other_wanted
from llterm.core.display_text import visible
from llterm.errors import LltermError
from llterm.number_format import count_of
from llterm.session.label_reader import LabelForm, LabelReader
from llterm.session.session import Session
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.launch import ScreenOptions
from llterm.ui.notices import refusal
from llterm.ui.server_words import matter
from llterm.ui.widgets.fields import Area
from llterm.ui.widgets.status_line import StatusLine
from llterm.ui.widgets.text_fit import crop_left

EVERY = 0.12
"""Seconds between two looks at what was told meanwhile."""
END = 2000
"""Bytes of the text's end that are looked at for its last words."""
LABELS = "Labels, with a comma between or one a line"
QUESTION = "A question, or a template with {text}; may be empty"
MODES = {
    False: "A label goes on the text (F5: it answers in a chat)",
    True: "A label answers in a chat (F5: it goes on the text)",
}


class LabelsDialog(Dialog[None]):
    """Asks at once where labels were typed before."""

    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    KEYS = "^J ask   F5 chat   Tab other field   ^G stop   Esc close"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("ctrl+j,ctrl+enter,ctrl+s", "ask", "Ask", show=False, priority=True),
        Binding("f5", "chat", "In a chat, or not", show=False, priority=True),
        Binding("ctrl+g", "stop", "Stop", show=False, priority=True),
    ]

    def __init__(self, session: Session, options: ScreenOptions, text: bytes, what: str) -> None:
        """`text` is what is asked about; `what` names it."""
        super().__init__()
        self.title = f"What the model would call {what}"
        self._session, self._options = session, options
        self._end = visible(text[-END:])
        self.reading = LabelReader(session, text, self._mark)
        self._new = True
        self._told: LltermError | None = None
        """The error that is shown."""

    def body(self) -> ComposeResult:
        form = self._options.labels
        for name, typed, note in (
            ("labels", form.labels, LABELS),
            ("question", form.question, QUESTION),
        ):
            yield Static(note, classes="dialog--note", markup=False)
            yield Area(typed, placeholder=note, id=name)
        yield StatusLine(id="mode")
        yield StatusLine(id="end")
        with VerticalScroll():
            yield Static("", id="bars", markup=False)
        yield Static("", id="told", classes="setting--note", markup=False)

    def on_mount(self) -> None:
        area = self.query_one("#labels", Area)
        area.focus()
        area.move_cursor(area.document.end)
        self._show_mode()
        self._show_end()
        self.set_interval(EVERY, self._show)
        if self._options.labels.labels.strip():
            self.action_ask()

    def on_resize(self) -> None:
        self._new = True
        self.call_after_refresh(self._show_end)

    def on_unmount(self) -> None:
        self._session.let_go(self.reading.close())

    # --- what keys do

    def action_ask(self) -> None:
        """Ask for the labels as they are typed now."""
        self._keep()
        self.reading.start(self._options.labels)
        self._show()

    def action_chat(self) -> None:
        """Ask in a chat, or not; anew, where something was asked."""
        self._keep()
        form = self._options.labels
        self._options.labels = replace(form, chat=not form.chat)
        self._show_mode()
        if form.labels.strip():
            self.action_ask()

    def action_stop(self) -> None:
        self.reading.stop()
        self._show()

    def action_cancel(self) -> None:
        self._keep()
        super().action_cancel()

    # --- inner workings

    def _mark(self) -> None:
        self._new = True

    def _keep(self) -> None:
        """Remember what is typed."""
        labels, question = self.query_one("#labels", Area), self.query_one("#question", Area)
        self._options.labels = LabelForm(labels.text, question.text, self._options.labels.chat)

    def _show_mode(self) -> None:
        self.query_one("#mode", StatusLine).say(MODES[self._options.labels.chat])

    def _show_end(self) -> None:
        """The text's last words, after which the labels stand."""
        line = self.query_one("#end", StatusLine)
        line.say(crop_left(self._end, line.size.width))

    def _show(self) -> None:
        """Show what is known, where something is new."""
        reading = self.reading
        if not self._new and reading.error is self._told:
            return
        self._new, self._told = False, reading.error
        columns = self.query_one(VerticalScroll).scrollable_content_region.width
        bars = label_bars(reading.verdict, columns) if reading.verdict is not None else []
        self.query_one("#bars", Static).update(Content("\n".join(bars)))
        if reading.error is not None:
            self.note(refusal(reading.error), wrong=True)
        else:
            self.note(" ".join(self._said()))

    def _said(self) -> Iterator[str]:
        reading, news = self.reading, self._session.news
        if news is not None and news.waited_for and reading.running:
            yield f"{matter(news.waited_for)}, asking again …"
        elif reading.running:
            yield f"Asking: {count_of(reading.cost.tokens, 'token')} evaluated …"
        elif reading.verdict is not None:
            verdict = reading.verdict
            yield other_wanted([verdict]) or certainty(verdict)
            if reading.seen.dropped:
                yield reading.seen.dropping(self._session.model.capabilities.context)
