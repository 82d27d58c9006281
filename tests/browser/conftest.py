"""The real server and a real browser. Without Chromium every test fails and says so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.browser.page_key import KEY
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_program import ServedProgram, serving
from tests.helpers.thinking_template import SPECIAL, THINKING
from tests.helpers.tiny_models import tiny_llama

collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]
"""Without the environment of `make test-browser` nothing is collected."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")
"""Containers give a browser's processes no room of their own; what it opens here is ours."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the machine's Chromium is."""
    named = os.environ.get("LLTERM_CHROMIUM", "")
    for name in (named,) if named else _NAMES:
        if path := shutil.which(name):
            return path
    looked = named or ", ".join(_NAMES)
    pytest.fail(
        f"There is no Chromium here (looked for {looked}). Install it, on Debian by "
        "`apt install chromium`, or name it in LLTERM_CHROMIUM.",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """The bundled model with a way to write chats, the scripted one, and one that thinks, behind a
    key."""
    home = tmp_path_factory.mktemp("home")
    thinker = tiny_llama(home / "thinker.gguf", template=THINKING, special=SPECIAL)
    with serving(
        home, "-m", f"{BUNDLED},chat_template=chatml", "-m", "scripted", "-m", str(thinker),
        "--api-key-env", "PAGE_KEY", "--parallel", "4", "--slot-context", "1024", PAGE_KEY=KEY,
    ) as opened:  # fmt: skip
        yield opened
        code, said = opened.end()
        assert code == 0, said


@pytest.fixture
def faults() -> list[str]:
    """What the page's script failed at, and what its policy refused."""
    return []


@pytest.fixture
def context(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A browser that was never here before."""
    opened = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


@pytest.fixture
def locked(context: Any, program: ServedProgram, faults: list[str]) -> Iterator[Any]:
    """The page as it is first seen; at the end nothing of its own has failed."""
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Policy" in said.text else None)
    page.on("request", lambda asked: faults.append(asked.url)
            if not asked.url.startswith((program.address, "data:", "blob:")) else None)  # fmt: skip
    page.goto(program.address)
    yield page
    assert not faults


@pytest.fixture
def page(locked: Any) -> Any:
    """The page with the key."""
    locked.get_by_label("Key", exact=True).fill(KEY)
    locked.get_by_role("button", name="Use it").click()
    locked.locator("#model option").first.wait_for(state="attached")
    return locked
