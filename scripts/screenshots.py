"""Makes the pictures of the README: the real app on the bundled model, driven by keys.

`make screenshots` writes docs/pictures/*.svg; with names only those.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ |= {"COLORTERM": "truecolor", "TEXTUAL_COLOR_SYSTEM": "truecolor"}
# Textual reads them when it is imported.

from textual.pilot import Pilot

from llterm.backends.llamacpp.quantize import quantize
from llterm.backends.registry import BUNDLED, MODELS, open_model
from llterm.config import Config, load_config
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend
from llterm.core.server_news import HearNews
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.mixture import open_mix
from llterm.session.stories import STORIES
from llterm.ui.launch import Launch, Opening
from llterm.ui.llterm_app import LltermApp, open_document
from llterm.ui.mix.mix_screen import MixScreen

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SIZES = {
    "weave": (120, 34),
    "small": (80, 24),
    "heat": (120, 34),
    "loom": (120, 34),
    "map": (120, 34),
    "mix": (120, 34),
}
QUANTS = ("q4_K_M", "q2_K")
"""Of the bundled model, beside it on the mix screen."""
HEATED = (
    "Once upon a time there was a little refrigerator who lived at the edge of a dark forest. One "
    "evening, as the moon rose over the trees, he met a spaceship. “Good evening,” said"
)
"""A text with surprises in it."""


def app_on(
    path: Path, text: str, config: Config, opening: Opening, model: str, *, weave: bool
) -> LltermApp:
    """The app on a new loom; without a weave nothing is healed either."""
    rules = None if weave else WeaveSettings(heal=False)
    launch = Launch(path, text.encode(), None, rules, config, opening, model, weave)
    return LltermApp(launch, open_document(launch))


async def picture(name: str, size: tuple[int, int], home: Path) -> None:
    """Weave the first starting story, choose a branch, and draw the screen."""
    config = load_config(environment={}, folder=home)

    async def opening(progress: Callable[[float], None], hear: HearNews) -> Backend:
        return await open_model("fable", config, progress=progress, hear=hear)

    text = HEATED if name == "heat" else STORIES[0].text
    app = app_on(home / name / "the-forest.loom", text, config, opening, "fable", weave=True)
    async with app.run_test(size=size) as pilot:
        await woven(pilot)
        for key in ("ctrl+n", "ctrl+n", "ctrl+n"):
            await pilot.press(key)
        if name == "heat":
            await pilot.press("f4")
            reader = app.session.reader
            while not reader.places or reader.waiting or app.main.heat.reading is None:
                await pilot.pause(0.05)
            await pilot.press("N", "N", "N", "down", "down")
        if name in ("loom", "map"):
            await explored(pilot, app)
            await pilot.press("alt+l", *["m"] * (name == "map"))
            await pilot.pause(0.5)
        await pilot.pause()
        drawn = app.export_screenshot(title="llterm", simplify=True)
    (PICTURES / f"{name}.svg").write_text(drawn)


async def explored(pilot: Pilot[None], app: LltermApp) -> None:
    """Take a suggestion, go back, take another: a loom with some forks, and marks on it."""
    document = app.session.document
    for _ in range(6):
        await pilot.press("tab", "ctrl+z", "ctrl+n", "ctrl+n", "tab", "ctrl+j")
        await woven(pilot)
    path = document.loom.path()
    document.branches.bookmark(path[2].id)
    document.branches.rate(path[3].id, 4)
    document.branches.tag(path[4].id, "the turn")


async def compared(name: str, size: tuple[int, int], home: Path) -> None:
    """The bundled model and its quantisations over a text, at a place where one differs."""
    config = load_config(environment={}, folder=home)
    files = [home / f"fable-{quant}.gguf" for quant in QUANTS]
    for file, quant in zip(files, QUANTS, strict=True):
        quantize(MODELS / BUNDLED["fable"], file, quant)
    models = ("fable", *map(str, files))

    async def opening(progress: Callable[[float], None], hear: HearNews) -> Backend:
        recipe = Recipe("reference", OpinionPool((1.0,) * len(models)))
        return await open_mix(models, recipe, config, progress=progress, hear=hear, forgiving=True)

    path = home / name / "the-refrigerator.loom"
    app = app_on(path, HEATED, config, opening, "fable + 2 more", weave=False)
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+x")
        screen = app.screen
        assert isinstance(screen, MixScreen)
        while not screen.mixing.looked or screen.mixing.waiting:
            await pilot.pause(0.05)
        await pilot.press("tab", "tab", *["n"] * 8, "c", "c")
        await pilot.pause(0.5)
        drawn = app.export_screenshot(title="llterm", simplify=True)
    (PICTURES / f"{name}.svg").write_text(drawn)


async def woven(pilot: Pilot[None]) -> None:
    """Wait until the model is there and the weave has ended."""
    session = pilot.app.session  # type: ignore[attr-defined]
    while session.view is None or session.weaving or not session.view.suggestions:
        await pilot.pause(0.05)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or SIZES:
            draw = compared if name == "mix" else picture
            asyncio.run(draw(name, SIZES[name], Path(folder)))


if __name__ == "__main__":
    main()
