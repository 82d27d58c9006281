"""`llterm classify`: a text with bars, tables with figures, every form, and runs that go on."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llterm.session.document import Document
from tests.helpers.json_schema import faults, run_json, schema
from tests.helpers.program import Ran
from tests.helpers.program_batch import Batch, run
from tests.helpers.result_page import ResultPage

LABELS: tuple[str | Path, ...] = ("-l", "river", "-l", "maker=makers", "-l", "cat")
COMMAND: tuple[str | Path, ...] = ("classify", "-m", "scripted", *LABELS)
ROWS = [
    ("a", "Every evening the cat counted the lamps. So the", "maker"),
    ("b", "said the", "cat"),
    ("c", "down to the", "river"),
    ("d", "Then the", "makers"),
    ("e", "the lamps in the", ""),
]


def together(home: Path, *lines: Sequence[str | Path]) -> list[Ran]:
    """The program run with each of these, one after the other, without a start for each."""
    return run(Batch(home, [[*map(str, line)] for line in lines]))


def printed_by(home: Path, *lines: Sequence[str | Path]) -> list[Mapping[str, Any]]:
    """What each prints as JSON, after the schema."""
    root = schema("classify")
    objects = []
    for ran in together(home, *([*line, "--format", "json"] for line in lines)):
        assert ran.code == 0, ran.err
        assert ran.out.isascii()
        objects.append(json.loads(ran.out))
        assert faults(objects[-1], root, root) == []
    return objects


def answers(printed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [answer for text in printed["texts"] for answer in text["answers"]]


def table(folder: Path, rows: Sequence[Sequence[str]] = ROWS) -> Path:
    path = folder / "texts.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("custom_id", "text", "label"), *rows])
    return path


def test_json_is_as_documented_and_adds_up(tmp_path: Path) -> None:
    models = [("classify", "-m", model, *LABELS, "--prompt", "So the")
              for model in ("scripted", "fable")]  # fmt: skip
    for printed in printed_by(tmp_path, *models):
        (answer,) = answers(printed)
        p_model = {share["label"]: share["p_model"] for share in answer["labels"]}
        assert answer["mass"] == pytest.approx(math.fsum(p_model.values()))
        for share in answer["labels"]:
            assert share["p"] == share["p_raw"] == pytest.approx(share["p_model"] / answer["mass"])
            assert share["logprob"] == pytest.approx(math.log(share["p_model"]))
            assert share["unseen"] <= 2e-4 * share["p_model"]
        assert answer["chosen"] == [max(p_model, key=lambda label: p_model[label])]
        shares = sorted((share["p"] for share in answer["labels"]), reverse=True)
        assert answer["margin"] == pytest.approx(shares[0] - shares[1])
        assert answer["entropy"] == pytest.approx(-sum(p * math.log2(p) for p in shares))
        assert len(answer["wanted"]) == 3


def test_one_text_has_bars_and_a_table_a_line_each(tmp_path: Path) -> None:
    one, many, little = together(
        tmp_path, (*COMMAND, "--prompt", "So the"), (*COMMAND, table(tmp_path)),
        (*COMMAND, "--prompt", "Every evening the cat counted"),
    )  # fmt: skip
    assert one.out.splitlines()[0].startswith("● maker")
    assert "█" in one.out
    assert "of all probability" in one.err
    assert [line.split()[0] for line in many.out.splitlines()] == ["a", "b", "c", "d", "e"]
    assert "accuracy" in many.err
    assert "of 4 texts" in many.err
    # The model wants something else: that is told, and what.
    assert "wants something else" in little.err
    assert "␣the" in little.err


def test_every_form_says_the_same(tmp_path: Path) -> None:
    texts = table(tmp_path)
    forms = ("json", "jsonl", "csv", "html")
    whole, lined, columns, page = (
        ran.out for ran in together(tmp_path, *((*COMMAND, texts, "--format", form)
                                                for form in forms))
    )  # fmt: skip
    printed, root = json.loads(whole), schema("classify")
    lines = [json.loads(line) for line in lined.splitlines()]
    assert lines == printed["texts"]
    assert faults(lines, {"type": "array", "items": root["$defs"]["text"]}, root) == []
    rows = [*csv.DictReader(columns.splitlines())]
    for row, answer in zip(rows, answers(printed), strict=True):
        assert row["chosen"] == answer["chosen"][0]
        for share in answer["labels"]:
            assert float(row[f"p:{share['label']}"]) == share["p"]
    data = json.loads(ResultPage(page).parts["data"])
    assert len(data["kinds"]) == len(ROWS)
    assert len(data["tips"]) == 3 * len(ROWS)
    assert not ResultPage(page).loads


def test_figures_are_of_the_texts_whose_label_is_known(tmp_path: Path) -> None:
    texts = table(tmp_path)
    printed, strict = printed_by(
        tmp_path, (*COMMAND, texts), (*COMMAND, texts, "--threshold", "0.8")
    )
    (figures,) = printed["figures"]
    known = [answer for answer in answers(printed) if answer["truth"] is not None]
    right = [answer["chosen"][0] == answer["truth"][0].removesuffix("s") for answer in known]
    assert figures["calibrated"] == figures["raw"]
    assert figures["calibrated"]["accuracy"] == pytest.approx(sum(right) / 4)
    assert sum(map(sum, figures["calibrated"]["confusion"])) == 4
    for answer in answers(strict):
        best = max(share["p"] for share in answer["labels"])
        assert answer["abstains"] == (best < 0.8) == (answer["chosen"] == [])
    (figures,) = strict["figures"]
    assert 0 < figures["calibrated"]["abstained"] < 4


def test_what_is_calibrated_stands_beside_what_is_raw(tmp_path: Path) -> None:
    kinds = ("contextual", "batch", "temperature")
    texts = table(tmp_path)
    raw, *calibrated = printed_by(
        tmp_path, (*COMMAND, texts), *((*COMMAND, texts, "--calibrate", kind) for kind in kinds)
    )
    for kind, printed in zip(kinds, calibrated, strict=True):
        for before, after in zip(answers(raw), answers(printed), strict=True):
            for old, new in zip(before["labels"], after["labels"], strict=True):
                assert new["p_raw"] == old["p"]
                assert new["logprob"] == old["logprob"]
        assert answers(raw) != answers(printed)
        (calibration,) = printed["calibrations"]
        assert calibration["kind"] == kind
        (figures,) = printed["figures"]
        assert figures["raw"] == raw["figures"][0]["raw"]
    assert figures["calibrated"]["nll"] <= figures["raw"]["nll"]
    (again,) = printed_by(tmp_path, (*COMMAND, texts, "--calibrate", "temperature",
                                     "--temperature", str(calibration["temperature"])))  # fmt: skip
    assert answers(again) == answers(printed)


def test_several_labels_and_several_questions(tmp_path: Path) -> None:
    several, questions = tmp_path / "several.jsonl", tmp_path / "questions.jsonl"
    rows = [{"text": "the cat", "label": ["river", "cat"]}, {"text": "the sea", "label": []}]
    several.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions.write_text(json.dumps({"text": "the cat", "Who?": "cat", "Where to?": "river"}))
    multi, both = printed_by(
        tmp_path, (*COMMAND, several, "--multi", "--threshold", "0.3"),
        (*COMMAND, questions, "--question", "Who?", "--question", "Where to?"),
    )  # fmt: skip
    for answer in answers(multi):
        fitting = [share["label"] for share in answer["labels"] if share["p"] >= 0.3]
        assert answer["chosen"] == fitting
        assert not answer["abstains"]
        assert all(share["logprob_no"] is not None for share in answer["labels"])
    assert [figures["about"] for figures in multi["figures"]] == ["river", "maker", "cat"]
    assert [answer["truth"] for answer in answers(both)] == [["cat"], ["river"]]
    assert len(both["figures"]) == 2


def test_looms_lines_and_standard_input(tmp_path: Path) -> None:
    Document.create(tmp_path / "a.loom", b"So the").close()
    typed, loom = printed_by(
        tmp_path, (*COMMAND, "--prompt", "So the"), (*COMMAND, tmp_path / "a.loom")
    )
    assert answers(loom) == answers(typed)
    printed = run_json(tmp_path, *COMMAND, "-", "--lines", stdin=b"So the\n\nsaid the\n")
    assert [text["custom_id"] for text in printed["texts"]] == ["1", "3"]
    assert answers(printed)[:1] == answers(typed)


def kept(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("calibrate", [(), ("--calibrate", "batch")])
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, calibrate: tuple[str, ...]) -> None:
    texts, out = table(tmp_path), tmp_path / "out.jsonl"
    command = (*COMMAND, *calibrate, texts, "-o", out)
    assert together(tmp_path, command)[0].code == 0
    undisturbed = kept(out)
    assert len(undisturbed) == len(ROWS)
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    again, third = printed_by(tmp_path, command, command)
    assert kept(out) == undisturbed == again["texts"] == third["texts"]
    assert again["stats"]["tokens_evaluated"] > 0
    assert third["stats"]["tokens_evaluated"] == 0


def test_a_run_that_was_begun_otherwise_is_refused(tmp_path: Path) -> None:
    texts, out = table(tmp_path), tmp_path / "out.jsonl"
    other: tuple[str | Path, ...] = ("-l", "cat", "-l", "dog")
    begun, changed, foreign = together(
        tmp_path, (*COMMAND, texts, "-o", out),
        (*COMMAND, texts, "-o", out, "--spellings", "canonical"),
        ("classify", "-m", "scripted", *other, "--lines", texts, "-o", out, "--accept-changes"),
    )  # fmt: skip
    assert begun.code == 0
    assert changed.code == foreign.code == 2
    assert "begun otherwise" in changed.err
    assert "spellings" in changed.err
    assert "cannot be read" in foreign.err
    assert len(kept(out)) == len(ROWS)


def test_a_text_that_is_too_long_does_not_stop_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    rows = [*ROWS[:2], ("long", "the cat " * 3000, "")]
    (ran,) = together(tmp_path, (*COMMAND, table(tmp_path, rows), "-o", out))
    assert ran.code == 1
    assert "too long" in ran.err
    assert len(kept(out)) == 2
    (failed,) = kept(tmp_path / "out.errors.jsonl")
    assert failed["custom_id"] == "long"
    assert "too long" in failed["error"]


WRONG: Sequence[tuple[Sequence[str | Path], str]] = (
    (("--prompt", "a", "-l", "x"), "too few labels"),
    (("--prompt", "a"), "no labels"),
    ((*LABELS,), "no text"),
    ((*LABELS, "--prompt", ""), "empty"),
    ((*LABELS, "--prompt", "a", "gone.txt"), "Both a file"),
    ((*LABELS, "gone.csv"), "cannot be read"),
    ((*LABELS, "--prompt", "a", "--template", "x"), "no {text}"),
    ((*LABELS, "--prompt", "a", "--shuffle", "2"), "no {labels}"),
    ((*LABELS, "--prompt", "a", "--question", "q", "--question", "q"), "twice"),
    ((*LABELS, "--prompt", "a", "--seed", "2"), "--seed needs"),
    ((*LABELS, "--prompt", "a", "--temperature", "2"), "--temperature needs"),
    ((*LABELS, "--prompt", "a", "--description", "dog=x"), "is of no label"),
    ((*LABELS, "labels.csv"), "a label that there is not"),
    ((*LABELS, "columns.csv"), "no text"),
    ((*LABELS, "twice.csv"), "given twice"),
    ((*LABELS, "fields.csv"), "2 fields"),
)


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    for name, lines in (
        ("labels", "text,label\na,dog\n"), ("columns", "words,label\na,cat\n"),
        ("twice", "custom_id,text\n1,a\n1,b\n"), ("fields", "text\na,b\n"),
    ):  # fmt: skip
        (tmp_path / f"{name}.csv").write_text(lines)
    lines_typed = [("classify", "-m", "scripted", *arguments) for arguments, _ in WRONG]
    for ran, (arguments, told) in zip(together(tmp_path, *lines_typed), WRONG, strict=True):
        assert ran.code == 2, (arguments, ran.err)
        assert told in ran.err, (arguments, ran.err)
        assert not ran.faulty
