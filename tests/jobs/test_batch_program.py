"""`llterm batch` as it is typed: what is said, what is refused, and what a kill leaves."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

from tests.helpers import program_batch
from tests.helpers.batches import (
    count_lines,
    killed_run,
    requests,
    results,
    texts,
    write_lines,
)
from tests.helpers.polling import until
from tests.helpers.program import run, start
from tests.helpers.program_batch import Batch

SCRIPTED = ("-m", "scripted", "--seed", "7")


def test_killed_again_and_again_it_comes_to_the_same(tmp_path: Path) -> None:
    """A few kills; `tests/soak/test_batch.py` has fifty of them, on the bundled model."""
    source = write_lines(tmp_path / "in.jsonl", requests(60))
    joined = tmp_path / "joined.jsonl"
    typed = [str(source), *SCRIPTED, "-o", str(joined)]
    chance = random.Random(16)
    kills = sum(killed_run(tmp_path, typed, joined, chance) for _ in range(2))
    assert kills
    assert 0 < count_lines(joined) < 60
    ran = run(tmp_path, "batch", *typed)
    assert ran.code == 0, ran.err
    assert len(results(joined)) == 60
    (whole,) = program_batch.run(
        Batch(tmp_path, [["batch", *typed[:-1], "whole.jsonl", "--parallel", "1"]])
    )
    assert whole.code == 0
    assert results(joined) == results(tmp_path / "whole.jsonl")


async def test_ctrl_c_keeps_all_and_says_how_it_goes_on(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", requests(2000, 30))
    output = tmp_path / "out.jsonl"
    process = start(tmp_path, "batch", source, "-o", output, *SCRIPTED)
    await until(lambda: count_lines(output) > 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "of 2,000 rows answered and kept; the same command goes on." in err.decode()
    assert len(results(output)) > 1


def test_a_template_with_rows_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "template.txt").write_text("Every evening the {animal}\n")
    page = tmp_path / "page.html"
    ran = run(
        tmp_path, "batch", "--template", "template.txt", "--rows", "-", "-o", "out.jsonl", "-n",
        "2", "--tokens", "5", "--token-view", page, "--choice", " <b>counted", *SCRIPTED,
        stdin=b"animal\ncat\n<i>\x1b]0;\n",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    lines = results(tmp_path / "out.jsonl")
    assert set(lines) == {"1-1", "1-2", "2-1", "2-2"}
    for line in lines.values():
        assert " <b>counted".startswith(line["text"])
        assert len(line["logprobs"]["tokens"]) == line["tokens"] <= 5
    shown = page.read_text()
    assert "&lt;i&gt;" in shown
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "\x1b" not in shown
    assert shown.count("<h2>") == 4
    assert "exact duplicate" in ran.err


def test_a_dry_run_tells_rows_tokens_and_time_and_writes_nothing(tmp_path: Path) -> None:
    write_lines(tmp_path / "in.jsonl", requests(200, 4))
    typed = ["batch", "in.jsonl", "-o", "out.jsonl", "--dry-run", *SCRIPTED]
    (ran,) = program_batch.run(Batch(tmp_path, [typed]))
    assert ran.code == 0
    assert "200 rows; by 10 of them about" in ran.out
    assert "4 drawn each" in ran.out
    assert not list(tmp_path.glob("out*"))


def test_failures_are_the_exit_code_and_the_first_is_told(tmp_path: Path) -> None:
    lines = requests(3)
    lines[1]["body"]["temperature"] = "warm"
    write_lines(tmp_path / "in.jsonl", lines)
    typed = ["batch", "in.jsonl", "-o", "out.jsonl", *SCRIPTED]
    ran, stopped = program_batch.run(Batch(tmp_path, [typed, [*typed, "--max-failures", "0"]]))
    assert ran.code == 1
    assert "1 row failed: out.errors.jsonl says why (the first: temperature cannot be so" in ran.err
    assert stopped.code == 1
    assert "llterm: 1 row failed\n" in stopped.err
    assert "2 of 3 rows answered and kept" in stopped.err
    assert len(texts(tmp_path / "out.jsonl")) == 2


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "in.jsonl", requests(1))
    (tmp_path / "empty").touch()
    wrong: dict[tuple[str, ...], str] = {
        ("in.jsonl",): "There is no place for the results",
        ("in.jsonl", "-o", "-"): "There is no place for the results",
        ("-o", "out.jsonl"): "There are no requests",
        ("in.jsonl", "-o", "out.jsonl", "-n", "2"): "--number needs --template",
        ("-o", "out.jsonl", "--template", "a.txt"): "--template and --rows go together",
        ("in.jsonl", "-o", "gone/out.jsonl"): "gone/out.jsonl cannot be written",
        ("gone.jsonl", "-o", "out.jsonl"): "gone.jsonl cannot be read",
        ("empty", "-o", "out.jsonl"): "There is no row in empty",
        ("in.jsonl", "-o", "."): "cannot be written",
    }
    lines = [["batch", *typed, "-m", "scripted"] for typed in wrong]
    for words, ran in zip(wrong.values(), program_batch.run(Batch(tmp_path, lines)), strict=True):
        assert ran.code in (1, 2)
        assert words in ran.err
        assert not ran.faulty
    assert not (tmp_path / "out.jsonl").exists()


def test_a_body_that_is_a_line_alone_is_answered(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"prompt": "The"}\n{"prompt": "A"}')
    typed = ["batch", "in", "-o", "out.jsonl", *SCRIPTED, "--tokens", "2"]
    (ran,) = program_batch.run(Batch(tmp_path, [typed]))
    assert ran.code == 0, ran.err
    lines = results(tmp_path / "out.jsonl")
    assert set(lines) == {"line-1", "line-2"}
    assert json.loads((tmp_path / "out.run.json").read_text())["seed"] == 7
