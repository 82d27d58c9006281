"""A file is whole or not there, whatever stops its writer; its mode is as the person wants it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from llterm import paths, state
from llterm.backends.remote.server_memory import ServerMemory, TokenListing, remember
from llterm.backends.remote.steps import ServerTraits
from llterm.config.trust import trust
from llterm.formats.exports import write_file
from llterm.logbook import open_log
from llterm.session import looms
from llterm.whole_file import IDLE, beside, move, write_whole


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def age(path: Path) -> None:
    moment = path.stat().st_mtime - 2 * IDLE
    os.utime(path, (moment, moment))


def test_the_umask_decides_over_a_new_file(tmp_path: Path, umask: int) -> None:
    write_file(tmp_path / "a.txt", b"text")
    assert mode(tmp_path / "a.txt") == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, umask: int) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    target.chmod(0o640)
    write_file(target, b"new")
    assert (target.read_bytes(), mode(target)) == (b"new", 0o640)


def test_what_llterm_keeps_for_itself_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    os.close(open_log(paths.log_file()))
    state.keep({"ui.theme": "paper"})
    looms.remember(tmp_path / "a.loom")
    trust(tmp_path)
    remember(
        paths.state_dir() / "servers" / "x.json",
        ServerMemory("", "", ServerTraits("", "", 0), TokenListing()),
    )
    kept = [path for path in paths.state_dir().rglob("*") if path.is_file()]
    assert len(kept) == 5
    assert {path.name: oct(mode(path)) for path in kept} == {path.name: "0o600" for path in kept}


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")

    def half() -> None:
        with beside(target) as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_whole(target, b"first", new=True)
    with pytest.raises(FileExistsError):
        write_whole(target, b"second", new=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "dangling", b"third", new=True)
    assert target.read_bytes() == b"first"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "dangling"]


def test_one_that_came_meanwhile_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"

    def late() -> None:
        with beside(target, new=True) as part:
            part.write_bytes(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        late()
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_whole(tmp_path / "link.txt", b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


def test_a_device_is_written_to(tmp_path: Path) -> None:
    write_file(Path("/dev/null"), b"text")
    assert not Path("/dev/null").is_file()


def test_what_a_kill_left_is_swept_away_and_what_is_being_written_stays(tmp_path: Path) -> None:
    target = tmp_path / "a [1].loom"
    with beside(target) as living:
        living.write_bytes(b"slowly written")
        lost = living.with_name(".a [1].loom.0123abcd.part")
        lost.write_bytes(b"half")
        journal = lost.with_name(lost.name + "-journal")
        journal.write_bytes(b"half")
        other = living.with_name(".b.loom.0123abcd.part")
        other.write_bytes(b"of another name")
        age(lost)
        age(other)
        write_whole(target, b"whole")
        assert living.exists()
    assert {path.name for path in tmp_path.iterdir()} == {target.name, other.name}
    assert target.read_bytes() == b"slowly written"


@pytest.mark.parametrize("refused", [0, errno.EXDEV])
def test_moving_is_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    (tmp_path / "a.loom").write_bytes(b"story")
    (tmp_path / "b.loom").write_bytes(b"other")
    if refused:

        def rename(path: Path, target: Path) -> None:
            raise OSError(refused, os.strerror(refused))

        monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(FileExistsError):
        move(tmp_path / "a.loom", tmp_path / "b.loom")
    with pytest.raises(FileNotFoundError):
        move(tmp_path / "a.loom", tmp_path / "no folder" / "c.loom")
    assert (tmp_path / "a.loom").read_bytes() == b"story"
    move(tmp_path / "a.loom", tmp_path / "c.loom")
    assert sorted(os.listdir(tmp_path)) == ["b.loom", "c.loom"]
    assert (tmp_path / "c.loom").read_bytes() == b"story"
