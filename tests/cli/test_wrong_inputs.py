"""Each wrong input ends in a title, a hint and its exit code; never in a traceback."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from llterm.jobs.inputs import MOST_BYTES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.command_lines import commands, least, parameters
from tests.helpers.mutated_models import gguf_header
from tests.helpers.program import Ran, run

Make = Callable[[Path], None]


def put(name: str, data: bytes | str) -> Make:
    def make(home: Path) -> None:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    return make


def nothing(_: Path) -> None: ...


def settings(text: str) -> Make:
    return put("config/llterm.toml", text)


WRONG: list[tuple[str, Make, str, int, str, str]] = [
    # name, what lies there, command line, exit code, in the title, in what follows
    ("config: unknown key", settings("[weave]\ndept = 3\n"),
     "suggest --prompt x", 2, "Unknown key dept", "depth"),
    ("config: wrong type", settings("[weave]\ndepth = 'x'\n"),
     "config check", 2, "weave.depth", "whole number"),
    ("config: no TOML", settings("[weave\n"), "doctor", 2, "not valid TOML", "line 1"),
    ("config: unknown action", settings("[keys]\n'weave.begin' = 'f6'\n"),
     "keys", 2, "weave.begin", "keys"),
    ("config: dead key", settings("[keys]\n'weave.start' = 'ctrl+i'\n"),
     "keys", 2, "ctrl+i", "tab"),
    ("config: clash", settings("[keys]\n'weave.start' = 'ctrl+q'\n"),
     "config check", 2, "app.quit", "another key"),
    ("config: missing file", nothing,
     "config check --config no.toml", 2, "cannot be read", "no.toml"),
    ("config: missing model file", settings("[models.m]\npath = 'no.gguf'\n"),
     "config check", 2, "model m", "no.gguf"),
    ("config: no such theme", settings("[ui]\ntheme = 'papr'\n"),
     "config check", 2, "There is no theme papr", "paper"),
    ("config: there already", put("config/llterm.toml", ""), "config init", 2, "already", "never"),
    ("gguf: unknown name", nothing, "suggest --prompt x -m fabel", 4, "fabel", "fable?"),
    ("gguf: missing", nothing, "suggest --prompt x -m no.gguf", 4, "no.gguf", "models list"),
    ("gguf: other format", put("a.gguf", b"PK\x03\x04" * 9),
     "models info a.gguf", 4, "not a GGUF", "GGUF"),
    ("gguf: empty", put("a.gguf", b""), "suggest --prompt x -m a.gguf", 4, "a.gguf", "GGUF"),
    ("gguf: cut off", lambda home: put("a.gguf", BUNDLED.read_bytes()[:200_000])(home),
     "suggest --prompt x -m a.gguf", 4, "a.gguf", "again"),
    ("gguf: version", put("a.gguf", b"GGUF" + struct.pack("<I", 99) + bytes(64)),
     "suggest --prompt x -m a.gguf", 4, "version", "99"),
    ("gguf: encoder", put("a.gguf", gguf_header(general__architecture="bert")),
     "suggest --prompt x -m a.gguf", 4, "a.gguf", "text"),
    ("gguf: folder", put("a.gguf/x", b""), "models info a.gguf", 4, "folder", "gguf"),
    ("text: missing", nothing, "suggest no.txt", 2, "no.txt", "name"),
    ("text: zero bytes", put("a.txt", b"ab\0c"), "suggest a.txt", 2, "not a text", "UTF-8"),
    ("text: UTF-16", put("a.txt", "\ufeffabc".encode("utf-16-le")),
     "weave a.txt", 2, "UTF-16", "UTF-8"),
    ("text: a model", put("a.txt", b"GGUF" + bytes(9)), "suggest a.txt", 2, "model", "-m"),
    ("text: folder", put("a/x", b""), "suggest a", 2, "folder", "loom"),
    ("loom: missing", nothing, "suggest no.loom", 2, "no.loom", "name"),
    ("loom: none to export", nothing, "export no.loom", 2, "no loom", "name"),
    ("loom: not one", put("a.loom", b"a text with another name"),
     "suggest a.loom", 2, "a.loom", ""),
    ("loom: damaged", put("a.loom", b"SQLite format 3\0" + bytes(500)),
     "suggest a.loom", 2, "a.loom", "llterm doctor 'a.loom'"),
    ("loom: doctor", put("a.loom", b"no"), "doctor a.loom", 2, "not a loom", "made"),
    ("flags: command", nothing, "waeve", 2, "waeve", "weave?"),
    ("flags: misspelt", nothing, "suggest --prompt x --beam-s 3", 2, "--beam-s", "--beams"),
    ("flags: range", nothing, "suggest --prompt x --depth 0", 2, "--depth", "1 to 500"),
    ("flags: not finite", nothing, "suggest --prompt x --cutoff nan", 2, "--cutoff", "finite"),
    ("flags: huge", nothing, "suggest --prompt x --beams 1000000000", 2, "--beams", "5,000"),
    ("flags: no number", nothing, "suggest --prompt x --beams few", 2, "--beams", "number"),
    ("flags: too small", nothing, "sample --prompt x -n 0", 2, "--number", "at least 1"),
    ("flags: format", nothing, "suggest --prompt x --format xml", 2, "--format", "tree"),
    ("flags: model's", nothing, "suggest --prompt x --context 1", 2, "--context", "64"),
    ("flags: two texts", put("a.txt", "x"), "suggest a.txt --prompt x", 2, "Both", "one"),
    ("flags: no text", nothing, "suggest", 2, "no text", "--prompt"),
    ("constraint: regex", nothing, "suggest --prompt x --regex (", 2, "pattern", "Character 1"),
    ("constraint: two", nothing, "suggest --prompt x --regex a --choice b", 2, "together", "one"),
    ("constraint: grammar", put("g.lark", "start: nowhere"),
     "suggest --prompt x --grammar g.lark", 2, "grammar", "nowhere"),
    ("constraint: schema", put("s.json", "{"),
     "suggest --prompt x --json-schema s.json", 2, "schema", "Line 1"),
    ("score: no text", nothing, "score", 2, "no text", "--prompt"),
    ("score: empty", put("a.txt", ""), "score a.txt", 2, "empty", "nothing"),
    ("score: window", nothing, "score --prompt x --window 5000", 2, "--window", "2,048"),
    ("score: stride", nothing, "score --prompt x --window 64 --stride 64", 2, "--stride", "63"),
    ("score: halves", nothing, "score --prompt x --method halves", 2, "fill", "overlap"),
    ("flags: no value", nothing, "suggest --depth", 2, "--depth", "--help"),
    ("flags: no command", nothing, "models", 2, "one more word", "list"),
    ("flags: a loom as command", nothing, "story.loom", 2, "story.loom", "weave story.loom"),
    ("terminal: none for keys", nothing, "keys --test", 2, "no terminal", "pipe"),
]  # fmt: skip


def is_titled(ran: Ran) -> bool:
    title, *more = ran.err.strip().splitlines()[-4:]
    return "llterm: " in title + "".join(more) and not ran.faulty


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0])
def test_wrong_inputs(tmp_path: Path, case: tuple[str, Make, str, int, str, str]) -> None:
    _, make, line, code, title, more = case
    make(tmp_path)
    ran = run(tmp_path, *line.split())
    assert ran.code == code, ran.err
    assert is_titled(ran), ran.err
    at = ran.err.index("llterm: ")
    first, *rest = ran.err[at:].splitlines()
    assert title in first
    assert rest, "a hint is missing"
    assert more in ran.err
    assert not ran.out


def test_no_two_errors_are_alike(tmp_path: Path) -> None:
    assert len({case[0] for case in WRONG}) == len(WRONG) >= 30


@pytest.mark.parametrize("command", [name for name in commands() if "preset" in parameters(name)])
def test_a_preset_that_is_not_there_is_a_persons_error(tmp_path: Path, command: str) -> None:
    ran = run(tmp_path, *least(command, preset="nowhere"))
    assert ran.code == 2, ran.err
    assert is_titled(ran), ran.err
    assert "nowhere" in ran.err
    assert not ran.out


def test_wrong_variables(tmp_path: Path) -> None:
    ran = run(tmp_path, "suggest", "--prompt", "x", LLTERM_WEAVE_DEPHT="3")
    assert ran.code == 2
    assert "LLTERM_WEAVE_DEPTH" in ran.err


def test_a_hostile_file_name_reaches_no_terminal(tmp_path: Path) -> None:
    ran = run(tmp_path, "suggest", "a\x1b]0;x\x07\x9b31m\u202e.txt")
    assert ran.code == 2
    assert not set(ran.err) & set("\x1b\x07\x9b\u202e")


def test_more_on_standard_input_than_is_read_is_not_cut_in_silence(tmp_path: Path) -> None:
    ran = run(tmp_path, "suggest", "-", stdin=b"a" * (MOST_BYTES + 1))
    assert ran.code == 2
    assert "Standard input is too large for a story" in ran.err
