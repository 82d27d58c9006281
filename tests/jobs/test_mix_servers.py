"""`llterm mix` with a model on a real server: recorded, replayed without it, and gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.core.server_news import Absence, Phase, ServerNews
from llterm.jobs.runner import absences
from llterm.output import ProgressLine
from tests.helpers.json_schema import run_json
from tests.helpers.program import run
from tests.helpers.server_process import Process

TEXT = "Once upon a time a fox 🦊 went down to the water — and looked for the moon. It was gone.\n"


@pytest.mark.server
def test_what_a_server_said_is_replayed_without_it(tmp_path: Path, process: Process) -> None:
    toml, tape = tmp_path / "near.toml", tmp_path / "near.cassette"
    toml.write_text(f'[models.near]\nbase_url = "{process.address}"\n')
    asked = ("mix", "-m", "fable", "-m", "near", "--prompt", "The king had three", "--tokens", "6",
             "--format", "json")  # fmt: skip
    live = run(tmp_path, *asked, "--config", toml, "--record", tape)
    assert live.code == 0, live.err
    process.kill()
    gone = run(tmp_path, *asked, "--config", toml)
    assert gone.code == 3
    assert "No connection" in gone.err
    again = run(tmp_path, *asked, "--replay", tape)
    assert again.code == 0, again.err
    first, second = json.loads(live.out), json.loads(again.out)
    assert second["tokens"] == first["tokens"]
    assert len(second["tokens"]) == 6


def test_a_server_that_is_away_is_told_once_and_that_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = ServerNews("a"), ServerNews("b")
    hear = absences(ProgressLine())
    for news in (first, second):
        hear(news)
    first.tell([])
    for phase in ("waiting", "unknown", "waiting", "given up", "waiting"):
        first.tell([_absence("a", "Connection refused", phase)])
    second.tell([_absence("b", "No route to host", "spared")])
    second.tell([_absence("b", "No route to host", "waiting")])
    first.tell([])
    second.tell([_absence("b", "No route to host", "given up")])
    second.tell_most_listed(20)
    second.stir()
    first.tell([])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Connection refused; asking again for 30 s: http://a",
        "No route to host; asking again for 30 s: http://b",
        "http://a answered again",
        "b lists 20 candidates at most",
    ]


def _absence(model: str, words: str, phase: Phase) -> Absence:
    return Absence(model, f"http://{model}", "unreached", words, 0.0, 30.0, phase)


@pytest.mark.server
def test_a_model_compared_with_itself_on_a_server_is_itself(
    tmp_path: Path, process: Process
) -> None:
    toml = tmp_path / "near.toml"
    toml.write_text(f'[models.near]\nbase_url = "{process.address}"\n')
    (tmp_path / "text.txt").write_text(TEXT)
    asked = ("mix", "-m", "fable", "-m", "near", "--text", "text.txt", "--config", toml)
    for first in ("fable", "near"):
        printed = run_json(tmp_path, *asked, "--reference", first)
        assert printed["exact"] is False
        (model,) = printed["models"]
        figures = {name: figure["value"] for name, figure in model["figures"].items()}
        assert figures["ppl-ratio"] == pytest.approx(1, abs=1e-3)
        assert figures["rms-dp"] < 1e-3
        assert figures["same-top"] == 1
        assert {figures[name] for name in figures if name.startswith("kld")} == {None}
        assert (model["histogram"], model["worst"]) == ([], [])
        assert all(place["models"][0]["kld"] is None for place in printed["tokens"])

    wanted = run(tmp_path, *asked, "--require", "ppl-ratio<=1.001,kld<=0.05")
    assert wanted.code == 6
    assert "kld cannot be told: near lists only its best candidates." in wanted.err
    assert "ppl-ratio" not in wanted.err
    assert "KL divergence, how many" not in wanted.out
    assert "nan" not in wanted.out
    page = run(tmp_path, *asked, "--format", "html").out
    assert "KLD" not in page
    assert "Worst places" not in page
    assert "NaN" not in page.partition('id="data">')[2].partition("</script>")[0]
    assert "cannot be told" in page

    base = ("--write-base", "base.kld", "--window", "16")
    refused = run(tmp_path, *asked, *base, "--reference", "near")
    assert refused.code == 5
    assert "No base file can be written of near" in refused.err
    assert not (tmp_path / "base.kld").exists()
