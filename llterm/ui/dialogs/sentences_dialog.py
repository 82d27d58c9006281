"""Sentence beams: a list of whole sentences, one of which goes on the story, round after round."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm.backends.registry import KnownModel, open_model
from llterm.core.display_text import label_text
from llterm.core.query import Backend
from llterm.core.suggestion_tree import mean_of
from llterm.errors import LltermError
from llterm.number_format import joint
from llterm.session.manuscript import Change
from llterm.session.sentences import SentenceOffer, Sentences
from llterm.session.session import Session
from llterm.ui.dialogs.dialog import ListDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.text_dialogs import TextDialog
from llterm.ui.launch import ScreenOptions
from llterm.ui.notices import show_trouble
from llterm.ui.server_words import matter

EVERY = 0.12
"""Seconds between two looks at what was drawn meanwhile."""
TOKENS = 64
"""Most tokens of a sentence."""
STORY = 400
"""Characters of the story's end that stand above the sentences."""


class WriteIn(TextDialog):
    """A sentence of the person's own."""

    TITLE = "Write a sentence yourself"
    KEYS = "^J put it into the story   Esc give up"


class SentencesDialog(ListDialog[None]):
    """A sitting. Every pick is in the loom at once, and undone like any other accept."""

    TITLE = "Sentence beams"
    KEYS = "⏎ take  Space keep  W write  B back  R again  M add a model  Esc done"
    BINDINGS = [  # noqa: RUF012
        Binding("space", "keep", show=False, priority=True),
        Binding("w", "write", show=False),
        Binding("b", "back", show=False),
        Binding("r", "again", show=False),
        Binding("m", "join", show=False),
    ]

    def __init__(
        self, session: Session, options: ScreenOptions, follow: Callable[[Change], object]
    ) -> None:
        """`follow` shows a change of the story."""
        super().__init__()
        self._session, self._options, self._follow = session, options, follow
        self.sentences = Sentences(session, self._mark)
        self._offers: list[SentenceOffer] = []
        self._joined: list[Backend] = []
        self._new = True

    def body(self) -> ComposeResult:
        with VerticalScroll(can_focus=False, classes="sentences--story"):
            yield Static(id="told", markup=False)
        yield OptionList(markup=False, compact=True)
        yield Static(id="chosen", classes="dialog--note", markup=False)

    def on_mount(self) -> None:
        self.options.focus()
        self.set_interval(EVERY, self._show)
        self.action_again()

    def on_unmount(self) -> None:
        self.sentences.close()
        for backend in self._joined:
            self._session.let_go(backend.close())

    # --- keys

    def action_keep(self) -> None:
        if (offer := self._chosen) is not None:
            self.sentences.keep(offer)
            self._show(offer)

    def action_write(self) -> None:
        def done(text: str | None) -> None:
            if text:
                self._landed(self.sentences.write(text))

        self.app.push_screen(WriteIn(""), done)

    def action_back(self) -> None:
        change = self.sentences.back()
        if change is not None:
            self._landed(change)

    def action_join(self) -> None:
        def done(chosen: KnownModel | str | None) -> None:
            if isinstance(chosen, KnownModel):
                self.run_worker(self._join(chosen), group="join")

        self.app.push_screen(ModelsDialog(self._options.launch.config, ""), done)

    @on(OptionList.OptionSelected)
    def _take(self) -> None:
        if (offer := self._chosen) is None:
            return
        try:
            self._landed(self.sentences.pick(offer))
        except LltermError as error:
            show_trouble(self, error)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._show_chosen()

    # --- inner workings

    async def _join(self, chosen: KnownModel) -> None:
        """Open one more model for this sitting; it writes from the next round on."""
        launch = self._options.launch
        try:
            backend = await open_model(chosen.typed, launch.config, launch.overrides)
        except LltermError as error:
            show_trouble(self, error)
            return
        self._joined.append(backend)
        self.sentences.join(backend)
        self.action_again()

    @property
    def _chosen(self) -> SentenceOffer | None:
        at = self.options.highlighted
        return self._offers[at] if at is not None and at < len(self._offers) else None

    def _mark(self) -> None:
        self._new = True

    def _landed(self, change: Change) -> None:
        self._follow(change)
        self.action_again()

    def action_again(self) -> None:
        """Another round of sentences."""
        self.sentences.start(self._options.ui.sample_lines, TOKENS)
        self._show()

    def _show(self, chosen: SentenceOffer | None = None) -> None:
        """Show what there is, where something is new; the same sentence stays highlighted."""
        if not self._new:
            return
        self._new = False
        chosen = chosen or self._chosen
        self._offers = self.sentences.offers
        options = self.options
        options.clear_options()
        options.add_options(Option(_line(one)) for one in self._offers)
        if self._offers:
            at = self._offers.index(chosen) if chosen in self._offers else 0
            options.highlighted = at
        document = self._session.document
        told = document.text[: document.cursor][-STORY:]
        self.query_one("#told", Static).update(Content(told))
        self.query_one(VerticalScroll).scroll_end(animate=False)
        self._show_chosen()

    def _show_chosen(self) -> None:
        offer, error = self._chosen, self.sentences.error
        pieces = []
        if self.sentences.running:
            pieces.append(f"{' and '.join(map(label_text, self.sentences.models))} …")
        if waited_for := [one for news in self.sentences.news for one in news.waited_for]:
            pieces.append(f"{matter(waited_for, named=True)}, asking again")
        if error is not None:
            pieces.append(error.title)
        if offer is not None:
            steps = offer.sample.adding
            figures = joint(offer.sample.logprob, len(steps), mean_of(steps))
            pieces += [label_text(offer.source.name), figures]
        self.query_one("#chosen", Static).update(Content(" · ".join(pieces)))


def _line(offer: SentenceOffer) -> Content:
    going = " …" if offer.sample.finish is None else ""
    return Content.assemble("● " if offer.kept else "  ", offer.text, going)
