"""Which servers are tried, and the row that tells what became of it.

`make test-address` names one; else it is the suite's own, and llama-cpp-python's where the extra
`servers` is installed. Without that extra what needs it is not collected: the suite runs the same
with and without.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import pytest

from tests.helpers import program_batch
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import INTERVAL
from tests.helpers.program import Ran
from tests.helpers.program_batch import Batch
from tests.helpers.server_process import Process
from tests.helpers.server_trial import ServerTrial

_NEEDED = ("uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")
_INSTALLED = all(map(find_spec, _NEEDED))
_NAMED = os.environ.get("LLTERM_TEST_ADDRESS", "")
_SERVERS = [_NAMED or "llama.cpp", *["llama-cpp-python"] * (_INSTALLED and not _NAMED)]
_ADDRESS = re.compile(rb"http://(127\.0\.0\.1|localhost):\d+")
_TRIALS = pytest.StashKey[list[ServerTrial]]()

collect_ignore = [] if _INSTALLED else ["test_llama_cpp_python.py"]
if not (_INSTALLED or _NAMED):
    # The suite's own server is tried in tests/serve/test_gateway.py.
    collect_ignore.append("test_served_address.py")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama-cpp-python's server with the bundled model."""
    with _serving(tmp_path_factory.mktemp("server") / "log") as served:
        yield served


@pytest.fixture(scope="module", params=_SERVERS)
def trial(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerTrial]:
    """A server to try, in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    with _OPENED.get(request.param, _named)(home) as opened:
        opened.introduce()
        request.config.stash.setdefault(_TRIALS, []).append(opened)
        yield opened


@contextmanager
def _named(home: Path) -> Iterator[ServerTrial]:
    """The server that the person names, by the variables that the Makefile sets."""

    def given(name: str) -> str:
        return os.environ.get(f"LLTERM_TEST_{name}", "")

    def restart() -> None:
        subprocess.run(given("RESTART"), shell=True, check=True)

    yield ServerTrial(
        _NAMED,
        home,
        config=Path(given("CONFIG")).absolute() if given("CONFIG") else None,
        local=Path(given("MODEL")).absolute() if given("MODEL") else None,
        restart=restart if given("RESTART") else None,
        title=given("SERVER"),
    )


@contextmanager
def _llama_cpp(home: Path) -> Iterator[ServerTrial]:
    """The suite's own server."""
    process = Process()
    process.start()
    try:
        title = f"llama.cpp (xllamacpp {version('xllamacpp')})"
        address, again = process.address, process.again
        yield ServerTrial(address, home, local=BUNDLED, restart=again, once=_quickly, title=title)
    finally:
        process.kill()


@contextmanager
def _llama_cpp_python(home: Path) -> Iterator[ServerTrial]:
    title = f"llama-cpp-python {version('llama-cpp-python')}"
    with _serving(home / "log") as served:
        yield ServerTrial(served, home, local=BUNDLED, title=title, once=_quickly)


@contextmanager
def _serving(log: Path) -> Iterator[str]:
    """The address of llama-cpp-python's server, which writes here what it does."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(BUNDLED), "--port", "0",
               "--n_ctx", "512", "--logits_all", "true"]  # fmt: skip
    # Not a pipe: what nobody reads would fill it, and the server would stand still.
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=output)
    try:
        while not (address := _ADDRESS.search(log.read_bytes())):
            assert process.poll() is None, log.read_text()
            sleep(INTERVAL)
        yield address.group().decode()
    finally:
        process.kill()
        process.wait()


def _quickly(home: Path, *arguments: str | Path) -> Ran:
    """A command without the cost of starting the program."""
    (ran,) = program_batch.run(Batch(home, [[*map(str, arguments)]]))
    return ran


_OPENED = {"llama.cpp": _llama_cpp, "llama-cpp-python": _llama_cpp_python}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The rows for docs/backends.md."""
    for trial in config.stash.get(_TRIALS, []):
        terminalreporter.section(trial.name)
        terminalreporter.write_line(trial.row())
