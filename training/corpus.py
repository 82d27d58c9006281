"""Reading stories from text files, and the curly-quote variant of a story.

A text file holds stories separated by lines that contain only ``<|endofstory|>``. A file without
such a line is one story. Files may be plain (``.txt``) or packed (``.txt.xz``). A folder stands for
all such files in it, except those whose name begins with ``heldout``.
"""

from __future__ import annotations

import lzma
import random
import re
from pathlib import Path

SEPARATOR = "<|endofstory|>"
ELISIONS = (
    "tis|twas|twere|twill|twould|em|un|uns|cause|cos|bout|round|way|most|neath|gainst|fraid|less|"
    "mongst|nuff|stead|tween|twixt"
)

_SINGLE_ELISION = re.compile(rf"'(?=(?:{ELISIONS})\b)", re.IGNORECASE)


def text_files(path: Path) -> list[Path]:
    """Return the text files that `path` (a file or a folder) stands for, in name order."""
    if not path.is_dir():
        return [path]
    files = [*path.glob("*.txt"), *path.glob("*.txt.xz")]
    return sorted(file for file in files if not file.name.startswith("heldout"))


def read_stories(path: Path) -> list[str]:
    """Return every story under `path`, without the separators and the newlines beside them."""
    stories: list[str] = []
    for file in text_files(path):
        data = file.read_bytes()
        text = (lzma.decompress(data) if file.suffix == ".xz" else data).decode("utf-8")
        parts = re.split(rf"^{re.escape(SEPARATOR)}$", text, flags=re.MULTILINE)
        stories += [story for story in (part.strip("\n") for part in parts) if story]
    if not stories:
        raise SystemExit(f"no stories found in {path}")
    return stories


def typographic(text: str) -> str:
    """Return `text` with curly quotes, em dashes and ellipsis characters for the ASCII ones."""
    text = text.replace("...", "\u2026").replace("--", "\u2014")
    text = _SINGLE_ELISION.sub("\u2019", text)
    # Outer first: a single quote next to an opening double quote opens too.
    text = re.sub(r'(?<![^\s(\[\'])"(?=\S)', "\u201c", text)
    text = re.sub(r'(?<=\u2014)"(?=\w)', "\u201c", text)
    text = text.replace('"', "\u201d")
    text = re.sub(r"(?<![^\s(\[\u201c\u2014])'(?=[\w\u201c])", "\u2018", text)
    return text.replace("'", "\u2019")


def with_variants(stories: list[str], share: float, seed: int) -> list[str]:
    """Return the stories, a seeded `share` of them (whole stories) in curly-quote typography."""
    chooser = random.Random(seed)
    return [typographic(story) if chooser.random() < share else story for story in stories]
