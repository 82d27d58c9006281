"""What holds for every test run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import planted


@pytest.fixture(scope="session", autouse=True)
def no_key_is_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A key lies in the environment of every test; no file that the run leaves may hold it.

    What is remembered of servers is kept there too.
    """
    os.environ[planted.VARIABLE] = planted.KEY
    os.environ["LLTERM_STATE_DIR"] = str(tmp_path_factory.mktemp("state"))
    yield
    assert not [*planted.found_in(tmp_path_factory.getbasetemp())]
