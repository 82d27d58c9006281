"""`llterm score --attribution`: what led to a token, for people and scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.json_schema import run_json
from tests.helpers.program import run

TEXT = "The king had three sons. “Café” 🦊 said the eldest"
ASKED = ("score", "--prompt", TEXT, "--attribution")


@pytest.mark.parametrize("method", ["attention-last", "rollout", "leave-one-out"])
def test_json_is_as_documented(tmp_path: Path, method: str) -> None:
    printed = run_json(tmp_path, *ASKED, method)
    tokens = printed["tokens"]
    joined = b"".join(bytes(token["bytes"]) for token in [*tokens, printed["token"]])
    assert joined.decode() == TEXT
    assert [token["index"] for token in tokens] == list(range(printed["token"]["index"]))
    if method == "leave-one-out":
        for token in tokens:
            left = printed["token"]["logprob"] - token["logprob_without"]
            assert token["value"] == pytest.approx(left)
    else:
        assert sum(token["value"] for token in tokens) + printed["elsewhere"] == pytest.approx(1)


def test_any_token_and_another_in_its_place(tmp_path: Path) -> None:
    asked = (*ASKED, "leave-one-out", "--at", "3", "--last", "2")
    printed = run_json(tmp_path, *asked)
    assert printed["token"]["text"] == " three"
    assert [token["text"] for token in printed["tokens"]] == [" king", " had"]
    other = run_json(
        tmp_path, *ASKED, "leave-one-out", "--at", "3", "--last", "2", "--candidate", " a"
    )
    assert other["token"]["text"] == " a"
    assert other["token"]["logprob"] > printed["token"]["logprob"]
    last = run_json(tmp_path, *ASKED, "rollout", "--at", "-1")
    after = run_json(tmp_path, *ASKED, "rollout", "--at", str(last["token"]["index"] + 1),
                    "--candidate", " said")  # fmt: skip
    assert len(after["tokens"]) == len(last["tokens"]) + 1


def test_the_table(tmp_path: Path) -> None:
    ran = run(tmp_path, *ASKED, "leave-one-out")
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
    ran = run(tmp_path, *ASKED, *more)
    assert ran.code == code
    assert said in ran.err
    assert not ran.out
