"""A path may be of anything: each that a command takes works, or is refused in three parts."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command_lines import LEAST, commands, furnish
from tests.helpers.odd_paths import WALKED, walk
from tests.helpers.program_batch import Batch, run


def test_every_command_has_its_least() -> None:
    assert set(LEAST) == set(commands())


def test_no_path_is_waited_for(tmp_path: Path) -> None:
    walk(tmp_path, WALKED, ("pipe",), ("",))


def test_a_name_of_any_bytes_works(tmp_path: Path) -> None:
    folder = tmp_path / "d\udcff"
    folder.mkdir()
    furnish(folder)
    loom = "d\udcff/a.loom"
    lines = [
        ["doctor", loom],
        ["export", loom],
        ["export", loom, "-o", "d\udcff/out.json"],
        ["import", "d\udcff/out.json"],
        ["import", "d\udcff/a.txt"],
        ["suggest", "-m", "scripted", loom],
        ["score", "-m", "scripted", loom],
        ["weave", "-m", "scripted", loom],
    ]
    for line, ran in zip(lines, run(Batch(tmp_path, lines)), strict=True):
        assert ran.code == 0, (line, ran)
