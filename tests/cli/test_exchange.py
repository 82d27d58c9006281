"""`llterm export`, `llterm import` and `llterm doctor FILE.loom`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.session.document import Document
from tests.helpers import foreign_files
from tests.helpers.document_edits import model_run
from tests.helpers.hostile_looms import change
from tests.helpers.program import run


@pytest.fixture
def loom(tmp_path: Path) -> Path:
    document = Document.scratch(b"The red")
    document.accept(model_run(b" fox", b"\x1b[31m."), 7)
    document.copy_to(tmp_path / "a.loom")
    return tmp_path / "a.loom"


def test_the_story_goes_to_a_pipe_byte_for_byte(tmp_path: Path, loom: Path) -> None:
    for output in ([], ["-o", "-"]):
        ran = run(tmp_path, "export", "a.loom", *output)
        assert (ran.code, ran.out, ran.err) == (0, "The red fox\x1b[31m.", "")
    assert not (tmp_path / "-").exists()


def test_the_outputs_name_says_the_format(tmp_path: Path, loom: Path) -> None:
    for name, start in (("a.html", "<!doctype"), ("a.svg", "<svg"), ("a.dot", "digraph"),
                        ("a.md", "# a"), ("a.json", "{"), ("a.ll.json", "{"),
                        ("odd", "The red")):  # fmt: skip
        ran = run(tmp_path, "export", "a.loom", "-o", name)
        assert ran.code == 0
        assert ran.out == ""
        assert name in ran.err
        assert (tmp_path / name).read_text().startswith(start)
    assert json.loads((tmp_path / "a.ll.json").read_text())["modelName"] == "m"
    ran = run(tmp_path, "export", "a.loom", "-o", "a.png")
    if ran.code:  # A machine without fonts.
        assert "There is no font to write a PNG with" in ran.err
    else:
        assert "png" in ran.err
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    ran = run(tmp_path, "export", "a.loom", "-o", "b.json", "--format", "loomsidian")
    assert "current" in json.loads((tmp_path / "b.json").read_text())


def test_export_tells_what_is_wrong(tmp_path: Path, loom: Path) -> None:
    (tmp_path / "a.txt").write_text("no loom")
    assert "not a loom" in run(tmp_path, "export", "a.txt").err
    assert run(tmp_path, "export", "none.loom").code == 2
    before = loom.read_bytes()
    ran = run(tmp_path, "export", "a.loom", "-o", "a.loom")
    assert ran.code == 2
    assert "overwrite" in ran.err
    assert loom.read_bytes() == before
    ran = run(tmp_path, "export", "a.loom", "-o", "no/folder/a.txt")
    assert ran.code == 1
    assert not ran.faulty, ran.err


def test_import_makes_a_loom_beside_the_file_and_overwrites_none(tmp_path: Path) -> None:
    (tmp_path / "tale.ll.json").write_text(json.dumps(foreign_files.LOGITLOOM))
    ran = run(tmp_path, "import", "tale.ll.json")
    assert ran.code == 0
    assert "tale.loom: 5 nodes from tale.ll.json (logitloom)" in ran.err
    assert "tale 2.loom" in run(tmp_path, "import", "tale.ll.json").err
    assert run(tmp_path, "import", "tale.ll.json", "-o", "tale.loom").code == 2
    ran = run(tmp_path, "export", "tale.loom", "--format", "logitloom")
    assert json.loads(ran.out) == foreign_files.LOGITLOOM


def test_import_says_what_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text(json.dumps(foreign_files.MIKUPAD))
    ran = run(tmp_path, "import", "session.json")
    assert "keys" in ran.err
    assert foreign_files.MIKUPAD_KEY not in ran.err + ran.out


def test_import_tells_what_is_wrong_and_where(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"root": {"text": "a", "children": [{"text": 3}]}}')
    ran = run(tmp_path, "import", "a.json")
    assert ran.code == 2
    assert "a.json cannot be imported" in ran.err
    assert "root.children[0]" in ran.err
    assert not (tmp_path / "a.loom").exists()
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\0")
    Document.scratch(b"x").copy_to(tmp_path / "is.loom")
    for arguments in (["none.json"], ["."], ["a.json", "--from", "bonsai"], ["a.png"], ["is.loom"]):
        assert run(tmp_path, "import", *arguments).code == 2


def test_doctor_repairs_when_asked(tmp_path: Path, loom: Path) -> None:
    change(loom, "update meta set value = 99 where key = 'head'")
    ran = run(tmp_path, "doctor", "a.loom")
    assert ran.code == 1
    assert "llterm doctor --repair" in ran.out
    ran = run(tmp_path, "doctor", "a.loom", "--repair")
    assert ran.code == 0
    assert "The damaged file is kept" in ran.out
    assert "sound; a story of 3 words" in run(tmp_path, "doctor", "a.loom").out


def test_a_name_too_long_for_a_loom_is_refused_before_one_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Once")
    name = "n" * 245 + ".loom"
    ran = run(tmp_path, "import", "a.txt", "-o", name)
    assert ran.code == 2
    assert "File name too long" in ran.err
    assert not (tmp_path / name).exists()
