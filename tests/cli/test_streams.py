"""What a command answers does not hang on stderr, on a log, or on a disk that it need not write to;
and where stdout takes nothing, that is the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command_lines import LEAST, furnish, least
from tests.helpers.program import Ran
from tests.helpers.program_batch import Batch, Stream, run

NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}
WRITERS = ("import", "batch", "models quantize", "models remove", "config init", "config trust")
"""Commands whose work is to write something."""
VERDICT = ["mix", "-m", "scripted", "-m", "scripted", "--prompt", "The", "--tokens", "2",
           "--mode", "reference", "--require", "same-top<=0.5"]  # fmt: skip
LINES = [*(least(command) for command in LEAST), VERDICT]


def ran_all(home: Path, stdout: Stream = "pipe", stderr: Stream = "pipe") -> list[Ran]:
    home.mkdir(exist_ok=True)
    furnish(home)
    return run(Batch(home, LINES, stdout, stderr, environment=NOWHERE))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """How each line ends where nothing is wrong."""
    done = ran_all(tmp_path_factory.mktemp("usual"))
    others = {"pull": 3, "serve": 2}
    codes = [next((others[word] for word in line if word in others), 0) for line in LINES[:-1]]
    assert [ran.code for ran in done] == [*codes, 6]
    return done


def head(ran: Ran) -> str:
    """The first line of an answer; later ones may tell times."""
    return ran.out.partition("\n")[0].partition("/")[0]


@pytest.mark.parametrize(("stdout", "stderr"), [("closed", "pipe"), ("full", "full")])
def test_an_answer_that_cannot_be_given_is_a_failure(
    tmp_path: Path, usual: list[Ran], stdout: Stream, stderr: Stream
) -> None:
    for line, was, ran in zip(LINES, usual, ran_all(tmp_path, stdout, stderr), strict=True):
        assert ran.code == (1 if was.out else was.code), (line, ran)
        assert not ran.faulty, ran.err
        if stderr == "pipe" and was.out:
            assert "llterm: Nothing can be printed\n  Standard output" in ran.err, (line, ran)


@pytest.mark.parametrize("stderr", ["closed", "full"])
def test_narration_that_goes_nowhere_changes_nothing(
    tmp_path: Path, usual: list[Ran], stderr: Stream
) -> None:
    for line, was, ran in zip(LINES, usual, ran_all(tmp_path, stderr=stderr), strict=True):
        assert (ran.code, head(ran)) == (was.code, head(was)), line


@pytest.mark.parametrize("full", [False, True], ids=["read-only", "full"])
def test_what_writes_nothing_needs_no_room(tmp_path: Path, usual: list[Ran], full: bool) -> None:
    furnish(tmp_path)
    if not full:
        tmp_path.chmod(0o500)
    done = run(Batch(tmp_path, LINES, full=full, environment=NOWHERE))
    tmp_path.chmod(0o700)
    for line, was, ran in zip(LINES, usual, done, strict=True):
        assert not ran.faulty, ran.err
        if " ".join(line).startswith(WRITERS):
            assert ran.code == 0 or len(ran.err[ran.err.index("llterm: ") :].splitlines()) > 1, ran
        else:
            assert (ran.code, head(ran)) == (was.code, head(was)), (line, ran)


def test_a_base_file_that_finds_no_room_is_told_and_taken_away(tmp_path: Path) -> None:
    line = [*VERDICT[:-2], "--continue", "40", "--window", "16", "--write-base", "a.base"]
    (ran,) = run(Batch(tmp_path, [line], full=True))
    assert ran.code
    assert "llterm: a.base cannot be written\n  File too large" in ran.err
    assert not (tmp_path / "a.base").exists()
