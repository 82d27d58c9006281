"""What led the model to a token: the text before it, shaded by what each token contributed."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.style import Style as ContentStyle
from textual.widgets import Static
from textual.worker import Worker

from llterm.core.attribution import Attribution
from llterm.core.attribution_methods import METHODS, SHARES, SIGNED, AttributionSettings, Method
from llterm.core.display_text import visible
from llterm.core.tokens import Token, Vocabulary
from llterm.engine.attribute import Attributions
from llterm.errors import LltermError
from llterm.number_format import count_of, percent
from llterm.ui.dialogs.attributed_story import AttributedStory, TokenShading
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.notices import sentences_of
from llterm.ui.widgets.status_line import StatusLine

_LASTS = (16, 32, 64, 128, 256, 512)
"""How many tokens are left out, one by one."""


class AttributionDialog(Dialog[None]):
    """Methods on `m`; the costly ones wait for enter."""

    TITLE = "What led to this token"
    KEYS = "m method  + - layer, count  Enter start  ^G stop  Esc back"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("m", "method(1)", "Another method", show=False),
        Binding("M", "method(-1)", "The method before", show=False),
        Binding("plus,equals_sign", "more(1)", "The next layer, or more tokens", show=False),
        Binding("minus", "more(-1)", "The layer before, or fewer tokens", show=False),
        Binding("enter", "start", "Start", show=False),
        Binding("ctrl+g", "stop", "Stop", show=False),
    ]

    def __init__(
        self,
        attributing: Attributions,
        vocabulary: Vocabulary,
        let_go: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`let_go` closes what was started for it."""
        super().__init__()
        self._let_go = let_go
        self._attributing = attributing
        self._how = AttributionSettings()
        self._worker: Worker[None] | None = None
        self._share: float | None = None
        """Of the work under way; None: there is none."""
        self._error: LltermError | None = None
        question = attributing.question
        self._tokens = [vocabulary.token(id) for id in question.tokens[question.head :]]
        self._target = vocabulary.token(question.target)

    def body(self) -> ComposeResult:
        yield StatusLine(id="attribution-method")
        yield Static("", id="attribution-figure", markup=False)
        yield AttributedStory(self._tell_figure, id="attribution-text")
        yield StatusLine(id="attribution-most")
        yield Static("", id="attribution-notes", classes="dialog--note", markup=False)

    def on_mount(self) -> None:
        text = self.query_one(AttributedStory)
        text.focus()
        self._show()
        # The text is laid out after this; its end is where the token is.
        self.call_after_refresh(text.go_to, len(self._tokens) - 1)
        self._begin()

    def on_unmount(self) -> None:
        self._halt()
        self._let_go(self._attributing.close())

    # --- what keys do

    def action_method(self, step: int) -> None:
        methods: list[Method] = list(METHODS)
        at = (methods.index(self._how.method) + step) % len(methods)
        self._choose(replace(self._how, method=methods[at]))

    def action_more(self, step: int) -> None:
        """Another layer, or another number of tokens to leave out."""
        how = self._how
        if how.method == "attention-layer":
            layers = self._layers or (0,)
            at = layers.index(how.layer) if how.layer in layers else 0
            self._choose(replace(how, layer=layers[min(max(at + step, 0), len(layers) - 1)]))
        elif how.method == "leave-one-out":
            at = min(max(_LASTS.index(how.last) + step, 0), len(_LASTS) - 1)
            self._choose(replace(how, last=_LASTS[at]))

    def action_start(self) -> None:
        self._begin(asked=True)

    def action_stop(self) -> None:
        self._halt()
        self._show()

    # --- the work

    @property
    def _found(self) -> Attribution | None:
        return self._attributing.known(self._how)

    @property
    def _layers(self) -> tuple[int, ...]:
        """The layers with attention, once they are known."""
        known = self._attributing.known(AttributionSettings())
        return known.layers if known is not None else ()

    def _choose(self, how: AttributionSettings) -> None:
        if how.method == "attention-layer" and self._layers and how.layer not in self._layers:
            how = replace(how, layer=self._layers[0])
        self._halt()
        self._how, self._error = how, None
        self._show()
        self._begin()

    def _begin(self, *, asked: bool = False) -> None:
        """Start the work: attention at once, the others when they are asked for."""
        ready = METHODS[self._how.method] == "attention" or asked
        if self._found is not None or self._share is not None or not ready:
            return
        self._share, self._error = 0.0, None
        self._worker = self.run_worker(self._work(self._how), exit_on_error=False)
        self._show()

    def _halt(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
        self._worker, self._share = None, None

    async def _work(self, how: AttributionSettings) -> None:
        def progress(share: float) -> None:
            if how == self._how and self._share is not None:
                self._share = share
                self._tell_method()

        try:
            await self._attributing.ask(how, progress)
        except LltermError as error:
            if how == self._how:
                self._error = error
        if how == self._how:
            self._share = None
            self._show()

    # --- showing

    def _show(self) -> None:
        attribution, count = self._found, len(self._tokens)
        values: list[float | None] = [None] * (count + 1)
        if attribution is not None:
            start = count - len(attribution.values)
            values[start:count] = attribution.heat.tolist()
        data = [token.data for token in (*self._tokens, self._target)]
        signed = self._how.method in SIGNED
        text = self.query_one(AttributedStory)
        text.show(TokenShading(data, values, signed=signed, target=count))
        self._tell_method()
        self._tell_figure()
        self._tell_most()
        self._tell_notes()

    def _tell_method(self) -> None:
        title = f"{_label(self._target)} ← {self._how.title}"
        pieces = [title]
        if self._share is not None:
            pieces = [f"{title}: {self._share:.0%}", "^G stops"]
        self.query_one("#attribution-method", StatusLine).say(*pieces)

    def _tell_figure(self) -> None:
        """The scale, and the figure of the token at the cursor."""
        text, attribution, count = self.query_one(AttributedStory), self._found, len(self._tokens)
        parts: list[tuple[str, ContentStyle] | str] = []
        if attribution is not None:
            parts += [(one, ContentStyle.from_rich_style(style)) for one, style in text.legend()]
            parts.append(" ")
        number = text.chosen
        token = self._target if number >= count else self._tokens[number]
        parts.append(f"{_label(token)} ")
        if number >= count:
            parts.append("the token in question")
        elif attribution is not None:
            parts.append(_figure(attribution, number - (count - len(attribution.values))))
        self.query_one("#attribution-figure", Static).update(Content.assemble(*parts))

    def _tell_most(self) -> None:
        attribution = self._found
        pieces = []
        if attribution is not None:
            start = len(self._tokens) - len(attribution.values)
            for place in attribution.strongest(6):
                pieces.append(f"{_label(self._tokens[start + place])} {attribution.told(place)}")
            pieces[0] = f"most: {pieces[0]}"
        self.query_one("#attribution-most", StatusLine).say(*pieces)

    def _tell_notes(self) -> None:
        """What is wrong, or to be known of the values, or what they will take."""
        if self._error is None and self._found is None:
            try:
                price = self._attributing.price(self._how).told
                note_text = f"{'Enter starts it: ' if self._share is None else ''}{price}"
            except LltermError as error:
                self._error = error
        if (wrong := self._error) is not None:
            note_text = sentences_of(wrong)
        elif self._found is not None:
            note_text = "; ".join(_notes(self._found))
        note = self.query_one("#attribution-notes", Static)
        note.set_class(wrong is not None, "-wrong")
        note.update(note_text)


def _label(token: Token) -> str:
    return visible(token.data) or "·"


def _figure(attribution: Attribution, place: int) -> str:
    """What one token contributed."""
    if place < 0:
        return "has no value of its own"
    share = attribution.told(place)
    if attribution.without is not None and attribution.logprob is not None:
        here, gone = _percent(attribution.logprob), _percent(float(attribution.without[place]))
        return f"{share}: {here}, {gone} without it"
    return share


def _percent(logprob: float) -> str:
    return percent(math.exp(min(logprob, 0.0)))


def _notes(attribution: Attribution) -> list[str]:
    """What a reader should know of these values."""
    notes = list(attribution.notes)
    if attribution.elsewhere is not None and attribution.how.method in SHARES:
        notes.append(f"{attribution.elsewhere:.1%} goes to what stands before the text shown")
    if attribution.gap is not None:
        notes.append(f"{count_of(attribution.steps, 'step')}; the sum is {attribution.gap:.1%} off")
    return notes
