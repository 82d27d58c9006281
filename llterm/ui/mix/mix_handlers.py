"""`mix.*`: move about, change the mix, force, rewind, find differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import Kind
from llterm.engine.mixture import Mix
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.messages import LoadModel
from llterm.ui.mix.mix_panes import MixPanes

T = TypeVar("T")
MODES: tuple[Mode, ...] = ("democratic", "round-robin", "reference")
TURNS = (1, 2, 4, 8, 16)
PLAUSIBLE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
STEP = 0.25
"""Weight a key press."""


def table(screen: MixPanes) -> Table:
    """`mix.*`, and what draws at the cursor, by id."""

    def has_mix() -> bool:
        return screen.mixing.mix is not None

    def changing(change: Callable[[Recipe, Mix], Recipe]) -> Handler:
        def run() -> None:
            mix = screen.mix
            screen.mixing.change(change(mix.recipe, mix))

        return Handler(run, has_mix)

    def begin(draw: Callable[[], object]) -> None:
        """Let the mix go on from the cursor: what stood there is what it is compared with."""
        screen.sync()
        draw()
        screen.tell_left(screen.main.rest)

    def toggle() -> None:
        if player.playing:
            player.pause()
        else:
            begin(lambda: player.play(carry=False))

    player = screen.session.player
    return {
        "mix.left": Handler(lambda: screen.go_to(screen.number - 1)),
        "mix.right": Handler(lambda: screen.go_to(screen.number + 1)),
        "mix.first": Handler(lambda: screen.go_to(0)),
        "mix.last": Handler(lambda: screen.go_to(len(screen.mixing.pieces))),
        "mix.page_left": Handler(lambda: screen.go_to(screen.story.line_of(screen.number, -4))),
        "mix.page_right": Handler(lambda: screen.go_to(screen.story.line_of(screen.number, 4))),
        "mix.up": Handler(lambda: screen.pick(-1)),
        "mix.down": Handler(lambda: screen.pick(1)),
        "mix.model": Handler(lambda: screen.choose(1)),
        "mix.prev_model": Handler(lambda: screen.choose(-1)),
        "mix.force": Handler(lambda: force(screen)),
        "mix.rewind": Handler(lambda: rewind(screen)),
        "mix.branch": Handler(lambda: branch(screen)),
        "mix.next_divergence": Handler(lambda: screen.seek(1)),
        "mix.prev_divergence": Handler(lambda: screen.seek(-1)),
        "mix.worst": Handler(lambda: worst(screen)),
        "mix.mode": changing(lambda recipe, _: replace(recipe, mode=_next(MODES, recipe.mode))),
        "mix.pool": changing(lambda recipe, _: _repooled(recipe)),
        "mix.heavier": Handler(lambda: weigh(screen, STEP), has_mix),
        "mix.lighter": Handler(lambda: weigh(screen, -STEP), has_mix),
        "mix.mute": changing(lambda recipe, _: muted(recipe, screen.muted)),
        "mix.plausible": Handler(lambda: demand(screen), has_mix),
        "mix.turn": changing(lambda recipe, _: replace(recipe, turn=_next(TURNS, recipe.turn))),
        "mix.reference": changing(
            lambda recipe, _: replace(recipe, mode="reference", reference=screen.model)
        ),
        "play.step": Handler(lambda: begin(lambda: player.step(carry=False)), has_mix),
        "play.toggle": Handler(toggle, has_mix),
        "mix.retry": Handler(lambda: retry(screen)),
        "mix.table": Handler(screen.toggle_table),
    }


def weighted(recipe: Recipe, index: int, weight: float) -> Recipe:
    """With another weight for a model. Raises UsageError where the weights make no mix."""
    weights = list(recipe.pool.weights)
    weights[index] = weight
    return replace(recipe, pool=replace(recipe.pool, weights=tuple(weights)))


def muted(recipe: Recipe, index: int) -> Recipe:
    """With a model left out, or taken in again with weight 1."""
    return weighted(recipe, index, 0.0 if recipe.pool.weights[index] else 1.0)


def retry(screen: MixPanes) -> None:
    """Let the models that were left out speak again; where none could be opened, open them."""
    if screen.mixing.mix is not None:
        screen.mixing.retry()
    elif screen.session.unopened:
        screen.app.post_message(LoadModel())


def weigh(screen: MixPanes, by: float) -> None:
    """More or less weight for the model; where weights do not decide, it is told."""
    recipe, model = screen.mix.recipe, screen.model
    weight = round(recipe.pool.weights[model] + by, 4)
    screen.mixing.change(weighted(recipe, model, weight))
    if recipe.mode != "democratic" and weight:
        screen.flash(f"weight {weight:g}: counts in the democratic mode")


def demand(screen: MixPanes) -> None:
    """Another plausibility cutoff; without a negative weight it is told, and counts later."""
    recipe = screen.mix.recipe
    plausible = _next(PLAUSIBLE, recipe.pool.plausible)
    changed = replace(recipe, pool=replace(recipe.pool, plausible=plausible))
    screen.mixing.change(changed)
    if not (changed.pool.contrastive and changed.mode == "democratic"):
        screen.flash(f"plausible from {plausible:g}: counts where a weight is below 0")


def force(screen: MixPanes) -> None:
    """Put the chosen candidate where the cursor is."""
    id = screen.candidate
    if id is not None:
        document, number = screen.session.document, screen.number
        rest = document.text[document.display_offset(screen.mixing.offset(number)) :]
        screen.main.follow(screen.mixing.force(number, id))
        screen.go_to(number + 1)
        screen.tell_left(rest)


def rewind(screen: MixPanes) -> None:
    """End the story before the cursor's token; at its end, before its last."""
    pieces = screen.mixing.pieces
    number = min(screen.number, len(pieces) - 1)
    if number < 0:
        return
    session = screen.session
    session.player.pause()
    document = session.document
    start = document.display_offset(screen.mixing.offset(number))
    rest = document.text[start:]
    change = session.edit(start, len(document.text), "")
    document.checkpoint()
    screen.main.follow(change)
    screen.go_to(number)
    screen.tell_left(rest)


def branch(screen: MixPanes) -> None:
    """Another branch that begins at the cursor becomes the story."""
    session = screen.session
    session.player.pause()
    change = screen.mixing.branch(screen.number)
    if change is None:
        screen.flash("no other branch begins here")
        return
    session.move(session.document.cursor)
    screen.main.follow(change)
    screen.mixing.stir()


def worst(screen: MixPanes) -> None:
    """Go to the place where the chosen model is furthest off."""
    place = screen.mixing.worst(screen.voice)
    if place is not None:
        screen.go_to(place)


def _repooled(recipe: Recipe) -> Recipe:
    kind: Kind = "log" if recipe.pool.kind == "linear" else "linear"
    return replace(recipe, pool=replace(recipe.pool, kind=kind))


def _next(known: tuple[T, ...], now: T) -> T:
    return known[(known.index(now) + 1) % len(known)] if now in known else known[0]
