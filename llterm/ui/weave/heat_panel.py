"""The heat panel: one column a token, one row a rank, colour and glyph for how expected it was.

A line-API widget of its own: it draws what is on screen, some dozen columns, whatever the story's
length. Figures and legend stand in its first line, so that nothing rests on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from llterm.core.display_text import visible
from llterm.core.heat_scale import MEASURES, Measure, ends, heat, height, told
from llterm.core.scored_text import Candidate, TokenReading
from llterm.number_format import of_logprob
from llterm.ramps import Depth, glyph, likely_paint, paint
from llterm.session.reader import StoryToken
from llterm.ui.messages import TokenChosen
from llterm.ui.widgets.text_fit import fill, fit_pieces
from llterm.ui.widgets.token_lines import depth_of, upon

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ORDER: tuple[Measure, ...] = ("surprisal", "probability", "entropy", "rank")
"""The figures that are told of every token, as far as there is room."""
COLUMN = 13
"""Cells a token: ten for its text, a gap, and room for a percent below."""
HEAD = 2
"""The line with the figures, and the strip."""
SURPRISE = 6.0
"""Bits from which a token counts as a surprise: less likely than one in 64."""
FORK_BITS = 3.0
"""Entropy from which a place counts as a fork: as open as eight equal choices …"""
FORK_SECOND = 0.25
"""… or with a second candidate this likely."""
LIKELY = 0.03
"""Candidates from here on have a colour; the others are faint."""


class HeatPanel(Widget, can_focus=True):
    """Shows readings; knows which token and which candidate are chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "heat--ahead",
        "heat--bar",
        "heat--chosen",
        "heat--faint",
        "heat--head",
    }
    HELP = "The story's tokens as the model sees them; under each what was expected there."

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.depth: Depth = "none"
        self._places: Sequence[StoryToken] = ()
        self._readings: Sequence[TokenReading | None] = ()
        self.left = 0
        """The first token that has a column."""
        self._strip_left = 0
        """The first token that has a cell in the strip."""
        self._notes: tuple[str, ...] = ()
        self._standing_places = 0
        self._charted = False
        self.following = True
        """Whether the chosen token is the one at the story's cursor, until somebody moves here."""
        self.measure: Measure = "surprisal"
        self.chosen = 0
        """Number of the chosen token."""
        self._sought = -1
        """The token that `seek_hottest` went to last."""
        self.entered_at = 0
        """Where the story's cursor was when somebody came here."""
        self.entered_stale = False
        """Whether the suggestions were those of another place then."""
        self.row = 0
        """Chosen candidate: 0 = none, n = the nth most probable."""

    # --- what it shows

    def show(
        self,
        places: Sequence[StoryToken],
        readings: Sequence[TokenReading | None],
        suggested: Sequence[TokenReading],
        at: int,
        notes: tuple[str, ...],
    ) -> None:
        """Show the story's tokens and, after them, those of a suggestion.

        `at` is the place of the story's cursor; `notes` say what is not read or not seen.
        """
        ahead = [StoryToken(one.token.id, one.token.data, -1) for one in suggested]
        before = self._places, self._readings, self._notes, self.chosen, self.left
        self._standing_places = len(places)
        self._places, self._readings = [*places, *ahead], [*readings, *suggested]
        self._notes = notes
        number = at if self.following else self.chosen
        self.chosen = min(max(number, 0), max(len(self._places) - 1, 0))
        self._follow()
        if before != (self._places, self._readings, self._notes, self.chosen, self.left):
            self.refresh()

    @property
    def in_story(self) -> bool:
        """Whether the chosen token stands in the story, not in a suggestion."""
        return self.chosen < self._standing_places

    @property
    def reading(self) -> TokenReading | None:
        """Of the chosen token."""
        return self._readings[self.chosen] if self.chosen < len(self._readings) else None

    @property
    def candidate(self) -> Candidate | None:
        """The chosen candidate."""
        reading = self.reading
        if reading is None or not 0 < self.row <= len(reading.top):
            return None
        return reading.top[self.row - 1]

    # --- moving about

    def choose(self, number: int) -> None:
        """Go to a token; out of range goes to the nearest."""
        self.following = False
        number = min(max(number, 0), max(len(self._places) - 1, 0))
        before, left, strip = self.chosen, self.left, self._strip_left
        self.chosen, self.row = number, self.row if number == before else 0
        self._follow()
        if (left, strip) != (self.left, self._strip_left) or self._charted:
            self.refresh()
        else:
            self.refresh(*self._regions(before), *self._regions(number))
        if number != before:
            self.post_message(TokenChosen(number))

    def _regions(self, number: int) -> list[Region]:
        """Where a token is drawn: its figures, its cell of the strip, its column."""
        column = Region((number - self.left) * COLUMN, HEAD, COLUMN, self.size.height - HEAD)
        cell = Region(number - self._strip_left, 1, 1, 1)
        return [Region(0, 0, self.size.width, 1), cell, column]

    def move(self, step: int) -> None:
        self.choose(self.chosen + step)

    @property
    def span(self) -> int:
        """Tokens to a page."""
        return max(self._columns - 1, 1)

    def pick(self, step: int) -> None:
        """Up or down among the candidates on screen."""
        reading = self.reading
        most = min(len(reading.top) if reading else 0, self.size.height - HEAD - 1)
        self.row = min(max(self.row + step, 0), max(most, 0))
        self.refresh()

    def seek(self, step: int, *, fork: bool) -> bool:
        """Go to the next surprise or fork in a direction; False where there is none."""
        number = self.chosen + step
        while 0 <= number < len(self._readings):
            reading = self._readings[number]
            if reading is not None and (is_fork(reading) if fork else is_surprise(reading)):
                self.choose(number)
                return True
            number += step
        return False

    def seek_hottest(self) -> None:
        """Go to the story's hottest token under the measure; from there to the next hottest."""
        heats = [
            (-heat(reading, self.measure), number)
            for number, reading in enumerate(self._readings[: self._standing_places])
            if reading is not None
        ]
        order = [number for _, number in sorted(heats)]
        if order:
            again = self.chosen == self._sought and self.chosen in order
            place = order.index(self.chosen) + 1 if again else 0
            self._sought = order[place % len(order)]
            self.choose(self._sought)

    def next_measure(self) -> None:
        self.measure = MEASURES[(MEASURES.index(self.measure) + 1) % len(MEASURES)]
        self.refresh()

    def toggle_chart(self) -> None:
        """Candidates, or the measure as a chart by position."""
        self._charted = not self._charted
        self.refresh()

    @property
    def _columns(self) -> int:
        return max(self.size.width // COLUMN, 1)

    def _follow(self) -> None:
        """Keep the chosen column on screen, with one on either side where there is one."""
        columns = self._columns
        most = max(len(self._places) - columns, 0)
        if not self.left < self.chosen < self.left + columns - 1:
            # Half a page at once: a step at the edge would send all columns again with each key.
            self.left = self.chosen - columns // 2
        self.left = min(max(self.left, 0), most)
        width = self.size.width
        if not self._strip_left < self.chosen < self._strip_left + width - 1:
            self._strip_left = self.chosen - width // 2
        self._strip_left = min(max(self._strip_left, 0), max(len(self._places) - width, 0))

    async def _on_click(self, event: events.Click) -> None:
        if event.y >= HEAD:
            self.choose(self.left + event.x // COLUMN)
            self.row = max(event.y - HEAD, 0)
        elif event.y == 1:
            self.choose(self._strip_left + event.x)
        self.refresh()

    # --- painting

    def on_mount(self) -> None:
        self.depth = depth_of(self.app)

    def on_resize(self) -> None:
        self._follow()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if y == 0:
            segments = self._head_line(base)
        elif y == 1:
            segments = self._strip(base)
        elif self._charted:
            segments = self._chart(y - HEAD, base)
        else:
            segments = self._row(y - HEAD, base)
        return Strip(segments).adjust_cell_length(width, base).simplify()

    def _head_line(self, base: Style) -> list[Segment]:
        faint = base + self._part("faint")
        reading = self.reading
        legend = self._legend(base, faint)
        if reading is None:
            pieces = ["not read yet" if self._places else "no story yet", *self._notes]
        else:
            # The rank is last: most often the mark beside the candidate says it.
            others = [measure for measure in _ORDER if measure != self.measure]
            first, *further = (told(reading, measure) for measure in (self.measure, *others))
            pieces = [visible(reading.token.data), first, *self._notes, *further]
        room = self.size.width - sum(segment.cell_length for segment in legend) - 1
        return [*legend, Segment(f" {fit_pieces(pieces, room)}", faint)]

    def _legend(self, base: Style, faint: Style) -> list[Segment]:
        """The measure, and what the ends of its scale or of its bars stand for."""
        low, high = ends(self.measure)
        name = Segment(f" {self.measure} ", base + self._part("head"))
        if self._charted:
            low, high = sorted((low, high)) if low == "100%" else (low, high)
            return [name, Segment(f"▁ {low}  █ {high} ", faint)]
        scale = [Segment(*self._cell(n / 9, glyph(n / 9), base)) for n in range(10)]
        return [name, Segment(f"{low} ", faint), *scale, Segment(f" {high} ", faint)]

    def _strip(self, base: Style) -> list[Segment]:
        """One cell a token, over the whole width."""
        segments = []
        left = self._strip_left
        for number in range(left, min(left + self.size.width, len(self._readings))):
            reading = self._readings[number]
            if reading is None:
                cell, style = "·", base + self._part("faint")
            else:
                hot = heat(reading, self.measure)
                cell, style = self._cell(hot, glyph(hot), base)
            if number == self.chosen:
                style += self._part("chosen")
                cell = "▲" if cell == " " else cell
            segments.append(Segment(cell, style))
        return segments

    def _chart(self, row: int, base: Style) -> list[Segment]:
        """A bar a token, over the strip's tokens."""
        rows = max(self.size.height - HEAD, 1)
        segments = []
        left = self._strip_left
        for number in range(left, min(left + self.size.width, len(self._readings))):
            reading = self._readings[number]
            figure = height(reading, self.measure) if reading is not None else 0.0
            eighths = round(figure * rows * 8) - 8 * (rows - 1 - row)
            cell = _EIGHTHS[min(max(eighths, 0), 8)]
            style = base + self._part("chosen" if number == self.chosen else "bar")
            segments.append(Segment(cell, style))
        return segments

    def _row(self, rank: int, base: Style) -> list[Segment]:
        """Row 0 has the standing tokens, row n the nth candidates."""
        segments = []
        for number in range(self.left, min(self.left + self._columns, len(self._places))):
            reading = self._readings[number]
            text, style = self._standing(number, reading, base)
            if rank:
                text, style = self._candidate(number, reading, rank, base)
            segments += [
                Segment(text, style),
                Segment(" ", base if style.bgcolor != base.bgcolor else style),
            ]
        return segments

    def _standing(
        self, number: int, reading: TokenReading | None, base: Style
    ) -> tuple[str, Style]:
        label = visible(self._places[number].data) or "·"
        chosen = number == self.chosen
        if reading is None:
            style = base + self._part("faint")
            hot = 0.0
        else:
            hot = heat(reading, self.measure)
            _, style = self._cell(hot, " ", base)
        if number >= self._standing_places:
            style += self._part("ahead")
        if chosen:
            style += self._part("chosen")
        mark = glyph(hot) if self.depth == "none" else (">" if chosen else " ")
        return f"{mark}{fill(label, COLUMN - 2)}", style

    def _candidate(
        self, number: int, reading: TokenReading | None, rank: int, base: Style
    ) -> tuple[str, Style]:
        if reading is None or rank > len(reading.top):
            return " " * (COLUMN - 1), base
        candidate = reading.top[rank - 1]
        stands = candidate.token.id == reading.token.id
        p = math.exp(candidate.logprob)
        figure = of_logprob(candidate.logprob)
        label = fill(visible(candidate.token.data) or "·", COLUMN - 3 - cell_len(figure))
        style = base if stands else base + self._part("faint")
        if self.depth != "none" and p >= LIKELY:
            style = base + upon(likely_paint(p, self.depth))
        if number == self.chosen and rank == self.row:
            style = base + self._part("chosen")
        return f"{'•' if stands else ' '}{label} {figure}", style

    def _cell(self, hot: float, text: str, base: Style) -> tuple[str, Style]:
        """Text upon the colour of a heat; the glyph says it where there are no colours."""
        if self.depth == "none":
            return text, base
        return " " if len(text) == 1 else text, base + upon(paint(hot, self.depth))

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"heat--{name}", partial=True)


def is_surprise(reading: TokenReading) -> bool:
    """The model hardly expected this."""
    return reading.surprisal >= SURPRISE


def is_fork(reading: TokenReading) -> bool:
    """The model was of two minds or more."""
    second = math.exp(reading.top[1].logprob) if len(reading.top) > 1 else 0.0
    return reading.entropy >= FORK_BITS or second >= FORK_SECOND
