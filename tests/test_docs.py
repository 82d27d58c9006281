"""The generated pages are current, and the written ones name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


OURS = re.compile(r"https?://(127\.0\.0\.1|localhost)\b")
"""Addresses on the reader's own machine. llterm has no other that it could vouch for."""
FETCHED = re.compile(r"\b(git clone|git\+|curl|wget|install)\b[^|`\n]*?((?:git\+)?https?://\S+)")
NAMED = re.compile(r"\b(?:pipx?|uv tool|uv pip) install (?:-\S+ )*['\"]?llterm\b")
"""llterm is in no package index."""


def test_nobody_is_told_to_fetch_code_from_an_address_that_is_not_ours() -> None:
    """Whoever owns such an address, or registers it one day, has readers run their code."""
    pages = [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docs").rglob("*.json"),
        *(ROOT / "llterm").rglob("*.py"),
    ]
    for page in pages:
        text = page.read_text()
        told = [one[2] for one in FETCHED.finditer(text) if not OURS.match(one[2])]
        assert not told, page
        assert not NAMED.search(text), page
        assert "github.com/llterm" not in text, page
