"""What led to a token, by keys: in the heat panel, on the screen that opens there."""

from __future__ import annotations

import asyncio

import pytest
from textual.widgets import Static

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Backend
from llterm.ramps import AGAINST, GLYPHS
from llterm.ui.dialogs.attributed_story import AttributedStory
from llterm.ui.dialogs.attribution_dialog import AttributionDialog
from llterm.ui.widgets.token_lines import lay_out
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.driven_app import Driven, Progress, Start, open_heat

STORY = "Once upon a time there was a little fox. “Come,” said the fox to the [b]bear[/b],\n"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)


@pytest.fixture
def fable(start: Start) -> Start:
    """An app with the bundled model."""

    async def opening(progress: Progress) -> Backend:
        return await open_llama(BUNDLED, LlamaSettings(threads=1))

    start.opening = opening
    return start


async def opened(at: Driven, *keys: str) -> AttributionDialog:
    """Go to the heat panel, press these keys there, and ask why."""
    await open_heat(at)
    await at.press(*keys, "a")
    screen = await at.opened(AttributionDialog)
    return screen


def said(screen: AttributionDialog, name: str) -> str:
    return str(screen.query_one(f"#attribution-{name}", Static).content)


def drawn(screen: AttributionDialog) -> list[str]:
    text = screen.query_one(AttributedStory)
    return [text.render_line(y).text.rstrip() for y in range(text.size.height)]


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (120, 40)])
async def test_attention_is_there_at_once(fable: Start, size: tuple[int, int]) -> None:
    async with fable(STORY + "The bear", size=size) as at:
        screen = await opened(at)
        await at.until(lambda: said(screen, "most"))
        assert said(screen, "method").startswith("␣bear ← attention, mean of all layers")
        assert said(screen, "most").startswith("most: ")
        assert "goes to what stands before" in said(screen, "notes")
        assert "%" in said(screen, "figure")
        text = screen.query_one(AttributedStory)
        assert any("[b]" in line for line in drawn(screen)) or text.scroll_offset.y > 0
        first = said(screen, "figure")
        await at.press("left", "left")
        assert said(screen, "figure") != first
        await at.press("escape")
        assert at.main.heat.has_focus
        assert at.story == STORY + "The bear"


async def test_methods_layers_and_back(fable: Start) -> None:
    async with fable(STORY + "The bear") as at:
        screen = await opened(at)
        await at.until(lambda: said(screen, "most"))
        seen = {said(screen, "most")}
        await at.press("m")
        assert "last layer" in said(screen, "method")
        await at.until(lambda: said(screen, "most"))
        seen.add(said(screen, "most"))
        await at.press("m")
        for layer in range(3):
            assert f"layer {layer}" in said(screen, "method")
            await at.until(lambda: said(screen, "most"))
            seen.add(said(screen, "most"))
            await at.press("+")
        await at.press("M", "M")
        assert "mean of all layers" in said(screen, "method")
        assert said(screen, "most") in seen
        assert len(seen) == 5


async def test_the_cost_comes_before_the_work(fable: Start) -> None:
    async with fable(STORY + "The bear") as at:
        screen = await opened(at)
        await at.press("m", "m", "m", "m")
        assert "leave one out, of the last 64" in said(screen, "method")
        assert "tokens to evaluate" in said(screen, "notes")
        assert not said(screen, "most")
        backend = at.session.backend
        assert backend is not None
        before = backend.spent.tokens
        await at.press("minus", "minus")
        assert "16 texts" in said(screen, "notes")
        assert backend.spent.tokens == before
        await at.press("enter")
        await at.until(lambda: said(screen, "most"))
        assert backend.spent.tokens > before
        assert "bits" in said(screen, "most")
        assert "without it" in said(screen, "figure")
        text = screen.query_one(AttributedStory)
        lines = [text.render_line(y) for y in range(text.size.height)]
        styles = [segment.style for line in lines for segment in line if segment.style]
        assert any(style.underline and style.bgcolor for style in styles), "some speak against it"


async def test_a_candidate_in_its_place(fable: Start) -> None:
    async with fable(STORY + "The bear") as at:
        screen = await opened(at, "down")
        candidate = at.main.heat.candidate
        assert candidate is not None
        label = candidate.token.data.decode().replace(" ", "␣")
        assert said(screen, "method").startswith(f"{label} ← ")
        assert candidate.token.data.decode() in "\n".join(drawn(screen))


async def test_work_is_stopped_and_started_again(start: Start) -> None:
    gate = asyncio.Event()
    gate.set()

    async def opening(progress: Progress) -> Backend:
        return ScriptedBackend(pace=lambda: held())

    async def held() -> None:
        await gate.wait()

    start.opening = opening
    async with start() as at:
        screen = await opened(at)
        await at.until(lambda: "shows no attention" in said(screen, "notes"))
        await at.press("M", "M", "M", "M")
        assert "leave one out" in said(screen, "method")
        gate.clear()
        await at.press("enter")
        await at.until(lambda: "^G stops" in said(screen, "method"))
        await at.press("ctrl+g")
        assert "^G" not in said(screen, "method")
        assert "Enter starts it" in said(screen, "notes")
        gate.set()
        await at.press("enter")
        await at.until(lambda: said(screen, "most"))


async def test_without_colours_glyphs_tell_size_and_sign(
    fable: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with fable(STORY + "The bear", size=(100, 40)) as at:
        screen = await opened(at)
        await at.press("m", "m", "m", "m", "enter")
        await at.until(lambda: said(screen, "most"))
        assert said(screen, "figure").startswith("##=-. ░▒▓██")
        marks = "".join(drawn(screen)[1::2])
        assert set(marks) <= set(GLYPHS + AGAINST)
        assert "█" in marks or "#" in marks


def test_lines_hold_every_token_once_and_begin_with_words() -> None:
    words = [b"The", b" king", b" had", b" a", b" cast", b"le", b".\n", b"\n", b" x", b"\xe7\x8c"]
    for width in range(4, 30):
        lines = lay_out(words, width)
        numbers = [cell.number for line in lines for cell in line]
        assert numbers == list(range(len(words)))
        for line in lines:
            assert sum(cell.width for cell in line) <= width
            assert [cell.left for cell in line] == [
                sum(one.width for one in line[:place]) for place in range(len(line))
            ]
    castle = next(line for line in lay_out(words, 12) if any(cell.number == 4 for cell in line))
    assert {4, 5} <= {cell.number for cell in castle}, "a word is not broken where it fits"
