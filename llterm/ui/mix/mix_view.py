"""What the mix screen says. Reads the session and the mix, writes the widgets, decides nothing."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.widgets import Static

from llterm.core.comparison.mixed_place import MixedPlace, ModelAtPlace, cautions
from llterm.core.display_text import label_text, visible
from llterm.engine.mixture import Mix
from llterm.number_format import count_of, percent, spoken_speed
from llterm.ui.mix.mix_panes import MixPanes
from llterm.ui.mix.mixed_story import ShownToken
from llterm.ui.mix.model_columns import (
    ColumnLine,
    ModelChart,
    ModelCharts,
    ModelColumn,
    ModelColumns,
    letter,
)
from llterm.ui.notices import sentences_of
from llterm.ui.server_words import clock, matter
from llterm.ui.widgets.status_line import NameLine, StatusLine
from llterm.ui.widgets.text_fit import fit_pieces

MEASURES: tuple[tuple[str, Callable[[ModelAtPlace], float | None]], ...] = (
    ("probability of the first choice", lambda side: side.choice_p),
    ("mass of the ten most probable", lambda side: side.mass),
    (
        "KL divergence from the {whole}, full at 1 nat",
        lambda side: None if side.kld is None else min(side.kld, 1.0),
    ),
)
"""What charts show, 0 to 1; None where it is not told."""
MANY = 3
"""Models whose letters still fit beside a candidate."""
HOT = 1.0
"""Nats of divergence from which a token is as hot as can be."""


class MixView:
    """The lines and panes of the mix screen, as the mix is now."""

    def __init__(self, screen: MixPanes) -> None:
        self._screen = screen
        self._measure = 0
        """Which of the measures the charts show."""

    def next_measure(self) -> None:
        self._measure = (self._measure + 1) % len(MEASURES)

    def show_all(self) -> None:
        """Show everything but the footer."""
        self._title()
        screen, mix = self._screen, self._screen.mixing.mix
        if mix is None:
            self._loading()
            return
        self._say("#formula", [" " + shown_name(mix.formula)])
        screen.query_one("#state", StatusLine).say(*self._state(mix))
        screen.story.show(self._words(mix), screen.number)
        columns = self._places(mix) if screen.tabled else self._columns(mix)
        row = self._table_row() if screen.tabled else screen.row
        screen.query_one(ModelColumns).show(columns, screen.column, row, bars=not screen.tabled)
        self._show_charts(mix)
        self._say("#figures", self._figures(mix))
        self.show_notes()

    def _place(self) -> MixedPlace | None:
        places = self._screen.mixing.places
        return places[self._screen.number] if self._screen.number < len(places) else None

    def _title(self) -> None:
        player, name = self._screen.session.player, self._screen.main.title_name
        count = len(self._screen.mixing.pieces)
        self._screen.query_one("#name", NameLine).say(name, count_of(count, "token"))
        waiting = self._screen.mixing.waiting
        progress = f"playing, {spoken_speed(player.speed)}" if player.playing else ""
        if not progress and waiting and self._screen.mixing.mix is not None:
            progress = f"reading, {waiting:,} to go"
        line = self._screen.query_one("#model", StatusLine)
        line.styles.width = max(len(progress), 1)
        line.say(progress)

    def _loading(self) -> None:
        session = self._screen.session
        incoming = session.incoming
        if incoming is not None and incoming.waited_for:
            said = f" {matter(incoming.waited_for, named=True)}; asking again."
        elif incoming is not None:
            said = f" Loading {incoming.name} … {100 * incoming.progress:.0f}%"
        elif session.status.error is not None:
            key = self._screen.key("mix.retry")
            said = f" {sentences_of(session.status.error)} {key} tries again."
        else:
            said = " One model writes this story: `llterm mix -m A -m B` starts with several."
        self._say("#formula", [said])

    def _state(self, mix: Mix) -> list[str]:
        recipe, session = mix.recipe, self._screen.session
        said = [f" {recipe.mode}"]
        if recipe.mode == "democratic":
            said.append(f"{recipe.pool.kind} pool")
        if recipe.mode == "round-robin":
            said.append(f"{count_of(recipe.turn, 'token')} a turn")
        if recipe.pool.contrastive and recipe.mode == "democratic":
            said.append(f"plausible from {recipe.pool.plausible:g}")
        said.append(f"sampler {session.sampling.label}")
        if session.document.chat:
            said.append("a reply in a chat")
        if not mix.by_id:
            said.append("byte by byte")
        if not mix.exact and not (recipe.mode == "reference" and mix.by_id):
            # Beside a reference nothing is mixed: what is not told is left out.
            said.append("approximate")
        if mix.unknown > 0.0005:
            said.append(f"{percent(mix.unknown)} unknown")
        return said

    def _words(self, mix: Mix) -> list[ShownToken]:
        mixing, reference = self._screen.mixing, mix.recipe.mode == "reference"
        words = []
        for number, piece in enumerate(mixing.pieces):
            if reference:
                place = mixing.places[number]
                differing = [n for n in range(len(mix.names)) if place and place.differs(n)]
                marks = "".join(map(letter, differing))
                words.append(ShownToken(piece.data, marks, None, self._heat(place)))
            elif piece.by is not None:
                words.append(ShownToken(piece.data, letter(piece.by), piece.by))
            else:
                words.append(ShownToken(piece.data, "" if piece.person else "·"))
        return words

    def _heat(self, place: MixedPlace | None) -> float | None:
        """How far the chosen model, or of the reference's column the farthest, is off."""
        if place is None:
            return None
        sides = place.sides if self._screen.voice is None else [place.sides[self._screen.voice]]
        known = [side.kld for side in sides if side is not None and side.kld is not None]
        return min(max(known) / HOT, 1.0) if known else None

    def _columns(self, mix: Mix) -> list[ModelColumn]:
        place = self._place()
        firsts: dict[int, str] = {}
        for n, side in enumerate(place.sides if place else ()):
            if side is not None:
                firsts[side.choice] = firsts.get(side.choice, "") + letter(n)
        if len(mix.names) > MANY:
            everybody = len(mix.names)
            firsts = {id: "all" if len(who) == everybody else who for id, who in firsts.items()}
        mixed = _candidates(mix, place, place.mix if place else None, firsts)
        columns = [ModelColumn(self._head(mix), self._mix_note(mix, place), None, mixed)]
        for n in self._screen.voices:
            side = place.sides[n] if place is not None else None
            gone = n in mix.company.lost or not mix.recipe.pool.weights[n]
            note = _note(mix, n, side)
            columns.append(
                ModelColumn(self._model(mix, n), note, n, _candidates(mix, place, side, {}), gone)
            )
        return columns

    def _head(self, mix: Mix) -> str:
        """What the first column is."""
        if mix.recipe.mode == "reference":
            return f"{self._model(mix, mix.recipe.reference)}, the reference"
        return "mix"

    def _mix_note(self, mix: Mix, place: MixedPlace | None) -> str:
        if place is None:
            return "not read yet"
        if self._screen.number < len(self._screen.mixing.pieces):
            if place.mix.p is None:
                return f"token {self._screen.number + 1}: not told"
            return f"token {self._screen.number + 1}: {percent(place.mix.p)}, rank {place.mix.rank}"
        return "what may come next"

    def _window(self) -> range:
        """The places of the table."""
        rows = self._screen.query_one(ModelColumns).rows
        count = len(self._screen.mixing.places)
        first = max(min(self._screen.number - rows // 2, count - rows), 0)
        return range(first, min(first + rows, count))

    def _table_row(self) -> int:
        return self._screen.number - self._window()[0]

    def _places(self, mix: Mix) -> list[ModelColumn]:
        """The table: a line a place, in each column what that model would say."""
        mixing = self._screen.mixing
        token = mix.vocabulary.token
        window = [(number, mixing.places[number]) for number in self._window()]

        def stands(number: int) -> str:
            return visible(mixing.pieces[number].data) if number < len(mixing.pieces) else "next"

        def said(side: ModelAtPlace | None, number: int, *, differs: bool) -> ColumnLine:
            if side is None:
                return ColumnLine("", 0.0)
            text = visible(token(side.choice).data) or "·"
            return ColumnLine(("≠ " if differs else "  ") + text, side.choice_p,
                             "–" if side.kld is None else f"{side.kld:.2f}",
                             number == self._screen.number)  # fmt: skip

        first = [
            ColumnLine(
                f"{number + 1} {stands(number)} → {visible(token(place.mix.choice).data) or '·'}",
                place.mix.choice_p,
                "",
                number == self._screen.number,
            )
            if place is not None
            else ColumnLine(f"{number + 1} {stands(number)}", 0.0)
            for number, place in window
        ]
        columns = [ModelColumn(self._head(mix), "text → first choice", None, first)]
        for n in self._screen.voices:
            lines = [
                said(beside.sides[n], number, differs=beside.differs(n))
                if beside
                else ColumnLine("", 0.0)
                for number, beside in window
            ]
            gone = n in mix.company.lost
            note = "gone" if gone else "first choice, KLD"
            columns.append(ModelColumn(self._model(mix, n), note, n, lines, gone))
        return columns

    def _show_charts(self, mix: Mix) -> None:
        title, measure = MEASURES[self._measure]
        diverging, here = self._measure == len(MEASURES) - 1, self._place()

        def value(place: MixedPlace | None, n: int) -> float | None:
            side = place.sides[n] if place is not None else None
            return measure(side) if side is not None else None

        def figure(n: int) -> str:
            side = here.sides[n] if here is not None else None
            if diverging:
                return f"{side.kld:.3f}" if side is not None and side.kld is not None else ""
            p = value(here, n)
            return percent(p) if p is not None else ""

        series = [
            ModelChart(
                n,
                shown_name(model),
                [value(place, n) for place in self._screen.mixing.places],
                figure(n),
            )
            for n, model in enumerate(mix.names)
        ]
        whole = "reference" if mix.recipe.mode == "reference" else "mix"
        title = f"{title.format(whole=whole)}, by position"
        charts = self._screen.query_one(ModelCharts)
        charts.show(title, series, self._screen.model, self._screen.number)

    def _figures(self, mix: Mix) -> list[str]:
        """A line a model: statistics against the reference, or what it gave."""
        said = []
        for n, model in enumerate(mix.names):
            tally = self._screen.mixing.statistics(n)
            if not tally.count or (mix.recipe.mode == "reference" and n == mix.recipe.reference):
                continue
            if mix.recipe.mode == "reference":
                now = tally.now()
                kld, same, ratio = now["kld"], now["same-top"], now["ppl-ratio"]
                pieces = [
                    f"{tally.count - tally.same:,} of {tally.count:,} differ",
                    (f"KLD {kld.value:.5f}" + (f" ± {kld.error:.5f}" if kld.error else ""))
                    if kld.known
                    else "KLD not told",
                    f"same top {same.value:.2%}",
                    f"PPL ratio {ratio.value:.4f}" if ratio.known else "PPL not told",
                ]
            else:
                gave = sum(piece.by == n for piece in self._screen.mixing.pieces)
                sure = tally.determinism
                pieces = [f"gave {gave:,}", f"determinism {sure:.0%}", f"creativity {1 - sure:.0%}"]
            pieces[0] = f" {letter(n)} {shown_name(model)}: {pieces[0]}"
            said.append(fit_pieces(pieces, self._screen.size.width))
        return said

    def show_notes(self) -> None:
        """What is wrong, a row each."""
        if self._screen.mixing.mix is not None:
            self._say("#notes", self._notes(self._screen.mixing.mix))

    def _notes(self, mix: Mix) -> list[str]:
        screen, place = self._screen, self._place()
        rows = [f" {screen.note}"] if screen.note else []
        rows += self._silences(mix)
        silent = [member.error for member in mix.company.lost.values()]
        wrong = dict.fromkeys(filter(None, (screen.trouble, screen.mixing.error)))
        rows += [f" ! {sentences_of(error)}" for error in wrong if error not in silent]
        for n, side in enumerate(place.sides if place else ()):
            if side is None:
                continue
            if doubts := cautions(side.known, mix.vocabulary.token(side.choice)):
                rows.append(f" ! {letter(n)} {shown_name(mix.names[n])}: {', '.join(doubts)}")
        if unseen := screen.mixing.unseen:
            rows.append(f" the first {unseen:,} bytes are out of the models' sight")
        if mix.recipe.mode == "reference" and place is not None:
            rows.append(" " + self._spoken(mix, place))
        return rows

    def _silences(self, mix: Mix) -> list[str]:
        """The models that say nothing, why, and what can be done."""
        company, rows = mix.company, []
        words = {one.model: f"{one.address}: {one.words}" for one in mix.news.absences}
        retry, mute, mode = (self._screen.key(f"mix.{id}") for id in ("retry", "mute", "mode"))
        for n, member in company.lost.items():
            name, error = self._model(mix, n), member.error
            if not member.returns:
                rows.append(
                    f"{name} failed; {_without(mix)}; {retry} tries again: {sentences_of(error)}"
                )
            else:
                rows.append(
                    f"{name} silent since {clock(member.since)}; {_without(mix)}"
                    f" and asks again ({retry}: now, {mute}: no more): "
                    + words.get(mix.names[n], error.cause or error.title)
                )
        for n, awaited in company.awaited.items():
            away = company.away(n)
            if away or awaited.slow:
                leads = mix.recipe.mode == "reference" and n == mix.recipe.reference
                way = f"{mode}: another mode" if leads else f"{mute}: no more"
                rows.append(
                    f"{self._model(mix, n)} silent since {clock(awaited.since)}; the mix waits"
                    f" ({way})" + (f": {away.address}: {away.words}" if away else "")
                )
        return [f" ! {row}" for row in rows]

    def _model(self, mix: Mix, n: int) -> str:
        return f"{letter(n)} {shown_name(mix.names[n])}"

    def _spoken(self, mix: Mix, place: MixedPlace) -> str:
        """What everybody would say here, in a sentence."""
        token = mix.vocabulary.token

        def word(side: ModelAtPlace) -> str:
            return f"{visible(token(side.choice).data) or '·'} ({percent(side.choice_p)})"

        leader = shown_name(mix.names[mix.recipe.reference])
        others = [
            f"{shown_name(mix.names[n])} {word(side)}"
            for n, side in enumerate(place.sides)
            if side is not None and place.differs(n)
        ]
        rest = ", ".join(others) or "so would the others"
        return f"{leader} would say {word(place.mix)}; {rest}"

    def _say(self, id: str, lines: list[str]) -> None:
        widget = self._screen.query_one(id, Static)
        widget.set_class(bool(lines), "-said")
        content = Content("\n".join(lines))
        if widget.content != content:
            widget.update(content)


def shown_name(text: str) -> str:
    """A model's name, or a formula of names, as it may be shown."""
    return label_text(text).replace("␣", " ")


def _note(mix: Mix, n: int, side: ModelAtPlace | None) -> str:
    weight = mix.recipe.pool.weights[n]
    if n in mix.company.lost:
        return "gone; counts as 0"
    if not weight:
        return "left out"
    if mix.recipe.mode == "reference":
        return _kld(side, 4) if side else ""
    told = f"weight {weight:g}" if mix.recipe.mode == "democratic" else "in turn"
    return f"{_kld(side, 3)} · {told}" if side else told


def _kld(side: ModelAtPlace, places: int) -> str:
    return "KLD not told" if side.kld is None else f"KLD {side.kld:.{places}f}"


def _candidates(
    mix: Mix, place: MixedPlace | None, side: ModelAtPlace | None, firsts: dict[int, str]
) -> list[ColumnLine]:
    if place is None or side is None:
        return []
    token = mix.vocabulary.token
    return [
        ColumnLine(visible(token(id).data) or "·", p, firsts.get(id, ""), id == place.token)
        for id, p in side.top
    ]


def _without(mix: Mix) -> str:
    return "the mix goes on without it" if mix.able else "the mix stands still"
