"""Makes the pictures of the README: the real app on the bundled model, driven by keys.

`make screenshots` writes docs/pictures/*.svg.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ |= {"COLORTERM": "truecolor", "TEXTUAL_COLOR_SYSTEM": "truecolor"}
# Textual reads them when it is imported.

from textual.pilot import Pilot

from llterm.backends.registry import open_model
from llterm.config import load_config
from llterm.core.query import Backend
from llterm.core.stories import STORIES
from llterm.ui.app import LltermApp, open_document
from llterm.ui.launch import Launch

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SIZES = {
    "weave": (120, 34),
    "small": (80, 24),
    "heat": (120, 34),
    "loom": (120, 34),
    "map": (120, 34),
}
HEATED = (
    "Once upon a time there was a little refrigerator who lived at the edge of a dark forest. One "
    "evening, as the moon rose over the trees, he met a spaceship. “Good evening,” said"
)
"""A text with surprises in it."""


async def picture(name: str, size: tuple[int, int], home: Path) -> None:
    """Weave the first starting story, choose a branch, and draw the screen."""
    config = load_config(environment={}, folder=home)

    async def opening(progress: Callable[[float], None]) -> Backend:
        return await open_model("fable", config, progress=progress)

    launch = Launch(
        path=home / name / "the-forest.loom",
        text=(HEATED if name == "heat" else STORIES[0].text).encode(),
        prefix=None,
        rules=None,
        config=config,
        opening=opening,
        model_name="fable",
        auto_weave=True,
    )
    app = LltermApp(launch, open_document(launch))
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


async def woven(pilot: Pilot[None]) -> None:
    """Wait until the model is there and the weave has ended."""
    session = pilot.app.session  # type: ignore[attr-defined]
    while session.view is None or session.weaving or not session.view.suggestions:
        await pilot.pause(0.05)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            asyncio.run(picture(name, size, Path(folder)))


if __name__ == "__main__":
    main()
