"""What the mix screen's keys do: move about, change the mix, force, rewind, find differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import Kind
from llterm.engine.mixture import Mix
from llterm.ui.actions import Deed, Table
from llterm.ui.actions.suggesting import follow

if TYPE_CHECKING:
    from llterm.ui.app import LltermApp
    from llterm.ui.screens.mix import MixScreen

T = TypeVar("T")
MODES: tuple[Mode, ...] = ("democratic", "round-robin", "reference")
TURNS = (1, 2, 4, 8, 16)
PLAUSIBLE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
STEP = 0.25
"""Weight a key press."""


def table(screen: MixScreen) -> Table:
    """The deeds of this file by action id."""

    def there() -> bool:
        return screen.mixing.mix is not None

    def changing(change: Callable[[Recipe, Mix], Recipe]) -> Deed:
        def run() -> None:
            mix = screen.mix
            screen.mixing.change(change(mix.recipe, mix))

        return Deed(run, there)

    return {
        "mix.left": Deed(lambda: screen.go_to(screen.number - 1)),
        "mix.right": Deed(lambda: screen.go_to(screen.number + 1)),
        "mix.first": Deed(lambda: screen.go_to(0)),
        "mix.last": Deed(lambda: screen.go_to(len(screen.mixing.pieces))),
        "mix.page_left": Deed(lambda: screen.go_to(screen.story.line_of(screen.number, -4))),
        "mix.page_right": Deed(lambda: screen.go_to(screen.story.line_of(screen.number, 4))),
        "mix.up": Deed(lambda: screen.pick(-1)),
        "mix.down": Deed(lambda: screen.pick(1)),
        "mix.model": Deed(lambda: screen.choose(1)),
        "mix.prev_model": Deed(lambda: screen.choose(-1)),
        "mix.force": Deed(lambda: force(screen)),
        "mix.rewind": Deed(lambda: rewind(screen)),
        "mix.branch": Deed(lambda: branch(screen)),
        "mix.next_divergence": Deed(lambda: screen.seek(1)),
        "mix.prev_divergence": Deed(lambda: screen.seek(-1)),
        "mix.worst": Deed(lambda: worst(screen)),
        "mix.mode": changing(lambda recipe, _: replace(recipe, mode=_next(MODES, recipe.mode))),
        "mix.pool": changing(lambda recipe, _: _repooled(recipe)),
        "mix.heavier": Deed(lambda: weigh(screen, STEP), there),
        "mix.lighter": Deed(lambda: weigh(screen, -STEP), there),
        "mix.mute": changing(lambda recipe, _: muted(recipe, screen.muted)),
        "mix.plausible": Deed(lambda: demand(screen), there),
        "mix.turn": changing(lambda recipe, _: replace(recipe, turn=_next(TURNS, recipe.turn))),
        "mix.reference": changing(
            lambda recipe, _: replace(recipe, mode="reference", reference=screen.model)
        ),
        "play.step": Deed(lambda: step(screen), there),
        "play.toggle": Deed(lambda: toggle(screen), there),
        "mix.retry": Deed(lambda: retry(screen)),
        "mix.measure": Deed(screen.next_measure),
        "mix.table": Deed(screen.toggle_table),
    }


def weighted(recipe: Recipe, index: int, weight: float) -> Recipe:
    """With another weight for a model. Raises UsageError where the weights make no mix."""
    weights = list(recipe.pool.weights)
    weights[index] = weight
    return replace(recipe, pool=replace(recipe.pool, weights=tuple(weights)))


def muted(recipe: Recipe, index: int) -> Recipe:
    """With a model left out, or taken in again with weight 1."""
    return weighted(recipe, index, 0.0 if recipe.pool.weights[index] else 1.0)


def step(screen: MixScreen) -> None:
    """Draw one token at the cursor. Raises LltermError, for a row."""
    screen.sync()
    screen.main.session.player.step()


def toggle(screen: MixScreen) -> None:
    """Draw on from the cursor, or pause. Raises LltermError, for a row."""
    player = screen.main.session.player
    if player.playing:
        player.pause()
    else:
        screen.sync()
        player.play()


def retry(screen: MixScreen) -> None:
    """Let the models that were left out speak again; where none could be opened, open them."""
    if screen.mixing.mix is not None:
        screen.mixing.retry()
    elif screen.main.session.status.state == "failed":
        cast("LltermApp", screen.app).load_model()


def weigh(screen: MixScreen, by: float) -> None:
    """More or less weight for the model; where weights do not decide, it is told."""
    recipe, model = screen.mix.recipe, screen.model
    weight = round(recipe.pool.weights[model] + by, 4)
    screen.mixing.change(weighted(recipe, model, weight))
    if recipe.mode != "democratic" and weight:
        screen.say(f"weight {weight:g}: counts in the democratic mode")


def demand(screen: MixScreen) -> None:
    """Another plausibility cutoff; without a negative weight it is told, and counts later."""
    recipe = screen.mix.recipe
    plausible = _next(PLAUSIBLE, recipe.pool.plausible)
    changed = replace(recipe, pool=replace(recipe.pool, plausible=plausible))
    screen.mixing.change(changed)
    if not (changed.pool.contrastive and changed.mode == "democratic"):
        screen.say(f"plausible from {plausible:g}: counts where a weight is below 0")


def force(screen: MixScreen) -> None:
    """Put the chosen candidate where the cursor is."""
    id = screen.candidate
    if id is not None:
        follow(screen.main, screen.mixing.force(screen.number, id))
        screen.go_to(screen.number + 1)


def rewind(screen: MixScreen) -> None:
    """End the story before the cursor's token; at its end, before its last."""
    pieces = screen.mixing.pieces
    number = min(screen.number, len(pieces) - 1)
    if number < 0:
        return
    session = screen.main.session
    session.player.pause()
    document = session.document
    start = document.display_offset(screen.mixing.offset(number))
    change = session.edit(start, len(document.text), "")
    document.checkpoint()
    follow(screen.main, change)
    screen.go_to(number)


def branch(screen: MixScreen) -> None:
    """Another branch that begins at the cursor becomes the story."""
    session = screen.main.session
    session.player.pause()
    change = screen.mixing.branch(screen.number)
    if change is None:
        screen.say("no other branch begins here")
        return
    session.move(session.document.cursor)
    follow(screen.main, change)
    screen.mixing.stir()


def worst(screen: MixScreen) -> None:
    """Go to the place where the chosen model is furthest off."""
    place = screen.mixing.worst(screen.voice)
    if place is not None:
        screen.go_to(place)


def _repooled(recipe: Recipe) -> Recipe:
    kind: Kind = "log" if recipe.pool.kind == "linear" else "linear"
    return replace(recipe, pool=replace(recipe.pool, kind=kind))


def _next(known: tuple[T, ...], now: T) -> T:
    return known[(known.index(now) + 1) % len(known)] if now in known else known[0]
