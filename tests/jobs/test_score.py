"""`llterm score`: a text's heat as a table, in colour, as JSON and as a page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from llterm.core.heat_scale import MEASURES
from llterm.session.document import Document
from tests.helpers.json_schema import run_json
from tests.helpers.program import folders, run
from tests.helpers.result_page import ResultPage
from tests.helpers.terminal import Terminal, llterm

TEXT = "Once upon a time there was a little refrigerator. “Café” 🦊 said\nthe fox."


@pytest.mark.parametrize("model", ["scripted", "fable"])
def test_json_is_as_documented_and_adds_up(tmp_path: Path, model: str) -> None:
    printed = run_json(tmp_path, "score", "-m", model, "--prompt", TEXT, "--top", "3")
    tokens = printed["tokens"]
    assert b"".join(bytes(token["bytes"]) for token in tokens).decode() == TEXT
    assert [token["index"] for token in tokens] == list(range(len(tokens)))
    assert all(len(token["top"]) == 3 for token in tokens)
    nats = -math.fsum(token["logprob"] for token in tokens)
    assert printed["perplexity"] == pytest.approx(math.exp(nats / len(tokens)))
    assert printed["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(TEXT.encode()))
    for token in tokens:
        better = [c for c in token["top"] if c["p"] > math.exp(token["logprob"]) * 1.0001]
        assert token["rank"] > len(better)
        if token["rank"] <= 3:
            assert token["top"][token["rank"] - 1]["id"] == token["id"]


def test_the_table_names_what_was_likelier(tmp_path: Path) -> None:
    ran = run(tmp_path, "score", "--prompt", TEXT)
    lines = ran.out.splitlines()
    assert "surprising" not in ran.out
    assert re.search(r"^ *\d+\.\d +\d+ +\d+\.\d █  ␣ref +␣\w+ [\d.]+%", ran.out, re.MULTILINE)
    assert len(lines) > 20
    assert "bits per byte" in ran.err
    assert "\x1b" not in ran.out


@pytest.mark.pty
@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"COLORTERM": "truecolor"}, "48;2;"),
        ({"COLORTERM": "", "TERM": "xterm-256color"}, "48;5;"),
        ({"COLORTERM": "", "TERM": "xterm"}, "[103;30m"),
        ({"NO_COLOR": "1"}, ""),
    ],
)
def test_on_a_terminal_the_text_has_its_heat(
    tmp_path: Path, env: dict[str, str], code: str
) -> None:
    command = llterm("score", "--prompt", TEXT)
    with Terminal(command, env={**folders(tmp_path), **env}, cwd=tmp_path, columns=120) as terminal:
        assert terminal.wait() == 0
        if code:
            assert code in terminal.output.decode()
            assert "little refrigerator. “Café”" in terminal.text
            assert "said⏎" in terminal.text
        else:
            assert "[4" not in terminal.output.decode().replace("[2K", "")
            assert "␣king" in terminal.text


@pytest.mark.pty
def test_progress_stays_on_one_line_of_a_narrow_terminal(tmp_path: Path) -> None:
    command = llterm("score", "--prompt", TEXT * 20)
    with Terminal(command, env=folders(tmp_path), cwd=tmp_path, columns=9) as terminal:
        assert terminal.wait() == 0
        said = re.findall(r"\x1b\[2K([^\r\n\x1b]+)", terminal.output.decode())
    assert "Opening" in {line.strip() for line in said}
    assert max(map(len, said)) < 9


def test_the_page_stands_alone_and_its_text_is_no_markup(tmp_path: Path) -> None:
    text = 'A <script>alert("x")</script> & </span> \x1b[31m {} "quote" 猫\nend'
    ran = run(tmp_path, "score", "--prompt", text, "--format", "html")
    page = ResultPage(ran.out)
    assert page.parts["main"] == text.replace("\n", "⏎\n").replace("\x1b", "␛")
    assert page.tags.count("script") == 2
    assert "http" not in ran.out
    assert not {"link", "img", "iframe"} & set(page.tags)
    data = json.loads(page.parts["data"])
    spans = page.tags.count("span") - 1
    assert set(data["heat"]) == set(MEASURES)
    assert all(len(one) == spans for one in [data["tips"], *data["heat"].values()])
    assert "\x1b" not in ran.out


def test_a_loom_a_pipe_and_broken_bytes(tmp_path: Path) -> None:
    document = Document.create(tmp_path / "a.loom", TEXT.encode())
    document.close()
    before = (tmp_path / "a.loom").read_bytes()
    from_loom = run_json(tmp_path, "score", "a.loom", "-m", "scripted")
    assert b"".join(bytes(token["bytes"]) for token in from_loom["tokens"]).decode() == TEXT
    assert (tmp_path / "a.loom").read_bytes() == before
    data = b"Once \xff upon \xe7\x8c a time"
    piped = run_json(tmp_path, "score", "-", stdin=data)
    assert b"".join(bytes(token["bytes"]) for token in piped["tokens"]) == data
    assert run(tmp_path, "score", "-", "--format", "html", stdin=data).code == 0


def test_a_text_longer_than_the_context_says_how_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(TEXT * 20)
    ran = run(tmp_path, "score", "long.txt", "--window", "64", "--stride", "16")
    assert ran.code == 0
    assert "windows are 16 apart" in ran.err
    halves = run(tmp_path, "score", "long.txt", "--window", "64", "--method", "halves")
    assert "second halves" in halves.err
