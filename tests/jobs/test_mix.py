"""`llterm mix`, and several models for `llterm suggest`, as a person runs them."""

from __future__ import annotations

import json
import math
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.bundled_model import BUNDLED, quantized
from tests.helpers.json_schema import faults
from tests.helpers.program import Ran, run

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/mix.json").read_text("utf-8"))
TEXT = (
    "Once upon a time there was a “little” fox 🦊 who lived by the river. <b>Every</b> evening the "
    "fox went down to the water and looked for the moon. One evening the moon was not there.\n" * 2
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantized(tmp_path_factory.mktemp("quantized"), "q2_K")


def as_json(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    assert ran.out.isascii()
    found: dict[str, Any] = json.loads(ran.out)
    assert faults(found, SCHEMA, SCHEMA) == []
    return found


def test_a_comparison_as_json_is_as_documented_and_adds_up(tmp_path: Path, small: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    ran = run(tmp_path, "mix", "-m", "fable", "-m", small, "-m", "fable-q8_0", "--text", "text.txt",
              "--format", "json")  # fmt: skip
    found = as_json(ran)
    places = found["tokens"]
    assert found["mode"] == "reference"
    assert found["reference"]["name"] == "fable"
    assert b"".join(bytes(one["bytes"]) for one in places).decode() == TEXT
    for n, model in enumerate(found["models"]):
        sides = [one["models"][n] for one in places]
        figures = model["figures"]
        mean = math.fsum(one["kld"] for one in sides) / len(sides)
        assert figures["kld"]["value"] == pytest.approx(mean, rel=1e-4)
        agreed = [one["choice"]["id"] == place["reference"]["choice"]["id"]
                  for one, place in zip(sides, places, strict=True)]  # fmt: skip
        assert [one["agrees"] for one in sides] == agreed
        assert figures["same-top"]["value"] == pytest.approx(sum(agreed) / len(agreed))
        assert model["divergences"] == agreed.count(False)
        if model["first_divergence"] is not None:
            assert places[model["first_divergence"]]["models"][n]["agrees"] is False
        nats = -math.fsum(one["logprob"] for one in sides) / len(sides)
        assert figures["ppl"]["value"] == pytest.approx(math.exp(nats), rel=1e-4)
        worst = [one["kld"] for one in model["worst"]]
        assert worst == sorted(worst, reverse=True)
        assert worst[0] == pytest.approx(max(one["kld"] for one in sides), rel=1e-5)
        assert model["creativity"] == pytest.approx(1 - model["determinism"])
    first, second = (model["figures"]["kld"]["value"] for model in found["models"])
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
    wrote = run(tmp_path, "mix", "-m", "fable", "-m", small, "--text", "-", "--window", "32",
                "--write-base", "base.kld", "--format", "json", stdin=TEXT.encode())  # fmt: skip
    live = as_json(wrote)
    head = struct.unpack("<8sIii", (tmp_path / "base.kld").read_bytes()[:20])
    assert head[:2] == (b"_logits_", 32)
    assert live["compared"] == head[3] * (32 - 1 - 16)
    kept = as_json(run(tmp_path, "mix", "-m", small, "--base", "base.kld", "--format", "json"))
    one, two = live["models"][0]["figures"], kept["models"][0]["figures"]
    assert two["kld"]["value"] == pytest.approx(one["kld"]["value"], rel=5e-3)
    assert two["ppl"]["value"] == pytest.approx(one["ppl"]["value"], rel=1e-4)
    again = run(tmp_path, "mix", "-m", "fable", "-m", small, "--text", "-", "--window", "32",
                "--write-base", "base.kld", stdin=TEXT.encode())  # fmt: skip
    assert again.code == 2
    other = run(tmp_path, "mix", "-m", "scripted", "--base", "base.kld")
    assert other.code == 2
    assert "another vocabulary" in other.err


class _Page(HTMLParser):
    """The tags of a page, what it loads, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self._main = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]
        self._main = self._main or tag == "main"

    def handle_endtag(self, tag: str) -> None:
        self._main = self._main and tag != "main"

    def handle_data(self, data: str) -> None:
        if self._main:
            self.text += data


def test_the_page_needs_nothing_else_and_holds_the_text_as_text(
    tmp_path: Path, small: Path
) -> None:
    ran = run(tmp_path, "mix", "-m", "fable", "-m", small, "-m", "fable-q8_0", "--text", "-",
              "--format", "html", stdin=TEXT.encode())  # fmt: skip
    assert ran.code == 0, ran.err
    page = _Page()
    page.feed(ran.out)
    assert page.loads == []
    assert "b" not in page.tags[: page.tags.index("main")]
    assert page.text.replace("⏎", "") == TEXT
    assert page.tags.count("figure") == 5
    assert "NaN" not in ran.out
    data = json.loads(re.search(r'id="data">(.*?)</script>', ran.out, re.S)[1])  # type: ignore[index]
    assert len(data["heat"]) == len(data["other"]) == 2
    assert (
        len(data["base"])
        == len(data["heat"][0])
        == page.tags[page.tags.index("main") :].count("span")
    )


def test_the_references_own_text_is_compared(tmp_path: Path, small: Path) -> None:
    asked = ("mix", "-m", small, "-m", "fable", "--reference", "fable", "--mode", "reference",
             "--prompt", "The king had", "--continue", "12", "--format", "json")  # fmt: skip
    found = as_json(run(tmp_path, *asked))
    assert found["reference"]["name"] == "fable"
    assert [one["name"] for one in found["models"]] == [small.stem]
    assert found["compared"] == 12
    for place in found["tokens"]:
        assert place["reference"]["rank"] == 1
        assert place["id"] == place["reference"]["choice"]["id"]
    drawn = [as_json(run(tmp_path, *asked, "--preset", "creative", "--seed", "5"))
             for _ in range(2)]  # fmt: skip
    assert drawn[0]["tokens"] == drawn[1]["tokens"]


def test_a_democratic_text_as_json(tmp_path: Path, small: Path) -> None:
    ran = run(tmp_path, "mix", "-m", "fable", "-m", small, "--weight", "fable=3", "--prompt",
              "The king had", "--tokens", "8", "--format", "json")  # fmt: skip
    found = as_json(ran)
    assert found["formula"] == f"p(x) = 0.75·fable(x) + 0.25·{small.stem}(x)"
    assert len(found["tokens"]) == 8
    assert sum(model["given"] for model in found["models"]) == sum(
        one["by"] is not None for one in found["tokens"]
    )
    for one in found["tokens"]:
        mixed = 0.75 * one["models"][0]["p"] + 0.25 * one["models"][1]["p"]
        assert one["p"] == pytest.approx(mixed, rel=1e-5)
        chosen = [model["choice"]["id"] == one["id"] for model in one["models"]]
        assert (one["by"] is not None) == any(chosen)


def test_a_round_robin_begins_with_the_first_and_gives_exactly_so_many(
    tmp_path: Path, small: Path
) -> None:
    ran = run(tmp_path, "mix", "-m", small, "-m", "fable", "--mode", "round-robin", "--turn", "2",
              "--prompt", "The king had", "--tokens", "7", "--format", "json")  # fmt: skip
    found = as_json(ran)
    one, two = small.stem, "fable"
    assert [token["by"] for token in found["tokens"]] == [one, one, two, two, one, one, two]
    for token in found["tokens"]:
        speaker = token["models"][token["by"] == two]
        assert speaker["choice"]["id"] == token["id"]


def test_models_of_different_vocabularies_are_mixed_and_compared_by_bytes(tmp_path: Path) -> None:
    asked = ("mix", "-m", "fable", "-m", "scripted", "--prompt", "The maker went down to the",
             "--format", "json")  # fmt: skip
    played = as_json(run(tmp_path, *asked, "--tokens", "20"))
    assert played["unit"] == "byte"
    assert played["exact"] is True
    assert tokens_of(tmp_path, played["text"]) == 20, "of the first model, not bytes"
    compared = as_json(run(tmp_path, *asked, "--continue", "12", "--mode", "reference"))
    assert compared["unit"] == "byte"
    written = bytes(byte for place in compared["tokens"] for byte in place["bytes"])
    assert tokens_of(tmp_path, written.decode()) == 12
    told = run(tmp_path, *asked[:-2], "--mode", "reference")
    assert "byte by byte" in told.err
    assert "Mean PPL(Q) per byte" in told.out


def tokens_of(home: Path, text: str) -> int:
    """How many tokens a text has for the bundled model."""
    return len(json.loads(run(home, "score", "--prompt", text, "--format", "json").out)["tokens"])


def test_a_text_with_mode_reference_is_read_and_named(tmp_path: Path, small: Path) -> None:
    (tmp_path / "story.txt").write_text(TEXT)
    asked = ("mix", "-m", "fable", "-m", small, "--mode", "reference", "story.txt")
    read = as_json(run(tmp_path, *asked, "--format", "json"))
    assert read["source"] == "story.txt"
    assert b"".join(bytes(one["bytes"]) for one in read["tokens"]).decode() == TEXT
    part = as_json(run(tmp_path, *asked, "--tokens", "30", "--format", "json"))
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
    own = as_json(run(tmp_path, *asked, "--tokens", "30", "--continue", "5", "--format", "json"))
    assert (own["text_tokens"], own["compared"]) == (35, 5)


def test_suggestions_of_a_mix(tmp_path: Path, small: Path) -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs/schema/suggest.json").read_text("utf-8"))
    ran = run(tmp_path, "suggest", "-m", "fable", "-m", small, "--pool", "log", "--weight",
              f"{small.stem}=-0.3", "--prompt", "The king had", "--depth", "4", "--beams", "4",
              "--format", "json")  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert faults(found, schema, schema) == []
    assert found["model"] == f"fable + {small.stem}"
    assert found["mix"]["formula"].startswith(f"p(x) ∝ fable(x)^1.429 · {small.stem}(x)^-0.4286")
    assert found["stats"]["done"]
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
