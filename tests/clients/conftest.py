"""A real `llterm serve` for other programs to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.clients.served_names import ALIAS, KEY, OTHER_NAMES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_program import ServedProgram, serving

collect_ignore_glob = [] if find_spec("openai") else ["test_*.py"]
"""Without the environment of `make test-clients` nothing is collected."""
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line for the end of the run."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was counted and measured."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)


@contextmanager
def _judged(home: Path, *arguments: str) -> Iterator[ServedProgram]:
    """The bundled model under the name that clients ask for."""
    model = home / f"{ALIAS}.gguf"
    model.symlink_to(BUNDLED)
    aliases = [part for name in OTHER_NAMES for part in ("--alias", f"{name}={ALIAS}")]
    with serving(
        home, "-m", f"{model},chat_template=chatml", *aliases, "--parallel", "2",
        "--slot-context", "256", "--seed", "42", *arguments,
    ) as program:  # fmt: skip
        yield program
        code, said = program.end()
        assert code == 0, said


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """It asks for no key."""
    with _judged(tmp_path_factory.mktemp("open")) as opened:
        yield opened


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """It has room for chats with tools."""
    with _judged(tmp_path_factory.mktemp("roomy"), "--slot-context", "1024") as opened:
        yield opened


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """It counts."""
    with _judged(tmp_path_factory.mktemp("counting"), "--metrics") as opened:
        yield opened


@pytest.fixture(scope="session")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """It has some seconds for each request, and counts."""
    home = tmp_path_factory.mktemp("hurried")
    (home / "config").mkdir()
    (home / "config/llterm.toml").write_text("[serve]\nrequest_seconds = 10\n")
    with _judged(home, "--metrics") as opened:
        yield opened


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProgram]:
    """It asks for a key."""
    home = tmp_path_factory.mktemp("locked")
    key = home / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    with _judged(home, "--api-key-file", str(key)) as opened:
        yield opened
