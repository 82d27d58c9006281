"""Starting stories: an empty page is the hardest place to begin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Story:
    """The beginning of a story to go on from."""

    title: str
    text: str
    path: Path | None = None
    """The person's own file; None of llterm's."""


STORIES = (
    Story(
        "The dark forest",
        "Once upon a time there was a little fox who lived at the edge of a dark forest. One"
        " evening, as the moon rose over the trees, he heard a",
    ),
    Story(
        "The king's three sons",
        "There was once a king who had three sons, and the youngest was the one whom everybody"
        " laughed at. One day the king fell ill, and",
    ),
    Story(
        "The rabbit's house",
        "The little rabbit hopped up the path to his house. The door was open, and",
    ),
    Story(
        "The old woman's box",
        "The old woman opened the box very slowly. Inside it was",
    ),
)
