"""The story as the models of a mix see it: read beside it, written by it, with one of them gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import pytest

from llterm.config.schema import PRESET
from llterm.core.bans import Bans
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.tokens import Anchor, Path
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.compare import ModelReader, ModelReference, TextWindow, begin_comparison, compare
from llterm.engine.mix_player import MixPlayer
from llterm.engine.mixture import Mix
from llterm.errors import LltermError
from llterm.session.document import Document
from llterm.session.mix_reader import MixReader
from llterm.session.session import Session
from tests.helpers.known_tokens import tokens_of
from tests.helpers.mix_models import STORY, Endless, Few, Mortal, stepped
from tests.helpers.polling import until


@asynccontextmanager
async def mixing(
    *models: Endless, mode: Mode = "democratic", path: FilePath | None = None
) -> AsyncIterator[MixReader]:
    rules = WeaveSettings(heal=False)
    document = Document.create(path, STORY, rules) if path else Document.scratch(STORY, rules)
    session = Session(document)
    session.set_sampling(session.sampling.under("greedy", PRESETS))
    session.attach(Mix(models, Recipe(mode, OpinionPool((1.0,) * len(models))), forgiving=True))
    reader = MixReader(session)
    reader.start()
    try:
        await until(lambda: reader.looked and not reader.waiting)
        yield reader
    finally:
        reader.stop()
        await session.close()


async def test_every_place_says_what_the_models_say() -> None:
    models = Endless(1), Endless(2)
    async with mixing(*models) as reader:
        tokens = (*models[0].vocabulary.prefix, *tokens_of(models[0].vocabulary, STORY))
        head = len(models[0].vocabulary.prefix)
        for number, place in enumerate(reader.places):
            rows = [np.exp(one.logprobs(tokens[: head + number])) for one in models]
            mean = np.mean(rows, axis=0)
            assert place is not None
            assert place.mix.choice == int(mean.argmax())
            for row, side in zip(rows, place.sides, strict=True):
                assert side is not None
                assert side.choice == int(row.argmax())
                assert side.choice_p == pytest.approx(row.max(), rel=1e-5)
                apart = float((mean * np.log(mean / row)).sum())
                assert side.kld == pytest.approx(apart, abs=1e-5)


async def test_statistics_are_those_of_a_comparison() -> None:
    models = Endless(1), Endless(2)
    async with mixing(*models, mode="reference") as reader:
        vocabulary = models[0].vocabulary
        tokens = (*vocabulary.prefix, *tokens_of(vocabulary, STORY))
        views = [TextWindow(tokens, len(vocabulary.prefix), 0)]
        reference = ModelReference(ModelReader(models[0]))
        whole = begin_comparison(reference, views, ["other"])
        async for _ in compare(whole, reference, [ModelReader(models[1])], views):
            pass
        (other,) = whole.candidates
        now, then = reader.statistics(1).now(), other.statistics.now()
        assert {name: pytest.approx(number.value, rel=1e-4) for name, number in then.items()} == {
            name: number.value for name, number in now.items()
        }
        numbers = list(whole.divergences(other))
        seen: list[int] = []
        while (at := reader.divergence(seen[-1] if seen else -1, 1)) is not None:
            seen.append(at)
        # The comparison has no place after the last token.
        seen = [number for number in seen if number < len(reader.pieces)]
        assert seen == numbers


async def test_each_token_keeps_whose_it_is_through_a_restart(tmp_path: FilePath) -> None:
    loom = tmp_path / "mixed.loom"
    async with mixing(Endless(1), Endless(2), mode="round-robin", path=loom) as reader:
        count = len(reader.pieces)
        await stepped(reader, 5)
        given = [piece.by for piece in reader.pieces[count:]]
        assert given == [0, 1, 0, 1, 0]
        assert all(piece.person for piece in reader.pieces[:count])
    session = Session(Document.open(loom))
    session.attach(Mix([Endless(1), Endless(2)], Recipe("democratic", OpinionPool((1.0, 1.0)))))
    again = MixReader(session)
    again.start()
    await until(lambda: again.looked)
    assert [piece.by for piece in again.pieces[count:]] == given
    again.stop()
    await session.close()


async def test_a_step_asks_each_model_once() -> None:
    models = Endless(1), Endless(2)
    async with mixing(*models) as reader:
        await stepped(reader)
        before = len(models[0].asked)
        await stepped(reader, 4)
        assert len(models[0].asked) - before == 4


async def test_force_rewinds_to_a_place_and_the_old_text_is_a_branch() -> None:
    async with mixing(Endless(1), Endless(2)) as reader:
        await stepped(reader, 4)
        document = reader.session.document
        old, number = document.text, len(reader.pieces) - 3
        place = reader.places[number]
        assert place is not None
        other = next(id for id, _ in place.mix.top if id not in (place.token, 0))
        reader.force(number, other)
        await until(lambda: len(reader.pieces) == number + 1 and not reader.waiting)
        forced = document.text
        assert forced != old
        assert reader.branch(number) is not None
        assert document.text == old
        reader.branch(number)
        assert document.text == forced


async def test_another_recipe_counts_at_once() -> None:
    async with mixing(Endless(1), Endless(2)) as reader:
        mix = reader.mix
        assert mix is not None
        before = reader.places[-1]
        reader.change(Recipe("democratic", OpinionPool((1.0, -0.5), "log")))
        await until(lambda: not reader.waiting and reader.places[-1] is not before)
        assert reader.places[-1] != before
        assert "^-1" in mix.formula


async def test_the_others_go_on_without_a_model_that_died() -> None:
    mortal, other = Mortal(1), Endless(2)
    async with mixing(mortal, other) as reader:
        mix = reader.mix
        assert mix is not None
        mortal.dead = True
        await stepped(reader, 3)
        assert list(mix.company.lost) == [0]
        assert mix.company.lost[0].error.title == "The server is gone"
        assert "random-1" not in mix.formula
        assert [piece.by for piece in reader.pieces[-2:]] == [1, 1]
        assert reader.places[-1] is not None
        assert reader.places[-1].sides[0] is None
        mortal.dead = False
        reader.retry()
        await until(lambda: not mix.company.lost and not reader.waiting)
        await stepped(reader)
        assert reader.places[-1] is not None
        assert reader.places[-1].sides[0] is not None


async def test_when_all_are_gone_it_says_so() -> None:
    first, other = Mortal(1), Mortal(2)
    async with mixing(first, other) as reader:
        first.dead = other.dead = True
        errors: list[LltermError | str] = []
        player = reader.session.player
        player.ended = errors.append
        player.step()
        await player.task.wait()
        player.step()
        await player.task.wait()
        assert isinstance(errors[-1], LltermError)
        assert errors[-1].title == "The server is gone"


KNOBS: dict[str, object] = {
    "temperature": 1.4, "dynatemp_range": 0.5, "dynatemp_exponent": 2.0, "top_k": 3, "top_p": 0.6,
    "min_p": 0.1, "typical_p": 0.7, "top_n_sigma": 1.0, "xtc_probability": 0.7,
    "xtc_threshold": 0.05, "repeat_penalty": 1.5, "frequency_penalty": 0.7,
    "presence_penalty": 0.7, "penalty_last_n": 4, "dry_multiplier": 0.8, "dry_base": 2.0,
    "dry_allowed_length": 1, "dry_penalty_last_n": 8, "dry_sequence_breakers": ("a",),
    "mirostat": 1, "mirostat_tau": 2.0, "mirostat_eta": 0.5, "order": ("temperature", "top_k"),
}  # fmt: skip
"""Each knob of the chain away from what changes nothing."""
BESIDE = {"dry_multiplier": 0.8, "xtc_probability": 0.5, "mirostat": 2, "dynatemp_range": 0.4,
          "repeat_penalty": 1.3}  # fmt: skip
"""What a knob may need beside it to count."""


def turned(name: str, value: object) -> Sampling:
    """A chain with this knob turned, and with what makes it count."""
    stage = name.partition("_")[0]
    beside = {knob: one for knob, one in BESIDE.items() if knob.startswith(stage[:3])}
    return Sampling(SamplerSettings(**{"seed": 3, **beside, name: value}), None)  # type: ignore[arg-type]


def test_every_knob_of_the_chain_takes_part() -> None:
    assert set(KNOBS) == {row.name for row in PRESET}


@pytest.mark.parametrize(
    "sampling",
    [
        *(Sampling(replace(one, seed=3)) for one in PRESETS.values()),
        *(turned(name, value) for name, value in KNOBS.items()),
        Sampling(SamplerSettings(seed=3, mirostat=1)),
        Sampling(SamplerSettings(seed=3, mirostat=2, mirostat_tau=2.0)),
        Sampling(SamplerSettings(seed=3, repeat_penalty=1.5, presence_penalty=0.5, top_k=9)),
        Sampling(SamplerSettings(seed=3, dry_multiplier=0.8, xtc_probability=0.5, typical_p=0.9)),
        Sampling(SamplerSettings(seed=3, temperature=1.2, dynatemp_range=0.6)),
        Sampling(SamplerSettings(seed=3), None, Bans(phrases=("be",)), (("a", -1.5),), 6),
    ],
)
async def test_report_and_screen_write_the_same_text(sampling: Sampling) -> None:
    mode: Mode = "round-robin" if sampling.settings.mirostat else "democratic"
    async with mixing(Endless(1), Endless(2), mode=mode) as reader:
        session, mix = reader.session, reader.mix
        assert mix is not None
        session.set_sampling(sampling)
        before = len(session.document.text)
        await stepped(reader, 5)
        shown = session.document.bytes_before(len(session.document.text))[before:]
    mix = Mix([Endless(1), Endless(2)], Recipe(mode, OpinionPool((1.0, 1.0))))
    path = Path(Anchor(mix.vocabulary.prefix + tokens_of(mix.vocabulary, STORY)))
    mix.begin(path.anchor)
    report = [turn async for turn in MixPlayer(mix, sampling, STORY).play(path, 5)]
    assert b"".join(turn.token.data for turn in report) == shown


@pytest.mark.parametrize("reference", [0, 1])
async def test_what_a_server_does_not_list_is_not_told(reference: int) -> None:
    models: list[Endless] = [Endless(1), Few(2, top=4)]
    if reference:
        models.reverse()
    few = 1 - reference
    async with mixing(*models, mode="reference") as reader:
        vocabulary = models[0].vocabulary
        tokens = (*vocabulary.prefix, *tokens_of(vocabulary, STORY))
        head = len(vocabulary.prefix)
        untold = 0
        for number, place in enumerate(reader.places[:-1]):
            assert place is not None
            side = place.sides[few]
            assert side is not None
            row = models[few].logprobs(tokens[: head + number])
            if side.p is None:
                untold += 1
                assert side.rank == 0
                assert tokens[head + number] not in np.argsort(-row)[:4]
            else:
                assert side.p == pytest.approx(float(np.exp(row[tokens[head + number]])), rel=1e-5)
            assert side.choice == int(row.argmax())
            assert place.sides[1].kld is None  # type: ignore[union-attr]
            assert place.mix.p is None or reference == 0 or side.p is not None
        assert 0 < untold < len(reader.pieces)
        now = reader.statistics(1).now()
        assert not any(now[name].known for name in ("kld", "ppl-ratio", "dp", "rms-dp"))
        assert now["same-top"].known
        assert reader.worst(1) is None
