"""`llterm score --attribution`: what led to a token, for people and scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.json_schema import faults
from tests.helpers.program import Ran, run

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/attribution.json").read_text("utf-8"))
TEXT = "The king had three sons. “Café” 🦊 said the eldest"


def ask(home: Path, method: str, *more: str) -> Ran:
    return run(home, "score", "--prompt", TEXT, "--attribution", method, *more)


def as_json(home: Path, method: str, *more: str) -> dict[str, Any]:
    ran = ask(home, method, *more, "--format", "json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    assert faults(found, SCHEMA, SCHEMA) == []
    return found


@pytest.mark.parametrize("method", ["attention-last", "rollout", "leave-one-out"])
def test_json_is_as_documented(tmp_path: Path, method: str) -> None:
    found = as_json(tmp_path, method)
    tokens = found["tokens"]
    joined = b"".join(bytes(one["bytes"]) for one in [*tokens, found["token"]])
    assert joined.decode() == TEXT
    assert [one["index"] for one in tokens] == list(range(found["token"]["index"]))
    if method == "leave-one-out":
        for one in tokens:
            left = found["token"]["logprob"] - one["logprob_without"]
            assert one["value"] == pytest.approx(left)
    else:
        assert sum(one["value"] for one in tokens) + found["elsewhere"] == pytest.approx(1)


def test_any_token_and_another_in_its_place(tmp_path: Path) -> None:
    found = as_json(tmp_path, "leave-one-out", "--at", "3", "--last", "2")
    assert found["token"]["text"] == " three"
    assert [one["text"] for one in found["tokens"]] == [" king", " had"]
    other = as_json(tmp_path, "leave-one-out", "--at", "3", "--last", "2", "--candidate", " a")
    assert other["token"]["text"] == " a"
    assert other["token"]["logprob"] > found["token"]["logprob"]
    last = as_json(tmp_path, "rollout", "--at", "-1")
    after = as_json(tmp_path, "rollout", "--at", str(last["token"]["index"] + 1),
                    "--candidate", " said")  # fmt: skip
    assert len(after["tokens"]) == len(last["tokens"]) + 1


def test_the_table(tmp_path: Path) -> None:
    ran = ask(tmp_path, "leave-one-out")
    assert "bits" in ran.out
    assert "␣king" in ran.out
    assert "█" in ran.out or "#" in ran.out
    assert "tokens evaluated" in ran.err
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("attention", "-m", "scripted"), 5, "shows no attention"),
        (("attention-layer", "--layer", "6"), 2, "These have: 0, 1, 2, 3, 4, 5"),
        (("rollout", "--at", "99"), 2, "no token 99"),
        (("rollout", "--at", "0"), 2, "Nothing of the text stands before"),
        (("rollout", "--candidate", "a refrigerator"), 2, "is not one token"),
        (("rollout", "--format", "html"), 2, "has no page"),
    ],
)
def test_what_cannot_be_answered(
    tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    ran = ask(tmp_path, *more)
    assert ran.code == code
    assert said in ran.err
    assert not ran.out
