"""What a person does on a server, command by command: `make test-address ADDRESS=http://…`.

Without an address: on the suite's own llama.cpp server, and on llama-cpp-python's where that is
installed. The model need not be known. Answers are held against each other (a figure must not
depend on how it is asked for), and with `MODEL=file.gguf` against the same model in this process.

A cell passes where it works, and where llterm says in a sentence why this server cannot do it;
which of both, the row tells that is printed at the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from llterm.errors import BackendUnavailable
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import INTERVAL
from tests.helpers.program import Ran
from tests.helpers.server_trial import (
    LOCAL_ROUNDING,
    ROUNDING,
    Figures,
    Refusal,
    ServerTrial,
    Untried,
    by_text,
    cell,
    check_alike,
    check_common,
    check_seen,
    sentence,
)

pytestmark = pytest.mark.server

STORY = "Once upon a time there was a little"
RULES = ("--depth", "6", "--beams", "8", "--cutoff", "0.01", "--split-limit", "0")
"""A cutoff so low that no suggestion among the first stands or falls with what rounds to it."""
LONG_RULES = ("--depth", "10", "--beams", "30", "--cutoff", "0.02")
BEHIND_CHARACTERS = ("The fox smiled 😀 and the 🐻", "The sea was calm. 🌊", "猫は", "Он был")
"""Stories at whose end parts of characters are likely."""
TEXT = "The little fox said: “é ☃!” 😀 Then 猫は went home."
CHOICES = (" boy", " girl", " dragon")
LOADING = 600.0
"""Seconds in which a server is to be back."""
WORDS = ("fox", "wood", "river", "old", "lamp", "moon", "cat", "ran", "and", "the", "slept", "by")


def suggested(
    trial: ServerTrial, *arguments: str | Path, models: Sequence[str | Path] = ()
) -> Figures:
    return by_text(trial.ask("suggest", *RULES, *arguments, models=models))


def check_ways(trial: ServerTrial, *arguments: str | Path) -> tuple[Figures, Any]:
    """Asks twice, the second time one request after the other, for what must be the same.

    Returns the suggestions, and what the same model in this process answers where it is there.
    """
    mine = suggested(trial, *arguments)
    check_alike(mine, suggested(trial, *arguments, "--parallel", "1"), ROUNDING)
    if trial.local is None:
        return mine, None
    return mine, trial.ask("suggest", *RULES, *arguments, models=[trial.local])


def check_ways_and_model(trial: ServerTrial, *arguments: str | Path) -> None:
    mine, local = check_ways(trial, *arguments)
    if local is not None:
        check_seen(mine, local, trial.listed, LOCAL_ROUNDING)


def scored(trial: ServerTrial, text: str, models: Sequence[str | Path] = ()) -> list[Any]:
    """The tokens of a text with their figures; where the server puts nothing before it, its first
    token has none and is not among them."""
    answer = trial.ask("score", "--prompt", text, models=models)
    tokens: list[Any] = answer["tokens"]
    assert len(tokens) >= answer["text_tokens"] - 1
    assert text.encode().endswith(b"".join(bytes(token["bytes"]) for token in tokens))
    return tokens


def check_scored(trial: ServerTrial, story: str, tokens: Sequence[Any]) -> None:
    """What was suggested or drawn behind a story is scored as it was, where the server scores and
    cuts the text into the same tokens."""
    data = b"".join(bytes(token["bytes"]) for token in tokens)
    try:
        behind = scored(trial, (story.encode() + data).decode())[-len(tokens) :]
    except (Refusal, UnicodeDecodeError):
        return
    if [token["bytes"] for token in behind] != [token["bytes"] for token in tokens]:
        return
    mine = math.fsum(token["logprob"] for token in tokens)
    theirs = math.fsum(token["logprob"] for token in behind)
    assert math.isclose(mine, theirs, abs_tol=ROUNDING), data


@cell("suggest")
def test_suggestions_do_not_depend_on_how_they_are_asked_for(trial: ServerTrial) -> None:
    check_ways_and_model(trial, "--no-heal", "--prompt", STORY)
    whole = trial.ask("suggest", *RULES, "--no-heal", "--prompt", STORY)
    short = trial.ask(
        "suggest", *RULES, "--depth", "1", "--beams", "0", "--no-heal", "--prompt", STORY
    )
    first = {each["text"]: each["logprob"] for each in short["suggestions"]}
    for each in whole["suggestions"]:
        begin = each["tokens"][0]
        assert math.isclose(begin["logprob"], first[begin["text"]], abs_tol=ROUNDING)
    check_scored(trial, STORY, whole["suggestions"][0]["tokens"])
    check_replayed(trial, STORY)


def check_replayed(trial: ServerTrial, story: str) -> None:
    """What was recorded is answered from the file as it was by the server."""
    recording = trial.home / f"{len(story)}.json"
    asked = (*RULES, "--no-heal", "--prompt", story)
    served = by_text(trial.ask("suggest", *asked, "--record", recording))
    assert by_text(trial.ask("suggest", *asked, "--replay", recording)) == served


@cell("emoji")
def test_nothing_is_lost_behind_emoji_and_in_other_scripts(trial: ServerTrial) -> None:
    """Where the server does not tell parts of characters, what it does tell is right."""
    partial = trial.told["token bytes"]
    for story in BEHIND_CHARACTERS:
        mine, local = check_ways(trial, "--no-heal", "--prompt", story)
        if local is not None and partial == "exact":
            check_seen(mine, local, trial.listed, LOCAL_ROUNDING)
        elif local is not None:
            check_common(mine, by_text(local), LOCAL_ROUNDING)
    check_replayed(trial, story)
    if partial != "exact":
        raise Refusal(f"Token bytes are told {partial}.")


@cell("heal")
def test_half_a_word_and_a_blank_at_the_end_are_healed(trial: ServerTrial) -> None:
    for story in (f"{STORY} gi", "Once upon a time there was a ", "The fox 😀 met 猫"):
        answer = trial.ask("suggest", *RULES, "--prompt", story)
        for line in trial.narration.splitlines():
            if "(no healing)" in line:
                raise Refusal(trial.nameless(line))
        last = story.rpartition(" ")[2].encode() or b" "
        for each in answer["suggestions"]:
            data = b"".join(bytes(token["bytes"]) for token in each["tokens"])
            assert data.lstrip().startswith(last.lstrip()), (story, data)
        check_ways_and_model(trial, "--prompt", story)
        drawn = trial.ask("sample", "--seed", "1", "--tokens", "6", "--prompt", story)
        assert drawn["continuations"][0]["text"]


@cell("choice")
def test_every_choice_is_listed_with_its_share(trial: ServerTrial) -> None:
    texts = [part for choice in CHOICES for part in ("--choice", choice)]
    answer = trial.ask("suggest", "--prompt", STORY, *texts)
    choices = answer["suggestions"]
    assert {each["text"] for each in choices} == {*CHOICES}
    assert math.isclose(math.fsum(each["share"] for each in choices), 1.0, abs_tol=0.001)
    free = trial.ask("suggest", "--depth", "1", "--no-heal", "--prompt", STORY)
    check_common(
        {each["text"]: each["logprob"] for each in free["suggestions"]},
        {each["text"]: each["logprob"] for each in choices if len(each["tokens"]) == 1},
        ROUNDING,
    )
    if trial.local is not None:
        local = trial.ask("suggest", "--prompt", STORY, *texts, models=[trial.local])
        check_alike(by_text(answer), by_text(local), LOCAL_ROUNDING)


@cell("chat")
def test_a_chat_is_gone_on_with(trial: ServerTrial) -> None:
    said = ("--system", "Answer briefly.", "--prompt", "Tell of a fox.")
    check_ways_and_model(trial, "--no-heal", *said)
    drawn = trial.ask("sample", "--seed", "1", "--tokens", "6", *said)
    assert drawn["continuations"][0]["text"]


@cell("score")
def test_a_given_text_is_scored_token_by_token(trial: ServerTrial) -> None:
    mine = scored(trial, TEXT)
    figures = [token["logprob"] for token in mine]
    assert max(figures) <= 0.0
    again = [token["logprob"] for token in scored(trial, TEXT)]
    assert figures == pytest.approx(again, abs=ROUNDING)
    if trial.local is not None:
        local = scored(trial, TEXT, [trial.local])[-len(mine) :]
        assert [token["bytes"] for token in mine] == [token["bytes"] for token in local]
        for own, other in zip(mine, local, strict=True):
            assert own["logprob"] == pytest.approx(other["logprob"], abs=LOCAL_ROUNDING), own


@cell("sample")
def test_continuations_are_drawn(trial: ServerTrial) -> None:
    for story in (STORY, BEHIND_CHARACTERS[0]):
        answer = trial.ask("sample", "-n", "2", "--seed", "1", "--tokens", "8", "--prompt", story)
        assert len(answer["continuations"]) == 2
        for each in answer["continuations"]:
            assert each["finish"] in ("length", "end", "stop"), each
            assert each["text"] or each["finish"] == "end"
    greedy = trial.ask(
        "sample", "--temperature", "0", "--tokens", "6", "--no-heal", "--prompt", STORY
    )
    (line,) = greedy["continuations"]
    assert line["text"]
    check_scored(trial, STORY, line["tokens"])


@cell("mix")
def test_a_mix_with_a_model_in_this_process_writes(trial: ServerTrial) -> None:
    for story, mode in ((STORY, "democratic"), (STORY, "round-robin"), ("猫は 😀", "democratic")):
        beside: list[str | Path] = [trial.name, trial.local or BUNDLED]
        answer = trial.ask("mix", "--mode", mode, "--tokens", "6", "--prompt", story, models=beside)
        assert answer["tokens"], story
        assert answer["bytes"] or answer["finish"] == "end"
        for token in answer["tokens"]:
            assert 0.0 < token["p"] <= 1.0 + 1e-6, token
            served, other = token["models"]
            if trial.local is not None and answer["unit"] == "token" and served["p"] is not None:
                assert served["p"] == pytest.approx(other["p"], abs=LOCAL_ROUNDING), token
    both = trial.ask("suggest", *RULES, "--prompt", STORY, models=beside)
    assert both["suggestions"]


@cell("reference")
def test_a_comparison_says_that_a_model_is_like_itself(trial: ServerTrial) -> None:
    beside: list[str | Path] = [trial.local or trial.name, trial.name]
    answer = trial.ask("mix", "--mode", "reference", "--prompt", TEXT, models=beside)
    (figures,) = [model["figures"] for model in answer["models"]]
    assert figures["ln-ppl-ratio"]["value"] == pytest.approx(0.0, abs=LOCAL_ROUNDING)
    assert figures["rms-dp"]["value"] == pytest.approx(0.0, abs=LOCAL_ROUNDING)


@cell("over-long")
def test_a_story_longer_than_the_context_is_gone_on_with(trial: ServerTrial) -> None:
    context = trial.ask("suggest", "--depth", "1", "--prompt", STORY)["stats"]["context"]
    words = min(max(3_000, round(1.2 * context)), 12_000)
    numbers = count(7, 5)
    text = " ".join(WORDS[next(numbers) ** 2 % 83 % len(WORDS)] for _ in range(words))
    story = trial.home / "long.txt"
    story.write_text(f"{text}. {STORY}")
    answer = trial.ask("suggest", *RULES, "--no-heal", story)
    sight = answer["stats"]
    assert sight["story_tokens"] - sight["dropped_tokens"] <= sight["context"]
    assert sight["dropped_tokens"] > 0 or sight["story_tokens"] <= sight["context"]
    again = trial.ask("suggest", *RULES, "--no-heal", story)
    if again["stats"]["window_start"] == sight["window_start"]:
        check_alike(by_text(answer), by_text(again), ROUNDING)
    elif trial.local is not None:
        # Counted in llterm's own tokens, the window moves with what a refusal has taught of theirs.
        seen = trial.home / "seen.txt"
        seen.write_bytes(story.read_bytes()[sight["window_start"] :])
        local = trial.ask("suggest", *RULES, "--no-heal", seen, models=[trial.local])
        check_seen(by_text(answer), local, trial.listed, LOCAL_ROUNDING)
    drawn = trial.ask("sample", "--seed", "1", "--tokens", "4", story)
    assert drawn["continuations"][0]["text"]


@cell("restart")
def test_a_weave_outlives_a_restart_of_its_server(trial: ServerTrial) -> None:
    """Where it takes longer than llterm waits, the same command goes on once it is back."""
    if trial.restart is None:
        raise Untried
    asked = (*LONG_RULES, "--no-heal", "--prompt", STORY)
    whole, cut = trial.home / "whole", trial.home / "cut"
    before = by_text(trial.ask("suggest", *asked, "--record", whole))
    with trial.start("suggest", *asked, "--record", cut, "--format", "json") as process:
        while lines(cut) < lines(whole) / 2:
            assert process.poll() is None, process.communicate()
            sleep(INTERVAL)
        trial.restart()
        out, err = process.communicate()
    if process.returncode != 0:
        stopped = sentence(Ran(process.returncode, "", err.decode()))
        assert process.returncode == BackendUnavailable.exit_code, stopped
        patience = monotonic() + LOADING
        while not trial.answers():
            assert monotonic() < patience, "it did not come back"
        check_alike(before, by_text(trial.ask("suggest", *asked)), ROUNDING)
        raise Refusal(f"{stopped} (The same command goes on once the server is back.)")
    answer = json.loads(out)
    assert sum(server["retries"] for server in answer["stats"]["servers"]), "it was not away"
    check_alike(before, by_text(answer), ROUNDING)


def lines(recording: Path) -> int:
    """How many requests have been answered."""
    return recording.read_bytes().count(b"\n") if recording.exists() else 0
