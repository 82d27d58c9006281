"""Paths of every odd kind, in every parameter that takes one."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path

from tests.helpers.command_lines import furnish, least, path_parameters
from tests.helpers.program import Ran
from tests.helpers.program_batch import Batch, run

Make = Callable[[Path], object]
LONG = "n" * 300


def _forbidden(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


ODD: Mapping[str, Make] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK),
    "forbidden": _forbidden,
    "no-such-\udcff": lambda _: None,
    LONG: lambda _: None,
}
"""By name: how to make one."""
SUFFIXES = ("", ".loom", ".gguf")
WALKED = sorted({command for command, _ in path_parameters()})


def is_told(ran: Ran) -> bool:
    """An answer; or a title, and a cause or a hint, which are part of doctor's answer."""
    if ran.faulty:
        return False
    at = ran.err.find("llterm: ")
    told = at >= 0 and len(ran.err[at:].splitlines()) > 1
    return ran.code == 0 or told or "\n  fails   " in ran.out


def walk(home: Path, walked: Iterable[str], odd: Iterable[str], suffixes: Iterable[str]) -> None:
    """Fails with what goes wrong in any parameter of these commands with these kinds of paths."""
    furnish(home)
    lines: list[list[str]] = []
    for command, parameter in path_parameters():
        for kind, suffix in product(odd, suffixes) if command in walked else ():
            # Each has a path of its own: what one run does to one is no matter for the next.
            folder = home / f"{len(lines)}"
            folder.mkdir()
            ODD[kind](folder / f"{kind}{suffix}")
            lines.append(least(command, **{parameter: f"{folder.name}/{kind}{suffix}"}))
    done = run(Batch(home, lines, environment={"HF_ENDPOINT": "http://127.0.0.1:9"}))
    wrong = [(line, ran) for line, ran in zip(lines, done, strict=True) if not is_told(ran)]
    assert not wrong, "\n".join(f"{line}\n{ran.code}: {ran.err}" for line, ran in wrong)
