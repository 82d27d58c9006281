"""What a model answers to a program: the figures of the commands, by their names."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import llterm

TEXT = "Once upon a time there was a fox who"


def test_suggestions_are_those_of_the_command(model: llterm.Model) -> None:
    suggestions = model.suggest(TEXT, depth=4, beams=3)
    assert len(suggestions) == 3
    assert [each.p for each in suggestions] == sorted((s.p for s in suggestions), reverse=True)
    best = suggestions[0]
    assert best.p == pytest.approx(math.prod(token.p for token in best.tokens))
    assert all(token.rank is not None for token in best.tokens)


def test_a_sample_with_a_seed_is_the_same_every_time_and_in_a_stream(model: llterm.Model) -> None:
    first, second = model.sample(TEXT, 2, tokens=6, seed=3)
    assert first.text != second.text
    (alone,) = model.sample(TEXT, 1, tokens=6, seed=3)
    assert alone.text == first.text
    # Bundled figures are the same in any company to 0.4 %.
    assert alone.logprob == pytest.approx(first.logprob, abs=0.01)
    with model.generate(TEXT, tokens=6, seed=3) as stream:
        pieces = [*stream]
    assert "".join(piece.text for piece in pieces) == first.text
    assert [piece.id for piece in pieces] == [token.id for token in first.tokens]


def test_a_healed_word_is_not_said_twice(model: llterm.Model) -> None:
    text = "".join(piece.text for piece in model.generate("The little fo", tokens=3, seed=1))
    assert not text.startswith(" fo")


def test_a_stream_that_is_left_stops(model: llterm.Model) -> None:
    stream = model.generate(TEXT, tokens=2000)
    next(stream)
    stream.close()
    assert [*stream] == []
    assert model.sample(TEXT, tokens=1)


def test_what_may_stand_next_is_told_before_and_after_the_sampler(model: llterm.Model) -> None:
    places = model.next(TEXT, top=5, top_k=2, temperature=1.0)
    assert len(places) == 5
    assert places.kept == 2
    assert [place.kept for place in places] == [True, True, False, False, False]
    assert sum(place.p_final for place in places) == pytest.approx(1.0)
    assert places[2].dropped_by == "top_k"
    assert places.rest + sum(place.p for place in places) == pytest.approx(1.0)
    assert places.row is not None
    assert float(places.row.max()) == pytest.approx(places[0].logprob)
    assert places.p[places[0].text] == places[0].p


def test_a_constraint_holds_for_what_may_stand_next(model: llterm.Model) -> None:
    (one,) = [each for each in model.next(TEXT, top=4096, choices=[" had"]) if each.p_final > 0.99]
    assert one.text == " had" or " had".startswith(one.text)


def test_a_score_is_the_product_of_its_tokens(model: llterm.Model) -> None:
    scored = model.score("The cat sat.")
    assert scored.p == pytest.approx(math.prod(token.p for token in scored))
    assert b"".join(token.data for token in scored) == b"The cat sat."
    assert scored.perplexity == pytest.approx(math.exp(-scored.logprob / len(scored)))
    assert all(len(token.top) == 5 for token in scored)


def test_every_label_has_its_probability(model: llterm.Model) -> None:
    one = model.classify("I loved it.", ["good", "bad"])
    assert one.p.keys() == {"good", "bad"}
    assert sum(one.p.values()) == pytest.approx(1.0)
    assert one.label == max(one.p, key=lambda label: one.p[label])
    assert model.classify(["I loved it."], ["good", "bad"]) == [one]


def test_a_chat_is_opened_by_the_models_template(model: llterm.Model) -> None:
    chat = [{"role": "user", "content": "Tell me a story."}]
    plain = model.next("", chat=chat, top=1)
    assert plain[0] == model.next("", chat="Tell me a story.", top=1)[0]
    with pytest.raises(llterm.UsageError, match="message of the chat"):
        model.next("", chat=[{"role": "robot", "content": "x"}])


def test_tokens_go_out_and_come_back(model: llterm.Model) -> None:
    tokens = model.tokenize("The fox 🦊")
    assert model.detokenize(tokens).decode() == "The fox 🦊"
    with pytest.raises(llterm.UsageError, match="is no token"):
        model.detokenize([1 << 30])


@pytest.mark.parametrize("text", ["\ud800", "\udcff\x1b[31m", "\0", "👩‍👩‍👧", b"\xff\xfe"])
def test_any_text_is_taken(model: llterm.Model, text: str | bytes) -> None:
    assert model.sample(text, tokens=1)


def test_numbers_that_make_no_sense_are_refused_by_name(model: llterm.Model) -> None:
    calls: dict[str, Callable[[], object]] = {
        "n is 0": lambda: model.sample(TEXT, 0),
        "tokens is -1": lambda: model.generate(TEXT, tokens=-1),
        "depth": lambda: model.suggest(TEXT, depth=0),
        "temperature": lambda: model.sample(TEXT, temperature=-1),
        "top is below 1": lambda: model.next(TEXT, 0),
        "cannot be together": lambda: model.sample(TEXT, choices=["a"], regex="b"),
        "too few labels": lambda: model.classify(TEXT, ["good"]),
        "2 weights for 3": lambda: model.mix([model, model], TEXT, weights=[1, 2]),
    }
    for said, call in calls.items():
        with pytest.raises(llterm.UsageError, match=said):
            call()


def test_a_model_that_there_is_not_is_named() -> None:
    with pytest.raises(llterm.ModelError, match="no model fabel") as raised:
        llterm.open("fabel")
    assert "fable" in raised.value.hint


def test_threads_may_ask_at_once(model: llterm.Model) -> None:
    alone = [model.suggest(f"{number} foxes", depth=3, beams=2) for number in range(3)]
    together: dict[int, object] = {}

    def ask(number: int) -> None:
        together[number] = model.suggest(f"{number} foxes", depth=3, beams=2)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[each.text for each in together[n]] for n in range(3)] == [  # type: ignore[attr-defined]
        [each.text for each in suggestions] for suggestions in alone
    ]


async def test_the_sync_face_works_where_a_loop_runs_already(model: llterm.Model) -> None:
    """As in a notebook, whose cells run on an event loop."""
    assert asyncio.get_running_loop()
    assert model.sample(TEXT, tokens=2, seed=1)
    with model.generate(TEXT, tokens=2) as stream:
        assert len([*stream]) == 2


def test_progress_is_told_and_nothing_is_left_after_the_end() -> None:
    shares: list[float] = []
    with llterm.open("scripted", progress=shares.append) as model:
        stream = model.generate("The", tokens=9)
        next(stream)
    with pytest.raises(llterm.UsageError, match="closed"):
        next(stream)
    with pytest.raises(llterm.UsageError, match="closed"):
        model.sample("The")
    model.close()
    assert repr(model) == "<Model scripted, closed>"


def test_what_asks_from_llterms_own_thread_is_told_so() -> None:
    refused: list[str] = []

    def ask(share: float) -> None:
        try:
            llterm.open("scripted")
        except llterm.UsageError as error:
            refused.append(error.title)

    with llterm.open("fable", progress=ask):
        pass
    assert {*refused} == {"This was called from llterm's own thread"}


INTERRUPTED = """
import os, signal, sys, threading, time
import llterm

main = threading.main_thread().ident

def waits():
    frame = sys._current_frames()[main]
    while frame is not None and "loop_thread" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None

def interrupt():
    while not waits():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

with llterm.open("fable") as model:
    model.sample("Once", tokens=1)
    threading.Thread(target=interrupt).start()
    try:
        model.sample("Once", 40, tokens=2000)
    except KeyboardInterrupt:
        print("interrupted")
    print(len(model.sample("Once", 3, tokens=2)))
print(sorted(thread.name for thread in threading.enumerate() if "texts" not in thread.name))
"""


def test_ctrl_c_ends_a_long_call_and_leaves_no_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["interrupted", "3", "['MainThread']"]
    assert not done.stderr


async def test_the_async_face_answers_the_same(model: llterm.Model, tmp_path: Path) -> None:
    async with llterm.aopen("fable") as other:
        suggestions = await other.suggest(TEXT, depth=3, beams=2)
        assert [s.text for s in suggestions] == [
            s.text for s in model.suggest(TEXT, depth=3, beams=2)
        ]
        pieces = [piece async for piece in other.generate(TEXT, tokens=4, seed=1)]
        assert (
            "".join(piece.text for piece in pieces) == model.sample(TEXT, tokens=4, seed=1)[0].text
        )
        both = await asyncio.gather(*(other.next(TEXT, 3) for _ in range(2)))
        assert both[0][0].text == both[1][0].text
        loom = await other.loom(TEXT, save=tmp_path / "a.loom")
        (child,) = await loom.root.grow(1, tokens=5, seed=1)
        stream = loom.root.stream(2, tokens=3, seed=2)
        assert {token.number async for token in stream} == {0, 1}
        assert [*loom.root.children] == [child, *stream.children]
        crowns = await loom.root.apply_at_leaves(
            lambda node: node.grow(1, tokens=2, seed=3), lambda node: node.crown()
        )
        assert len(crowns) == 3
        task = asyncio.create_task(other.sample(TEXT, 30, tokens=2000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(llterm.UsageError, match="closed"):
        await other.sample(TEXT)


def test_a_loom_of_the_async_face_stays_on_its_thread() -> None:
    raised: list[llterm.UsageError] = []

    async def main() -> None:
        async with llterm.aopen("scripted") as model:
            loom = await model.loom("The")

            def elsewhere() -> None:
                try:
                    loom.root.write(" end")
                except llterm.UsageError as error:
                    raised.append(error)

            await asyncio.to_thread(elsewhere)

    asyncio.run(main())
    assert raised[0].title == "This loom belongs to another thread"
