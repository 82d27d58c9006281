"""`llterm mix`, and several models for `llterm suggest`, as a person runs them."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import pytest

from tests.helpers.bundled_model import BUNDLED, quantized
from tests.helpers.json_schema import run_json
from tests.helpers.program import run
from tests.helpers.result_page import ResultPage

TEXT = (
    "Once upon a time there was a “little” fox 🦊 who lived by the river. <b>Every</b> evening the "
    "fox went down to the water and looked for the moon. One evening the moon was not there.\n" * 2
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantized(tmp_path_factory.mktemp("quantized"), "q2_K")


def test_a_comparison_as_json_is_as_documented_and_adds_up(tmp_path: Path, small: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    models = ("-m", "fable", "-m", small, "-m", "fable-q8_0")
    printed = run_json(tmp_path, "mix", *models, "--text", "text.txt")
    places = printed["tokens"]
    assert printed["mode"] == "reference"
    assert printed["reference"]["name"] == "fable"
    assert b"".join(bytes(place["bytes"]) for place in places).decode() == TEXT
    for n, model in enumerate(printed["models"]):
        sides = [place["models"][n] for place in places]
        figures = model["figures"]
        mean = math.fsum(side["kld"] for side in sides) / len(sides)
        assert figures["kld"]["value"] == pytest.approx(mean, rel=1e-4)
        agreed = [side["choice"]["id"] == place["reference"]["choice"]["id"]
                  for side, place in zip(sides, places, strict=True)]  # fmt: skip
        assert [side["agrees"] for side in sides] == agreed
        assert figures["same-top"]["value"] == pytest.approx(sum(agreed) / len(agreed))
        assert model["divergences"] == agreed.count(False)
        if model["first_divergence"] is not None:
            assert places[model["first_divergence"]]["models"][n]["agrees"] is False
        nats = -math.fsum(side["logprob"] for side in sides) / len(sides)
        assert figures["ppl"]["value"] == pytest.approx(math.exp(nats), rel=1e-4)
        worst = [place["kld"] for place in model["worst"]]
        assert worst == sorted(worst, reverse=True)
        assert worst[0] == pytest.approx(max(side["kld"] for side in sides), rel=1e-5)
        assert model["creativity"] == pytest.approx(1 - model["determinism"])
    first, second = (model["figures"]["kld"]["value"] for model in printed["models"])
    assert second < 0.01 < first


def test_a_comparison_in_words_tells_the_first_divergence_and_the_worst(
    tmp_path: Path, small: Path
) -> None:
    ran = run(tmp_path, "mix", "-m", "fable", "-m", small, "--mode", "reference", "--text", "-",
              stdin=TEXT.encode())  # fmt: skip
    assert ran.code == 0, ran.err
    for words in ("Mean KLD", "Same top p", "Cor(ln(PPL(Q)), ln(PPL(base)))", "99.9% Δp"):
        assert words in ran.out
    assert re.search(r"\d+ places where it would say something else", ran.out)
    assert re.search(r"\[.+\] [\d.]+% → [\d.]+%", ran.out)
    assert "\x1b" not in ran.out
    assert "tokens compared" in ran.err


def test_conditions_decide_the_exit_code_after_the_report(tmp_path: Path, small: Path) -> None:
    held = ("mix", "-m", "fable", "-m", small, "--text", "-", "--require")
    fine = run(tmp_path, *held, "kld<=1,same-top>=0.3", stdin=TEXT.encode())
    assert fine.code == 0, fine.err
    broken = run(tmp_path, *held, "kld<=0.0001", stdin=TEXT.encode())
    assert broken.code == 6
    assert "Mean KLD" in broken.out
    assert "kld<=0.0001 is not so" in broken.err
    unknown = run(tmp_path, *held, "kdl<=1", stdin=TEXT.encode())
    assert unknown.code == 2
    assert "Did you mean kld?" in unknown.err


def test_a_base_file_is_written_and_read_as_the_reference(tmp_path: Path, small: Path) -> None:
    wrote = ("mix", "-m", "fable", "-m", small, "--text", "-", "--window", "32", "--write-base",
             "base.kld")  # fmt: skip
    live = run_json(tmp_path, *wrote, stdin=TEXT.encode())
    head = struct.unpack("<8sIii", (tmp_path / "base.kld").read_bytes()[:20])
    assert head[:2] == (b"_logits_", 32)
    assert live["compared"] == head[3] * (32 - 1 - 16)
    reread = run_json(tmp_path, "mix", "-m", small, "--base", "base.kld")
    own, again = live["models"][0]["figures"], reread["models"][0]["figures"]
    assert again["kld"]["value"] == pytest.approx(own["kld"]["value"], rel=5e-3)
    assert again["ppl"]["value"] == pytest.approx(own["ppl"]["value"], rel=1e-4)
    assert run(tmp_path, *wrote, stdin=TEXT.encode()).code == 2
    other = run(tmp_path, "mix", "-m", "scripted", "--base", "base.kld")
    assert other.code == 2
    assert "another vocabulary" in other.err


def test_the_page_needs_nothing_else_and_holds_the_text_as_text(
    tmp_path: Path, small: Path
) -> None:
    ran = run(tmp_path, "mix", "-m", "fable", "-m", small, "-m", "fable-q8_0", "--text", "-",
              "--format", "html", stdin=TEXT.encode())  # fmt: skip
    assert ran.code == 0, ran.err
    page = ResultPage(ran.out)
    assert page.loads == []
    assert "b" not in page.tags[: page.tags.index("main")]
    assert page.parts["main"].replace("⏎", "") == TEXT
    assert page.tags.count("figure") == 5
    assert "NaN" not in ran.out
    data = json.loads(page.parts["data"])
    assert len(data["heat"]) == len(data["other"]) == 2
    assert (
        len(data["base"])
        == len(data["heat"][0])
        == page.tags[page.tags.index("main") :].count("span")
    )


def test_the_references_own_text_is_compared(tmp_path: Path, small: Path) -> None:
    asked = ("mix", "-m", small, "-m", "fable", "--reference", "fable", "--mode", "reference",
             "--prompt", "The king had", "--continue", "12")  # fmt: skip
    printed = run_json(tmp_path, *asked)
    assert printed["reference"]["name"] == "fable"
    assert [model["name"] for model in printed["models"]] == [small.stem]
    assert printed["compared"] == 12
    for place in printed["tokens"]:
        assert place["reference"]["rank"] == 1
        assert place["id"] == place["reference"]["choice"]["id"]
    drawn = [run_json(tmp_path, *asked, "--preset", "creative", "--seed", "5")
             for _ in range(2)]  # fmt: skip
    assert drawn[0]["tokens"] == drawn[1]["tokens"]


def test_a_democratic_text_as_json(tmp_path: Path, small: Path) -> None:
    printed = run_json(tmp_path, "mix", "-m", "fable", "-m", small, "--weight", "fable=3",
                       "--prompt", "The king had", "--tokens", "8")  # fmt: skip
    assert printed["formula"] == f"p(x) = 0.75·fable(x) + 0.25·{small.stem}(x)"
    assert len(printed["tokens"]) == 8
    assert sum(model["given"] for model in printed["models"]) == sum(
        token["by"] is not None for token in printed["tokens"]
    )
    for token in printed["tokens"]:
        mixed = 0.75 * token["models"][0]["p"] + 0.25 * token["models"][1]["p"]
        assert token["p"] == pytest.approx(mixed, rel=1e-5)
        chosen = [model["choice"]["id"] == token["id"] for model in token["models"]]
        assert (token["by"] is not None) == any(chosen)


def test_a_round_robin_begins_with_the_first_and_gives_exactly_so_many(
    tmp_path: Path, small: Path
) -> None:
    printed = run_json(tmp_path, "mix", "-m", small, "-m", "fable", "--mode", "round-robin",
                       "--turn", "2", "--prompt", "The king had", "--tokens", "7")  # fmt: skip
    first, second = small.stem, "fable"
    assert [token["by"] for token in printed["tokens"]] == [
        first,
        first,
        second,
        second,
        first,
        first,
        second,
    ]
    for token in printed["tokens"]:
        speaker = token["models"][token["by"] == second]
        assert speaker["choice"]["id"] == token["id"]


def test_models_of_different_vocabularies_are_mixed_and_compared_by_bytes(tmp_path: Path) -> None:
    asked = ("mix", "-m", "fable", "-m", "scripted", "--prompt", "The maker went down to the")
    played = run_json(tmp_path, *asked, "--tokens", "20")
    assert played["unit"] == "byte"
    assert played["exact"] is True
    assert tokens_of(tmp_path, played["text"]) == 20, "of the first model, not bytes"
    compared = run_json(tmp_path, *asked, "--continue", "12", "--mode", "reference")
    assert compared["unit"] == "byte"
    written = bytes(byte for place in compared["tokens"] for byte in place["bytes"])
    assert tokens_of(tmp_path, written.decode()) == 12
    words = run(tmp_path, *asked, "--mode", "reference")
    assert "byte by byte" in words.err
    assert "Mean PPL(Q) per byte" in words.out


def tokens_of(home: Path, text: str) -> int:
    """How many tokens a text has for the bundled model."""
    return len(json.loads(run(home, "score", "--prompt", text, "--format", "json").out)["tokens"])


def test_a_text_with_mode_reference_is_read_and_named(tmp_path: Path, small: Path) -> None:
    (tmp_path / "story.txt").write_text(TEXT)
    asked = ("mix", "-m", "fable", "-m", small, "--mode", "reference", "story.txt")
    read = run_json(tmp_path, *asked)
    assert read["source"] == "story.txt"
    assert b"".join(bytes(one["bytes"]) for one in read["tokens"]).decode() == TEXT
    part = run_json(tmp_path, *asked, "--tokens", "30")
    assert part["text_tokens"] == part["compared"] == 30
    assert part["models"][0]["figures"]["kld-99"]["value"] is None
    words = run(tmp_path, *asked, "--tokens", "30")
    assert "text: story.txt, 30 tokens, 30 places compared" in words.out
    assert "99.0% KLD" not in words.out
    page = run(tmp_path, *asked, "--tokens", "30", "--format", "html")
    assert "fewer than 100 places" in page.out
    assert "99.0% KLD" not in page.out
    unknown = run(tmp_path, *asked, "--tokens", "30", "--require", "kld-99<=1")
    assert unknown.code == 6
    assert "kld-99 cannot be told of 30 places" in unknown.err
    own = run_json(tmp_path, *asked, "--tokens", "30", "--continue", "5")
    assert (own["text_tokens"], own["compared"]) == (35, 5)


def test_suggestions_of_a_mix(tmp_path: Path, small: Path) -> None:
    printed = run_json(tmp_path, "suggest", "-m", "fable", "-m", small, "--pool", "log", "--weight",
                       f"{small.stem}=-0.3", "--prompt", "The king had", "--depth", "4", "--beams",
                       "4")  # fmt: skip
    assert printed["model"] == f"fable + {small.stem}"
    assert printed["mix"]["formula"].startswith(f"p(x) ∝ fable(x)^1.429 · {small.stem}(x)^-0.4286")
    assert printed["stats"]["done"]
    weave = run(tmp_path, "weave", "-m", "fable", "-m", "scripted", "--prompt", "The maker",
                "--beams", "3", "--depth", "5")  # fmt: skip
    assert weave.code == 0, weave.err
    assert "byte by byte" in weave.err
    assert max(len(line) for line in weave.out.splitlines()) > 35


TWO = ("mix", "-m", "fable", "-m", "fable-q8_0")


@pytest.mark.parametrize(("arguments", "words"), [
    (["mix", "-m", "fable", "--prompt", "a"], "nothing to mix"),
    (TWO, "no text"),
    ([*TWO, "--prompt", "a", "--weight", "fabel=1"], "Did you mean fable"),
    ([*TWO, "--prompt", "a", "--weight", "fable=-1"], "more than 0"),
    ([*TWO, "--prompt", "a", "--plausible", "2"], "plausibility"),
    ([*TWO, "--prompt", "a", "--require", "kld<1"], "--mode reference"),
    ([*TWO, "--prompt", "a", "--format", "html"], "no page"),
    ([*TWO, "--text", "-", "--pool", "log"], "reference alone"),
    (["mix", "-m", "fable", "--base", "none.kld"], "cannot be read"),
    (["suggest", "-m", "fable", "--prompt", "a", "--pool", "log"], "several models"),
])  # fmt: skip
def test_what_does_not_fit_together_is_said(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    ran = run(tmp_path, *arguments, stdin=b"Some text to read.")
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""


def test_a_text_too_short_for_a_window_is_said(tmp_path: Path) -> None:
    models = ("-m", BUNDLED, "-m", "fable-q8_0")
    ran = run(tmp_path, "mix", *models, "--text", "-", "--method", "halves", stdin=b"Short.")
    assert ran.code == 2
    assert "does not fill one window" in ran.err
