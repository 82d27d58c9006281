"""`llterm sample`: continuations on stdout, what was done on stderr, the same with a seed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.json_schema import faults, run_json, schema
from tests.helpers.program import run

SCRIPTED = ("sample", "-m", "scripted", "--prompt", "Every evening the cat")


@pytest.mark.parametrize("model", ["scripted", "fable"])
def test_json_is_as_documented_and_the_same_with_a_seed(tmp_path: Path, model: str) -> None:
    arguments = ("sample", "-m", model, "--prompt", "The old woman opened the", "-n", "4",
                 "--tokens", "12", "--seed", "5")  # fmt: skip
    first, second = run_json(tmp_path, *arguments), run_json(tmp_path, *arguments)
    assert first["continuations"] == second["continuations"]
    assert first["sampling"]["preset"] == "balanced"
    assert first["sampling"]["seed"] == 5
    for line in first["continuations"]:
        joined = b"".join(bytes(token["bytes"]) for token in line["tokens"] if not token["special"])
        assert joined == b" the" + bytes(line["bytes"])  # healing writes the last word again
        assert line["logprob"] == pytest.approx(
            math.fsum(token["logprob"] for token in line["tokens"])
        )
        assert all(0 < token["p_final"] <= 1 for token in line["tokens"])
    rounds = max(len(line["tokens"]) for line in first["continuations"])
    assert first["stats"]["decodes"] <= rounds + 1


def test_a_draft_leaves_every_sample_as_it_is(tmp_path: Path) -> None:
    arguments = ("sample", "-m", "fable", "--prompt", "The old woman opened the", "-n", "3",
                 "--tokens", "16", "--seed", "5", "--sentence", "--ban", "door")  # fmt: skip
    plain = run_json(tmp_path, *arguments)
    assert plain["draft"] is None
    (tmp_path / "llterm.toml").write_text("[models.fable]\ndraft = 'fable-q8_0'\n")
    drafted = run_json(tmp_path, *arguments)
    counts = drafted["draft"]
    assert counts["model"] == "fable-q8_0"
    assert 0 < counts["accepted"] <= counts["proposed"]
    texts = [[each[key] for key in ("text", "finish")] for each in drafted["continuations"]]
    assert texts == [[each[key] for key in ("text", "finish")] for each in plain["continuations"]]
    assert run_json(tmp_path, *arguments, "--draft", "none")["draft"] is None


def test_a_draft_that_cannot_be_one_is_an_error(tmp_path: Path) -> None:
    ran = run(tmp_path, *SCRIPTED, "--draft", "lookup")
    assert ran.code == 2
    assert "scripted takes no draft" in ran.err
    ran = run(tmp_path, "sample", "-m", "fable", "--prompt", "The", "--draft", "scripted")
    assert ran.code == 2
    assert "scripted cannot write ahead" in ran.err


def test_flags_and_file_make_the_chain(tmp_path: Path) -> None:
    (tmp_path / "llterm.toml").write_text(
        "[sampling]\npreset = 'own'\nban = ['lamp']\n[presets.own]\ntop_k = 3\norder = ['top_k']\n"
    )
    printed = run_json(tmp_path, *SCRIPTED, "-n", "20", "--top-k", "2", "--bias", " cat=-3",
                      "--ban", "the river", "--ban-newline")  # fmt: skip
    sampling = printed["sampling"]
    assert (sampling["preset"], sampling["top_k"], sampling["order"]) == ("custom", 2, ["top_k"])
    assert (sampling["ban"], sampling["ban_newline"]) == (["the river"], True)
    assert sampling["bias"] == [" cat=-3"]
    for line in printed["continuations"]:
        assert "the river" not in line["text"].lower()
        assert "\n" not in line["text"]
    greedy = run_json(tmp_path, *SCRIPTED, "-n", "3", "--preset", "greedy")
    assert len({line["text"] for line in greedy["continuations"]}) == 1
    assert not any("lamp" in line["text"] for line in greedy["continuations"])


def test_lines_come_one_a_line(tmp_path: Path) -> None:
    ran = run(tmp_path, *SCRIPTED, "-n", "5", "--sentence", "--seed", "1", "--format", "jsonl")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert {line["index"] for line in lines} == set(range(5))
    root = schema("sample")
    line_schema = {"$ref": "#/$defs/continuation"}
    assert not [fault for line in lines for fault in faults(line, line_schema, root)]
    assert {line["finish"] for line in lines} <= {"stop", "end", "length"}
    assert "5 continuations" in ran.err


def test_text_is_the_continuation_alone_or_a_numbered_list(tmp_path: Path) -> None:
    single = run(tmp_path, *SCRIPTED, "--preset", "greedy", "--tokens", "6")
    assert single.code == 0
    assert (
        single.out.rstrip("\n")
        == run_json(tmp_path, *SCRIPTED, "--preset", "greedy", "--tokens", "6")["continuations"][0][
            "text"
        ]
    )
    many = run(tmp_path, *SCRIPTED, "-n", "3", "--seed", "2")
    assert [line[:5].strip() for line in many.out.splitlines()] == ["1", "2", "3"]


def test_stop_texts_and_constraints_hold(tmp_path: Path) -> None:
    stopped = run_json(tmp_path, *SCRIPTED, "-n", "8", "--stop", "lamp", "--tokens", "300")
    assert all(line["text"].count("lamp") <= 1 for line in stopped["continuations"])
    assert any(line["finish"] == "stop" for line in stopped["continuations"])
    chosen = run_json(tmp_path, *SCRIPTED, "-n", "8", "--choice", " counted", "--choice", " read")
    assert {line["text"] for line in chosen["continuations"]} <= {" counted", " read"}
    assert chosen["constraint"]["kind"] == "choice"


def test_where_nothing_may_be_drawn_it_fails_and_says_so(tmp_path: Path) -> None:
    ran = run(tmp_path, *SCRIPTED, "--choice", " read", "--ban", "read")
    assert ran.code == 1
    assert "Nothing may be drawn" in ran.err


def test_a_loom_is_gone_on_with_as_it_draws_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.loom"
    document = Document.create(path, b"Every evening the cat")
    session = Session(document)
    session.set_sampling(session.sampling.under("greedy", session.presets))
    document.close()
    before = path.read_bytes()
    greedy = run_json(tmp_path, "sample", "-m", "scripted", str(path))
    assert greedy["sampling"]["preset"] == "greedy"
    assert greedy["prompt"] == "Every evening the cat"
    warmer = run_json(tmp_path, "sample", "-m", "scripted", str(path), "--preset", "creative")
    assert warmer["sampling"]["preset"] == "creative"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "creativ"), ("creative?", "--preset")),
        (("--order", "top_p,temprature"), ("temperature?", "--order")),
        (("--bias", "cat"), ("--bias", "TEXT=NUMBER")),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str]) -> None:
    ran = run(tmp_path, *SCRIPTED, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert all(word in ran.err for word in words), ran.err


def test_suggestions_hold_nothing_banned(tmp_path: Path) -> None:
    arguments = ("suggest", "-m", "scripted", "--prompt", "The maker went to the")
    free = run(tmp_path, *arguments)
    banned = run(tmp_path, *arguments, "--ban", "River", "--ban", "lamp")
    assert "river" in free.out
    assert banned.code == 0
    assert "river" not in banned.out
    assert "lamp" not in banned.out
