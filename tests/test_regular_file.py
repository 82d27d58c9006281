"""The mark of UTF-8 that some editors write is no part of a person's text, wherever it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm import paths
from llterm.cli.arguments import constraint_of
from llterm.constraints import spec
from llterm.errors import UsageError
from llterm.jobs.inputs import argument_text, read_text
from llterm.regular_file import MARK, text_of
from llterm.session.stories import starting_stories


def test_a_text_file_begins_after_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(MARK + b"Once")
    assert read_text(path) == b"Once"
    assert argument_text("\ufeffOnce") == b"Once"


def test_a_starting_story_begins_after_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path))
    paths.made(paths.stories_dir()).joinpath("a.txt").write_bytes(MARK + b"Once\n")
    assert starting_stories()[0].text == "Once"


@pytest.mark.parametrize("flag", ["grammar", "json_schema"])
def test_a_constraint_begins_after_its_mark(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "a.file"
    path.write_bytes(MARK + b'{"type": "string"}')
    made = constraint_of({flag: path})
    assert made is not None
    assert made.text == '{"type": "string"}'


def test_a_schema_of_an_endless_number_is_refused() -> None:
    with pytest.raises(UsageError, match="JSON schema cannot be used"):
        spec.json_schema('{"maximum": ' + "9" * 6000 + "}").grammar()


@pytest.mark.parametrize("data", [b"GGUF...", b"\xff\xfea\0", b"a\0b"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        text_of(data, "a file")
