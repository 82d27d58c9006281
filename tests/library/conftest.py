from __future__ import annotations

from collections.abc import Iterator

import pytest

import llterm


@pytest.fixture(scope="package")
def model() -> Iterator[llterm.Model]:
    """The bundled model, open for all of these tests: none of them closes it."""
    with llterm.open("fable") as opened:
        yield opened
