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
        *(
            ROOT / name
            for name in ("README.md", "AGENTS.md", "CHANGELOG.md", "Makefile", "pyproject.toml")
        ),
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


PATH = re.compile(r"(?<![\w./~-])(?:[\w-]+/)*[\w-]+\.py\b")
"""A file of Python as a page names it: by its name, or its way from one of these folders."""
ROOTS = ("", "llterm", "llterm/backends")


def test_the_pages_for_programmers_name_files_that_are_there() -> None:
    names = {path.name for folder in ("llterm", "tests") for path in (ROOT / folder).rglob("*.py")}
    for page in ("AGENTS.md", "docs/architecture.md", "docs/features.md"):
        paths = {*PATH.findall((ROOT / page).read_text("utf-8"))}
        paths -= {path for path in paths if "NAME" in path}
        assert len(paths) > 10, page
        missing = [
            path
            for path in paths - names
            if not any((ROOT / folder / path).exists() for folder in ROOTS)
        ]
        assert not missing, page


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
        targets = [link for link in links if "://" not in link]
        assert not [link for link in targets if not (page.parent / link).exists()], page
