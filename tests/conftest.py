"""What holds for every test run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from tests.helpers import planted_key
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.plain_decoder import PlainDecoder
from tests.helpers.server_process import Process
from tests.helpers.soak_rounds import explores

# On a busy machine anything takes long: no test is about how long it takes. What passes here passes
# in CI: the same examples every time; a longer soak draws new ones.
settings.register_profile(
    "untimed",
    deadline=None,
    derandomize=not explores(),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests against a real server run where the extra `dev` brings one: its package, xllamacpp, is
    asked for on Linux alone."""
    if sys.platform != "linux" and item.get_closest_marker("server"):
        pytest.skip("no llama.cpp server is installed on this system")


@pytest.fixture(scope="session", autouse=True)
def no_key_is_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A key lies in the environment of every test; no file that the run leaves may hold it.

    What is remembered of servers is kept there too.
    """
    os.environ[planted_key.VARIABLE] = planted_key.KEY
    os.environ["LLTERM_STATE_DIR"] = str(tmp_path_factory.mktemp("state"))
    yield
    assert not [*planted_key.found_in(tmp_path_factory.getbasetemp())]


@pytest.fixture
async def backend() -> AsyncIterator[LlamaBackend]:
    """The bundled model in this process, with one thread."""
    opened = await open_llama(BUNDLED, LlamaSettings(threads=1))
    yield opened
    await opened.close()


@pytest.fixture
def plain() -> Iterator[PlainDecoder]:
    """The bundled model, each prefix decoded alone."""
    decoder = PlainDecoder(BUNDLED)
    yield decoder
    decoder.close()


@pytest.fixture
def process() -> Iterator[Process]:
    """A real llama.cpp server that a test may kill and start again."""
    made = Process()
    made.start()
    yield made
    made.kill()
