"""A served model's process is killed again and again, at random moments of its requests."""

from __future__ import annotations

import random

import pytest

from tests.helpers.model_processes import kill_at_any_moment
from tests.helpers.soak_rounds import explores, rounds

pytestmark = pytest.mark.soak


async def test_no_text_crosses_over_many_kills() -> None:
    seed = random.randrange(1 << 30) if explores() else 7
    await kill_at_any_moment(rounds(20), 8, seed)
