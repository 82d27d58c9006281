"""What a model sees of a long text: one rule, one way to tell it."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.windows import RESERVE, STEPS, SeenStory, first_seen
from llterm.reports.json_values import sight_fields


@given(st.integers(0, 5000), st.integers(0, 3000), st.integers(16, 4096), st.integers(0, 200))
def test_what_is_seen_fits_and_leaves_room(count: int, more: int, context: int, ahead: int) -> None:
    head = min(more, context)
    start = first_seen(count, head, context, ahead)
    seen = count - start
    room = context - head - min(max(RESERVE, ahead), context // STEPS)
    assert 0 <= start <= max(count - 1, 0)
    assert seen <= max(room, 1)
    assert (start == 0) == (count <= max(room, 1))
    assert start % max((context - head) // STEPS, 1) == 0 or seen == 1


def test_every_command_that_goes_on_from_a_text_says_what_it_dropped() -> None:
    """Those are the commands whose figures tell the prompt's part."""
    folder = Path(__file__).parents[2] / "docs/schema"
    notices = {
        path.stem: stats
        for path in folder.glob("*.json")
        if "prompt_tokens_evaluated"
        in (
            stats := json.loads(path.read_text("utf-8")).get("properties", {}).get("stats", {})
        ).get("properties", {})
    }
    assert {"suggest", "sample"} <= set(notices)
    for name, stats in notices.items():
        assert set(sight_fields(SeenStory(), 64)) <= set(stats["required"]), name


def test_figures_name_what_is_hidden_and_what_is_dropped() -> None:
    assert SeenStory(13).told(2048) == "13 of 2,048 tokens"
    assert SeenStory(13, hidden=2030).told(2048) == "13 + memory 2,030 of 2,048 tokens"
    assert SeenStory(5, hidden=9, chat=True).told(64) == "5 + chat 9 of 64 tokens"
    long = SeenStory(23243, dropped=21300, start=90000, hidden=212)
    assert long.told(2048) == "the last 1,943 of 23,243 tokens; memory 212"
    assert "21,300" in long.dropping(2048)
    assert SeenStory(13).dropping(2048) == ""
