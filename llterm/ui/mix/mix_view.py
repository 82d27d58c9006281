"""What the mix screen says. Reads the session and the mix, writes the widgets, decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from llterm.core.counts import count_of
from llterm.core.display import label_text, visible
from llterm.core.judging.sides import Beside, Side, cautions
from llterm.engine.mixture import Mix
from llterm.keymap import action_of
from llterm.number_format import percent
from llterm.ui.figures import fit, spoken_speed
from llterm.ui.mix.mixed_story import MixedToken
from llterm.ui.mix.model_charts import ModelChart, ModelCharts
from llterm.ui.mix.model_columns import ColumnLine, ModelColumn, ModelColumns, letter
from llterm.ui.notices import sentences_of
from llterm.ui.widgets.keybar import key_name
from llterm.ui.widgets.status_line import NameLine, StatusLine

if TYPE_CHECKING:
    from llterm.ui.mix.mix_screen import MixScreen

MEASURES: tuple[tuple[str, Callable[[Side], float | None]], ...] = (
    ("probability of the first choice", lambda side: side.choice_p),
    ("mass of the ten most probable", lambda side: side.mass),
    (
        "KL divergence from the {whole}, full at 1 nat",
        lambda side: None if side.kld is None else min(side.kld, 1.0),
    ),
)
"""What charts show, 0 to 1; None where it is not told."""
SLOW = 2.0
"""Seconds of silence from which it is told who is waited for."""
MANY = 3
"""Models whose letters still fit beside a candidate."""
HOT = 1.0
"""Nats of divergence from which a token is as hot as can be."""


def show(screen: MixScreen) -> None:
    """Everything."""
    _title(screen)
    mix = screen.mixing.mix
    if mix is None:
        _loading(screen)
        return
    name = _name(screen)
    _say(screen, "#formula", [" " + name(mix.formula)])
    screen.query_one("#state", StatusLine).say(*_state(screen, mix))
    screen.story.show(_words(screen, mix), screen.number)
    columns = _places(screen, mix) if screen.tabled else _columns(screen, mix)
    row = _table_row(screen) if screen.tabled else screen.row
    screen.query_one(ModelColumns).show(columns, screen.column, row, bars=not screen.tabled)
    _lanes(screen, mix)
    _say(screen, "#figures", _figures(screen, mix))
    show_notes(screen, mix)


def _name(screen: MixScreen) -> Callable[[str], str]:
    return lambda text: label_text(text).replace("␣", " ")


def _place(screen: MixScreen) -> Beside | None:
    places = screen.mixing.places
    return places[screen.number] if screen.number < len(places) else None


def _title(screen: MixScreen) -> None:
    document, main = screen.main.session.document, screen.main
    path = document.path if main.options.named else None
    name = label_text(path.name) if path else "untitled"
    count = len(screen.mixing.pieces)
    screen.query_one("#name", NameLine).say(name, count_of(count, "token"))
    waiting = screen.mixing.waiting
    playing = main.session.player.playing
    told = f"playing, {spoken_speed(main.session.player.speed)}" if playing else ""
    if not told and waiting and screen.mixing.mix is not None:
        told = f"reading, {waiting:,} to go"
    line = screen.query_one("#model", StatusLine)
    line.styles.width = max(len(told), 1)
    line.say(told)


def _loading(screen: MixScreen) -> None:
    session = screen.main.session
    if session.incoming is not None:
        said = f" Loading {session.incoming.name} … {100 * session.incoming.progress:.0f}%"
    elif session.status.error is not None:
        key = key_name(screen.first_key(action_of("mix.retry")))
        said = f" {sentences_of(session.status.error)} {key} tries again."
    else:
        said = " One model writes this story: `llterm mix -m A -m B` starts with several."
    _say(screen, "#formula", [said])


def _state(screen: MixScreen, mix: Mix) -> list[str]:
    recipe, session = mix.recipe, screen.main.session
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


def _words(screen: MixScreen, mix: Mix) -> list[MixedToken]:
    mixing, reference = screen.mixing, mix.recipe.mode == "reference"
    words = []
    for number, piece in enumerate(mixing.pieces):
        if reference:
            place = mixing.places[number]
            differing = [n for n in range(len(mix.names)) if place and place.differs(n)]
            marks = "".join(map(letter, differing))
            words.append(MixedToken(piece.data, marks, None, _heat(place, screen)))
        elif piece.by is not None:
            words.append(MixedToken(piece.data, letter(piece.by), piece.by))
        else:
            words.append(MixedToken(piece.data, "" if piece.person else "·"))
    return words


def _heat(place: Beside | None, screen: MixScreen) -> float | None:
    """How far the chosen model, or of the reference's column the farthest, is off."""
    if place is None:
        return None
    sides = place.sides if screen.voice is None else [place.sides[screen.voice]]
    known = [side.kld for side in sides if side is not None and side.kld is not None]
    return min(max(known) / HOT, 1.0) if known else None


def _columns(screen: MixScreen, mix: Mix) -> list[ModelColumn]:
    place = _place(screen)
    firsts: dict[int, str] = {}
    for n, side in enumerate(place.sides if place else ()):
        if side is not None:
            firsts[side.choice] = firsts.get(side.choice, "") + letter(n)
    if len(mix.names) > MANY:
        firsts = {id: "all" if len(who) == len(mix.names) else who for id, who in firsts.items()}
    columns = [ModelColumn(_head(screen, mix), _mix_note(screen, mix, place), None,
                      _candidates(mix, place, place.mix if place else None, firsts))]  # fmt: skip
    for n in screen.voices:
        side = place.sides[n] if place is not None else None
        gone = n in mix.company.lost or not mix.recipe.pool.weights[n]
        note = _note(mix, n, side)
        columns.append(
            ModelColumn(_model(screen, mix, n), note, n, _candidates(mix, place, side, {}), gone)
        )
    return columns


def _head(screen: MixScreen, mix: Mix) -> str:
    """What the first column is."""
    if mix.recipe.mode == "reference":
        return f"{_model(screen, mix, mix.recipe.reference)}, the reference"
    return "mix"


def _mix_note(screen: MixScreen, mix: Mix, place: Beside | None) -> str:
    if place is None:
        return "not read yet"
    if screen.number < len(screen.mixing.pieces):
        if place.mix.p is None:
            return f"token {screen.number + 1}: not told"
        return f"token {screen.number + 1}: {percent(place.mix.p)}, rank {place.mix.rank}"
    return "what may come next"


def _note(mix: Mix, n: int, side: Side | None) -> str:
    weight = mix.recipe.pool.weights[n]
    if n in mix.company.lost:
        return "gone; counts as 0"
    if not weight:
        return "left out"
    if mix.recipe.mode == "reference":
        return _kld(side, 4) if side else ""
    told = f"weight {weight:g}" if mix.recipe.mode == "democratic" else "in turn"
    return f"{_kld(side, 3)} · {told}" if side else told


def _kld(side: Side, places: int) -> str:
    return "KLD not told" if side.kld is None else f"KLD {side.kld:.{places}f}"


def _candidates(
    mix: Mix, place: Beside | None, side: Side | None, firsts: dict[int, str]
) -> list[ColumnLine]:
    if place is None or side is None:
        return []
    token = mix.vocabulary.token
    return [
        ColumnLine(visible(token(id).data) or "·", p, firsts.get(id, ""), id == place.token)
        for id, p in side.top
    ]


def _window(screen: MixScreen) -> range:
    """The places of the table."""
    rows = screen.query_one(ModelColumns).rows
    count = len(screen.mixing.places)
    first = max(min(screen.number - rows // 2, count - rows), 0)
    return range(first, min(first + rows, count))


def _table_row(screen: MixScreen) -> int:
    return screen.number - _window(screen)[0]


def _places(screen: MixScreen, mix: Mix) -> list[ModelColumn]:
    """The table: a line a place, in each column what that model would say."""
    mixing = screen.mixing
    token = mix.vocabulary.token
    window = [(number, mixing.places[number]) for number in _window(screen)]

    def stands(number: int) -> str:
        return visible(mixing.pieces[number].data) if number < len(mixing.pieces) else "next"

    def said(side: Side | None, number: int, *, differs: bool) -> ColumnLine:
        if side is None:
            return ColumnLine("", 0.0)
        text = visible(token(side.choice).data) or "·"
        return ColumnLine(("≠ " if differs else "  ") + text, side.choice_p,
                         "–" if side.kld is None else f"{side.kld:.2f}",
                         number == screen.number)  # fmt: skip

    first = [
        ColumnLine(
            f"{number + 1} {stands(number)} → {visible(token(place.mix.choice).data) or '·'}",
            place.mix.choice_p,
            "",
            number == screen.number,
        )
        if place is not None
        else ColumnLine(f"{number + 1} {stands(number)}", 0.0)
        for number, place in window
    ]
    columns = [ModelColumn(_head(screen, mix), "text → first choice", None, first)]
    for n in screen.voices:
        lines = [
            said(
                place.sides[n] if place else None, number, differs=bool(place and place.differs(n))
            )
            for number, place in window
        ]
        told = "gone" if n in mix.company.lost else "first choice, KLD"
        columns.append(ModelColumn(_model(screen, mix, n), told, n, lines, n in mix.company.lost))
    return columns


def _lanes(screen: MixScreen, mix: Mix) -> None:
    title, measure = MEASURES[screen.measure]
    name, lanes = _name(screen), []
    here = _place(screen)
    for n, model in enumerate(mix.names):
        values = [
            measure(side) if place is not None and (side := place.sides[n]) is not None else None
            for place in screen.mixing.places
        ]
        side = here.sides[n] if here is not None else None
        told = ""
        if side is not None:
            value = side.kld if screen.measure == 2 else measure(side)
            if value is not None:
                told = f"{value:.3f}" if screen.measure == 2 else percent(value)
        lanes.append(ModelChart(n, name(model), values, told))
    whole = "reference" if mix.recipe.mode == "reference" else "mix"
    title = f"{title.format(whole=whole)}, by position"
    screen.query_one(ModelCharts).show(title, lanes, screen.model, screen.number)


def _figures(screen: MixScreen, mix: Mix) -> list[str]:
    """A line a model: statistics against the reference, or what it gave."""
    name, said = _name(screen), []
    for n, model in enumerate(mix.names):
        tally = screen.mixing.statistics(n)
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
            gave = sum(piece.by == n for piece in screen.mixing.pieces)
            sure = tally.determinism
            pieces = [f"gave {gave:,}", f"determinism {sure:.0%}", f"creativity {1 - sure:.0%}"]
        pieces[0] = f" {letter(n)} {name(model)}: {pieces[0]}"
        said.append(fit(pieces, screen.size.width))
    return said


def show_notes(screen: MixScreen, mix: Mix) -> None:
    """What is wrong, a row each; how long somebody has been silent goes on counting."""
    _say(screen, "#notes", _notes(screen, mix))


def _notes(screen: MixScreen, mix: Mix) -> list[str]:
    said = [f" {screen.note}"] if screen.note else []
    said += _silences(screen, mix)
    told = [one.error for one in mix.company.lost.values()]
    for wrong in (screen.trouble, screen.mixing.error):
        if wrong is not None and wrong not in told:
            told.append(wrong)
            said.append(f" ! {sentences_of(wrong)}")
    place, name = _place(screen), _name(screen)
    for n, side in enumerate(place.sides if place else ()):
        if side is not None:
            found = cautions(side.known, mix.vocabulary.token(side.choice))
            if found:
                said.append(f" ! {letter(n)} {name(mix.names[n])}: {', '.join(found)}")
    if screen.mixing.unseen:
        said.append(f" the first {screen.mixing.unseen:,} bytes are out of the models' sight")
    reference = mix.recipe.mode == "reference" and place is not None
    if reference and place is not None:
        said.append(" " + _spoken(screen, mix, place))
    return said


def _silences(screen: MixScreen, mix: Mix) -> list[str]:
    """The models that say nothing, why, and what can be done."""
    company, now, said = mix.company, monotonic(), []
    retry, mute, mode = (
        key_name(screen.first_key(action_of(f"mix.{id}"))) for id in ("retry", "mute", "mode")
    )
    for n, one in company.lost.items():
        if not one.returns:
            said.append(f"{_model(screen, mix, n)} failed; {_without(mix)}; {retry} tries again: "
                        + sentences_of(one.error))  # fmt: skip
        else:
            said.append(
                f"{_model(screen, mix, n)} silent for {now - one.since:.0f} s; {_without(mix)}"
                f" and asks again ({retry}: now, {mute}: no more): "
                + (one.error.cause or one.error.title)
            )
    for n, since in company.awaited.items():
        away = company.away(n)
        if away or now - since > SLOW:
            leads = mix.recipe.mode == "reference" and n == mix.recipe.reference
            way = f"{mode}: another mode" if leads else f"{mute}: no more"
            said.append(
                f"{_model(screen, mix, n)} silent for {now - since:.0f} s; the mix waits ({way})"
                + (f": {away}" if away else "")
            )
    return [f" ! {one}" for one in said]


def _model(screen: MixScreen, mix: Mix, n: int) -> str:
    return f"{letter(n)} {_name(screen)(mix.names[n])}"


def _without(mix: Mix) -> str:
    return "the mix goes on without it" if mix.able else "the mix stands still"


def _spoken(screen: MixScreen, mix: Mix, place: Beside) -> str:
    """What everybody would say here, in a sentence."""
    name, token = _name(screen), mix.vocabulary.token

    def word(side: Side) -> str:
        return f"{visible(token(side.choice).data) or '·'} ({percent(side.choice_p)})"

    told = f"{name(mix.names[mix.recipe.reference])} would say {word(place.mix)}"
    others = [f"{name(mix.names[n])} {word(side)}" for n, side in enumerate(place.sides)
              if side is not None and place.differs(n)]  # fmt: skip
    return told + (f"; {', '.join(others)}" if others else "; so would the others")


def _say(screen: MixScreen, id: str, lines: list[str]) -> None:
    widget = screen.query_one(id, Static)
    widget.set_class(bool(lines), "-said")
    content = Content("\n".join(lines))
    if widget.content != content:
        widget.update(content)
