"""`llterm suggest`: data on stdout, narration on stderr, the same twice."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from tests.helpers.json_schema import run_json
from tests.helpers.program import folders, run
from tests.helpers.terminal import Terminal, llterm

SCRIPTED = ("suggest", "-m", "scripted", "--prompt", "Every evening the cat")


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "stats": {**found["stats"], "seconds": 0}}


@pytest.mark.parametrize("model", ["scripted", "fable"])
def test_json_is_as_documented_and_the_same_twice(tmp_path: Path, model: str) -> None:
    arguments = ("suggest", "-m", model, "--prompt", "The old woman opened the")
    first, second = run_json(tmp_path, *arguments), run_json(tmp_path, *arguments)
    assert without_time(first) == without_time(second)
    assert first["model"] == model
    ps = [suggestion["p"] for suggestion in first["suggestions"]]
    assert ps == sorted(ps, reverse=True)
    for suggestion in first["suggestions"]:
        joint = math.fsum(token["logprob"] for token in suggestion["tokens"])
        assert suggestion["logprob"] == pytest.approx(joint, abs=1e-4)
        assert suggestion["p"] == pytest.approx(math.exp(joint), rel=1e-3)


def test_settings_come_from_the_flags(tmp_path: Path) -> None:
    printed = run_json(
        tmp_path, *SCRIPTED, "--depth", "3", "--beams", "4", "--cutoff", "0.01", "--no-heal",
        "--no-auto-stop", "--stop", "lamps", "--split-limit", "2", "--multiplier", "0.5",
    )  # fmt: skip
    settings = printed["settings"]
    assert (settings["depth"], settings["beams"], settings["cutoff"], settings["heal"]) == (
        3,
        4,
        0.01,
        False,
    )
    assert (settings["stop"], settings["split_limit"], settings["multiplier"]) == (
        ["lamps"],
        2,
        0.5,
    )
    assert len(printed["suggestions"]) <= 4
    assert all(len(suggestion["tokens"]) <= 3 for suggestion in printed["suggestions"])


def test_bytes_are_exact_where_text_cannot_be(tmp_path: Path) -> None:
    text = b"Once \xff upon \xc3\xa9 a time"
    printed = run_json(tmp_path, "suggest", "-m", "scripted", "-", stdin=text)
    assert printed["prompt"] == text.decode("utf-8", "replace")
    for suggestion in printed["suggestions"]:
        assert bytes(suggestion["bytes"]).decode("utf-8", "replace") == suggestion["text"]


@pytest.mark.parametrize("format", ["text", "tree", "dot"])
def test_the_other_formats(tmp_path: Path, format: str) -> None:
    ran = run(tmp_path, *SCRIPTED, "--format", format)
    assert ran.code == 0
    assert "scripted: " in ran.err
    shown = [line.strip() for line in ran.out.splitlines()]
    assert len(shown) > 5
    assert "%" in ran.out
    if format == "text":
        assert shown[0].startswith("1 ")
    if format == "dot":
        assert shown[0] == "digraph weave {"
        assert shown[-1] == "}"


def test_the_graph_is_well_formed(tmp_path: Path) -> None:
    """Every line is a node or an edge between nodes that exist, with quotes that close."""
    ran = run(tmp_path, *SCRIPTED, "--format", "dot")
    lines = [line.strip() for line in ran.out.splitlines()[1:-1]]
    quoted = r'"(?:[^"\\]|\\.)*"'
    nodes = [found[1] for line in lines if (found := re.match(rf"(\w+) \[label={quoted}", line))]
    edges = [found.groups() for line in lines if (found := re.match(r"(\w+) -> (\w+)", line))]
    assert len(nodes) == len(set(nodes)) > 5
    assert {end for edge in edges for end in edge} <= set(nodes)


def test_a_hostile_prompt_is_drawn_inert(tmp_path: Path) -> None:
    hostile = '"\\\x1b[2J\x9b31m\u202e[red]x'
    for format in ("text", "tree", "dot", "json"):
        ran = run(
            tmp_path, "suggest", "-m", "scripted", "--prompt", hostile, "--format", format,
            "--no-heal", "--depth", "2",
        )  # fmt: skip
        assert not set(ran.out + ran.err) & set("\x1b\x9b\u202e")


def test_a_loom_is_read_with_its_own_settings_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    document = Document.create(path, b"Every evening the cat", WeaveSettings(depth=2, beams=3))
    document.close()
    before = path.read_bytes()
    untyped = run_json(tmp_path, "suggest", "a.loom", "-m", "scripted")
    assert untyped["prompt"] == "Every evening the cat"
    assert (untyped["settings"]["depth"], untyped["settings"]["beams"]) == (2, 3)
    typed = run_json(tmp_path, "suggest", "a.loom", "-m", "scripted", "--beams", "1")
    assert (typed["settings"]["depth"], typed["settings"]["beams"]) == (2, 1)
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["a.loom"]


def test_a_loom_that_is_open_elsewhere_can_be_read(tmp_path: Path) -> None:
    document = Document.create(tmp_path / "a.loom", b"Every evening the cat")
    try:
        assert run_json(tmp_path, "suggest", "a.loom", "-m", "scripted")["suggestions"]
    finally:
        document.close()


def test_a_hidden_prefix_is_seen_by_the_model_only(tmp_path: Path) -> None:
    printed = run_json(tmp_path, *SCRIPTED, "--prefix", "The river.")
    assert printed["prefix"] == "The river."
    assert printed["prompt"] == "Every evening the cat"


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "llterm", *SCRIPTED, "--format", "json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, **folders(tmp_path)},
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@pytest.mark.pty
def test_ctrl_c_ends_a_long_weave(tmp_path: Path) -> None:
    command = llterm(
        *SCRIPTED, "--cutoff", "0", "--split-limit", "0", "--beams", "5000", "--depth", "500",
        "--no-auto-stop", "--budget", "10000000",
    )  # fmt: skip
    with Terminal(command, env=folders(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("Weaving: ")
        terminal.send("\x03")
        assert terminal.wait() == 130
        assert "llterm: Interrupted" in terminal.text
        assert "Traceback" not in terminal.text
        assert terminal.restored


def test_suggestions_fit_a_constraint(tmp_path: Path) -> None:
    prompt = (
        "suggest", "--prompt", "Is the fox at home? The answer is", "--cutoff", "0",
        "--split-limit", "0", "--beams", "200",
    )  # fmt: skip
    chosen = run_json(
        tmp_path, *prompt, "--choice", " yes", "--choice", " no", "--choice", " maybe"
    )
    assert {suggestion["text"] for suggestion in chosen["suggestions"]} == {" yes", " no", " maybe"}
    assert len(chosen["suggestions"]) == 3
    assert sum(suggestion["share"] for suggestion in chosen["suggestions"]) == pytest.approx(1)
    together = sum(suggestion["p_same_text"] for suggestion in chosen["suggestions"])
    assert together == pytest.approx(chosen["stats"]["coverage"][0])
    assert together < 0.5, "the model's own probabilities: it would rather say something else"
    assert chosen["constraint"]["kind"] == "choice"
    assert 0.5 < chosen["suggestions"][0]["tokens"][0]["masked"] < 1
    dates = run_json(
        tmp_path, "suggest", "--prompt", "The day was", "--regex", " (May|June) [0-9]{1,2}",
        "--depth", "12",
    )  # fmt: skip
    ended = [
        suggestion["text"] for suggestion in dates["suggestions"] if suggestion["finish"] == "end"
    ]
    assert ended
    assert all(re.fullmatch(r" (May|June) [0-9]{1,2}", text) for text in ended)
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["fox", "cat"]}, "age": {"enum": [3, 5]}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    (tmp_path / "s.json").write_text(json.dumps(schema))
    made = run_json(
        tmp_path, "suggest", "--prompt", "The animal: ", "--json-schema", "s.json",
        "--depth", "60", "--no-auto-stop", "--cutoff", "0",
    )  # fmt: skip
    texts = [
        suggestion["text"] for suggestion in made["suggestions"] if suggestion["finish"] == "end"
    ]
    assert {json.loads(text)["name"] for text in texts} == {"fox", "cat"}


def test_a_constraint_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    (tmp_path / "g.lark").write_text('start: " a" DEAD\nDEAD: /b/ & /c/\n')
    ran = run(tmp_path, "suggest", "--prompt", "Once upon", "--grammar", "g.lark")
    assert ran.code == 1
    assert "The constraint leads nowhere" in ran.err
    assert "1 path came to a dead end" in ran.err


def test_diverse_and_breadth_first_are_flags(tmp_path: Path) -> None:
    begun = ("suggest", "--prompt", "The old woman opened the")
    arguments = (*begun, "--no-auto-stop", "--beams", "9")
    printed = run_json(tmp_path, *arguments, "--diverse")
    assert printed["settings"]["diverse"] is True
    assert len(printed["suggestions"]) == 9
    assert printed["stats"]["looked_at"] > 9
    folded = [suggestion for suggestion in printed["suggestions"] if suggestion["alike"]]
    assert folded
    assert all(suggestion["p_alike"] > 0 for suggestion in folded)
    ran = run(tmp_path, *arguments, "--diverse")
    assert " alike)" in ran.out
    assert "9 suggestions, which differ, of " in ran.err
    printed = run_json(tmp_path, *arguments, "--strategy", "breadth")
    assert printed["settings"]["strategy"] == "breadth"
    assert printed["stats"]["done"]
    assert run(tmp_path, *arguments, "--strategy", "deep").code == 2


@pytest.mark.parametrize("command", ["suggest", "sample"])
def test_what_a_model_does_not_see_is_said(tmp_path: Path, command: str) -> None:
    text = " ".join(["The maker went to the river."] * 40)
    flags = ("-m", "fable", "--prompt", text, "--context", "64", "--prefix", "The sea.")
    ran = run(tmp_path, command, *flags, "--format", "json")
    stats = json.loads(ran.out)["stats"]
    left = text.encode()[stats["window_start"] :]
    assert 0 < stats["dropped_tokens"] < stats["story_tokens"]
    assert text.encode().endswith(left)
    assert stats["memory_tokens"] > 0
    said = ran.err
    assert f"{stats['dropped_tokens']:,} are beyond its context of 64" in said
    assert f"memory {stats['memory_tokens']}" in said


def test_a_row_says_which_word_it_changes(tmp_path: Path) -> None:
    ran = run(
        tmp_path, "suggest", "-m", "scripted", "--prompt", "So the maker went down to the riv"
    )
    assert "er and waited" in ran.out
    assert "(riv → river)" in ran.out
