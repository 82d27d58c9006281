"""The model picker and the chat, by keys, on real models."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from textual.widgets import OptionList, TextArea

from llterm.backends.llamacpp import open_llama
from llterm.backends.registry import MODELS
from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Backend
from llterm.errors import ModelError
from llterm.session.loom_models import choose_model, chosen_model
from llterm.state import read_state
from llterm.ui.dialogs.models_dialog import ModelsDialog
from tests.helpers.driven_app import STORY, Driven, Start, opens, prompts


@pytest.fixture(autouse=True)
def alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No models of this machine's."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))


async def pick(at: Driven, name: str) -> None:
    """Choose a model in the list."""
    await at.press("alt+m")
    picker = await at.opened(ModelsDialog)
    options = picker.query_one(OptionList)
    await at.until(lambda: options.option_count)
    names = prompts(options)
    options.highlighted = next(n for n, line in enumerate(names) if f" {name} " in line)
    await at.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15)])
async def test_another_model_in_mid_story(start: Start, size: tuple[int, int]) -> None:
    async with start(size=size) as at:
        await at.weave()
        rows = len(at.main.suggestions.rows)
        await pick(at, "fable-q8_0")
        await at.until(lambda: at.session.source and at.session.source.name == "fable-q8_0")
        await at.until(lambda: at.told and "fable-q8_0" in at.line("model"))
        assert at.story == STORY
        assert len(at.main.suggestions.rows) == rows
        assert "another model" in at.line("found")
        assert chosen_model(start.folder / "cat.loom") == "fable-q8_0"
        assert not read_state().values
        await at.press("ctrl+j")
        await at.until(lambda: not at.session.weaving and not at.session.stale)
        assert "suggestion" in at.line("found")


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one(start: Start, home: Path) -> None:
    broken = home / "data/models/broken.gguf"
    broken.parent.mkdir(parents=True)
    broken.write_bytes((MODELS / "fable-q8_0.gguf").read_bytes()[:5000])
    async with start() as at:
        await at.weave()
        source = at.session.source
        await pick(at, "broken")
        await at.until(lambda: at.notices)
        (told,) = at.notices
        assert "damaged or cut off" in told.title
        assert at.session.source is source
        assert not at.session.stale
        await at.until(lambda: "scripted" in at.line("model"))
        assert chosen_model(start.folder / "cat.loom") is None


async def test_a_model_chosen_for_this_loom_that_is_gone_is_only_a_notice(start: Start) -> None:
    choose_model(start.folder / "cat.loom", "/gone/away.gguf")
    async with start() as at:
        assert "/gone/away.gguf, chosen for this loom, is not there any more" in (
            at.notices[0].message
        )
        assert at.session.source is not None
        assert at.session.source.name == "scripted"


class Twin(ScriptedBackend):
    """Another model with the same vocabulary."""

    name = "twin"


async def test_a_second_pick_gives_up_the_first(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    given_up: list[str] = []

    async def slowly(name: str, *_: object) -> Backend:
        try:
            await held.wait()
        except asyncio.CancelledError:
            given_up.append(name)
            raise
        return Twin()

    monkeypatch.setattr("llterm.ui.llterm_app.open_model", slowly)
    async with start() as at:
        await pick(at, "fable")
        await at.until(lambda: at.line("model") == "fable · loading 0%")
        await at.weave()
        assert at.line("model") == "fable · loading 0%"
        await pick(at, "fable-q8_0")
        await at.until(lambda: at.line("model") == "fable-q8_0 · loading 0%")
        assert given_up == ["fable"]
        held.set()
        await at.until(lambda: at.session.incoming is None)
        assert given_up == ["fable"]
        assert at.session.stale


async def test_unloading_and_loading_again(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("alt+m")
        await at.until(lambda: at.app.screen.query_one(OptionList).option_count)
        await at.press("u")
        await at.until(lambda: at.line("model") == "no model")
        assert at.main.suggestions.rows
        await at.press(*"ab")
        assert at.story == STORY + "ab"
        await pick(at, "scripted")
        await at.until(lambda: at.session.source is not None)


async def test_the_list_says_what_it_knows(start: Start, home: Path) -> None:
    page = home / "data/models/page-Q4_K_M.gguf"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"<html>[bold]\x1b[31m")
    async with start() as at:
        await at.press("alt+m")
        options = at.app.screen.query_one(OptionList)
        await at.until(lambda: options.option_count == 4)
        lines = prompts(options)
        assert "11.7 MB  f16" in lines[0]
        assert lines[2].startswith("● scripted")
        assert "cannot be opened" in lines[3]
        await at.press("j")
        assert "not a GGUF file" in str(at.app.screen.query_one("#chosen").render())


async def test_a_load_that_is_given_up_is_freed(home: Path) -> None:
    before = set(threading.enumerate())
    loading = asyncio.Event()
    opening = asyncio.create_task(
        open_llama(MODELS / "fable-f16.gguf", progress=lambda share: loading.set())
    )
    await loading.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)  # What is to be done with the model is called on the loop.
    # A model's thread ends when it has freed the model.
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


async def test_the_chat_is_one_folded_line_that_opens(start: Start) -> None:
    async with start("") as at:
        await at.press("alt+c", *"tell", "tab", *"be", "ctrl+j")
        await at.until(lambda: at.main.suggestions.rows and not at.session.weaving)
        root = at.main.chat_header
        assert root.display
        assert root.size.height == 1
        assert "chat · plain · " in shown(at)
        await at.press("alt+v")
        assert root.size.height == 6
        assert "System:␣be⏎\n⏎\nUser:␣tell⏎\n⏎\nAssistant:" in shown(at)
        await at.press("tab", "ctrl+z", "ctrl+z")
        assert not at.session.document.chat
        await at.until(lambda: not root.display)
        await at.press("alt+c")
        assert at.app.screen.query_one("#message", TextArea).text == ""


async def test_a_template_that_fails_is_told_in_its_line(start: Start) -> None:
    class Refusing(ScriptedBackend):
        def open_chat(self, chat: object) -> tuple[()]:
            raise ModelError("The model's chat template failed", "It says: no.", "")

    start.opening = opens(lambda: Refusing())
    async with start() as at:
        await at.press("alt+c", *"tell", "ctrl+j")
        await at.until(lambda: "The model's chat" in shown(at))
        await at.press("ctrl+j")
        assert at.notices
        assert at.story == STORY


def shown(at: Driven) -> str:
    """What the line before the story says."""
    return str(at.main.chat_header.query_one("Static").render())
