"""Continuations drawn side by side: their frequencies, their cost, their ends, what binds them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend, listed
from llterm.constraints.compiled import compile
from llterm.constraints.spec import choices, regex
from llterm.core.bans import Bans
from llterm.core.distribution import Constrained
from llterm.core.healing import Healer, residue_of
from llterm.core.query import Capabilities, Fact, Failed, Query, Source
from llterm.core.sampling.ladder import Mirostat
from llterm.core.sampling.sampler_chain import UNKNOWN_LOGITS
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.stops import Stopper
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.draw import Drawing, DrawingStart, Drawn, Sample
from llterm.errors import LltermError
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.known_tokens import chain_of, tokens_of

STORY = b"The maker went to the"
FREE = Sampling(replace(PRESETS["neutral"], seed=1), "neutral")


def drawing(
    source: Source,
    sampling: Sampling = FREE,
    lines: int = 1,
    story: bytes = STORY,
    *,
    most: int = 12,
    stopper: Stopper | None = None,
    constraint: Constrained | None = None,
) -> Drawing:
    vocabulary = source.vocabulary
    start = DrawingStart(vocabulary.prefix + tokens_of(vocabulary, story), story)
    made = [Sample(number, most=most, stopper=stopper) for number in range(lines)]
    return Drawing(source, chain_of(vocabulary, sampling), start, made, constraint)


async def run(drawn: Drawing) -> list[Drawn]:
    return [one async for one in drawn.run()]


def texts(drawn: Drawing) -> list[bytes]:
    return [line.data for line in drawn.samples]


def chi_square_fits(counts: Counter[int], p: dict[int, float]) -> bool:
    """Whether counts are those of draws with these probabilities, at one in ten thousand.

    Rare ids are counted together. The quantile is Wilson and Hilferty's.
    """
    total = counts.total()
    assert set(counts) <= {id for id, chance in p.items() if chance > 0}
    common = [id for id, chance in p.items() if chance * total >= 8]
    cells = [(counts[id], p[id] * total) for id in common]
    rest = total - sum(seen for seen, _ in cells), total - sum(due for _, due in cells)
    cells += [rest] if rest[1] >= 8 else []
    score = sum((seen - due) ** 2 / due for seen, due in cells)
    free = len(cells) - 1
    bound = free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3
    return score < bound


@pytest.mark.parametrize(
    "sampling",
    [
        FREE,
        Sampling(replace(PRESETS["creative"], seed=5), "creative"),
        Sampling(SamplerSettings(top_k=6, temperature=1.7, seed=2), None, Bans(phrases=("river",))),
        Sampling(SamplerSettings(seed=3), None, bias=((" river", -2.0), (" sea", 1.5))),
    ],
    ids=["free", "creative", "banned", "biased"],
)
async def test_frequencies_are_those_of_p_final(sampling: Sampling) -> None:
    drawn = await run(drawing(ScriptedBackend(), sampling, 3000, most=1))
    ladder = drawn[0].choice.ladder
    p = dict(zip(ladder.ids.tolist(), ladder.p_final.tolist(), strict=True))
    assert chi_square_fits(Counter(one.choice.id for one in drawn), p)


async def test_second_tokens_follow_the_first() -> None:
    drawn = drawing(ScriptedBackend(), FREE, 3000, most=2)
    await run(drawn)
    first, _ = Counter(line.tail[0] for line in drawn.samples).most_common(1)[0]
    source = ScriptedBackend()
    tokens = (*drawn.start.tokens, first)
    after = Drawing(source, drawn.chain, DrawingStart(tokens, STORY), [Sample(most=1)])
    (one,) = await run(after)
    p = dict(zip(one.choice.ladder.ids.tolist(), one.choice.ladder.p_final.tolist(), strict=True))
    seconds = Counter(line.tail[1] for line in drawn.samples if line.tail[0] == first)
    assert chi_square_fits(seconds, p)


async def test_a_round_of_lines_is_one_decode_on_the_bundled_model() -> None:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1))
    made = drawing(backend, Sampling(replace(PRESETS["creative"], seed=9), "creative"), 8, most=10)
    before = backend.spent.decodes
    drawn = await run(made)
    rounds = max(len(line.tail) for line in made.samples)
    prompt = 1
    assert len(drawn) == sum(len(line.tail) for line in made.samples) > 40
    assert backend.spent.decodes - before <= rounds + prompt
    assert made.cost.decodes == backend.spent.decodes - before
    await backend.close()


async def test_a_seed_repeats_and_lines_differ() -> None:
    once, again = drawing(ScriptedBackend(), FREE, 6), drawing(ScriptedBackend(), FREE, 6)
    await run(once)
    await run(again)
    assert texts(once) == texts(again)
    assert len(set(texts(once))) > 3
    other = drawing(ScriptedBackend(), Sampling(replace(FREE.settings, seed=2), None), 6)
    await run(other)
    assert texts(other) != texts(once)


async def test_a_line_does_not_depend_on_its_neighbours() -> None:
    together, alone = drawing(ScriptedBackend(), FREE, 5), drawing(ScriptedBackend(), FREE, 1)
    alone.samples = [Sample(3, most=12)]
    await run(together)
    await run(alone)
    assert texts(alone) == texts(together)[3:4]


async def test_one_line_stops_and_the_others_go_on() -> None:
    made = drawing(ScriptedBackend(), FREE, 3)
    count = 0
    async with aclosing(made.run()) as tokens:
        async for one in tokens:
            count += one.sample.number == 1
            if count == 4:
                made.samples[1].stop()
    assert (made.samples[1].finish, len(made.samples[1].tail)) == ("stopped", 4)
    assert all(len(made.samples[n].tail) > 4 for n in (0, 2))


async def test_lines_end_at_sentences_stop_texts_ends_and_lengths() -> None:
    greedy = Sampling(PRESETS["greedy"], "greedy")
    sentence = drawing(ScriptedBackend(), greedy, most=80, stopper=Stopper(WeaveSettings()))
    await run(sentence)
    assert sentence.samples[0].finish == "stop"
    assert sentence.samples[0].data.rstrip(b'"').endswith((b".", b"?"))
    own = Stopper(WeaveSettings(auto_stop=False, stops=("lamp",)))
    lamp = drawing(ScriptedBackend(), FREE, 20, most=200, stopper=own)
    await run(lamp)
    for line in lamp.samples:
        assert line.finish in ("stop", "end")
        assert (b"lamp" in line.data) == (line.finish == "stop")
        assert b"lamp" not in line.data[:-8]
    short = drawing(ScriptedBackend(), FREE, 2, most=3)
    await run(short)
    assert [line.finish for line in short.samples] == ["length", "length"]


async def test_banned_phrases_are_never_drawn() -> None:
    banned = replace(FREE, bans=Bans(newline=True, phrases=("the river", "lamp", "cat")))
    made = drawing(ScriptedBackend(), banned, 60, most=40)
    drawn = await run(made)
    for line in made.samples:
        text = (STORY + line.data).lower()
        assert not any(one in text for one in (b"the river", b"lamp", b"cat", b"\n")), text
    reasons = {reason for one in drawn for reason in one.choice.ladder.dropped_by.tolist()}
    assert {'banned "the river"', 'banned "lamp"', "ban newline"} <= reasons


async def test_a_constraint_holds_and_leads_into_no_ban() -> None:
    source = ScriptedBackend()
    offered = [" river", " river of stars", " sea", " house"]
    constraint = compile(choices(offered), source.vocabulary)
    banned = replace(FREE, bans=Bans(phrases=("of stars", "house")))
    made = drawing(source, banned, 40, constraint=constraint)
    await run(made)
    assert {line.finish for line in made.samples} == {"end"}
    assert set(texts(made)) == {b" river", b" sea"}


async def test_where_nothing_may_follow_the_line_is_stuck() -> None:
    source = ScriptedBackend()
    constraint = compile(regex(" (river|sea)"), source.vocabulary)
    bans = Bans(phrases=("river", "sea"))
    made = drawing(source, replace(FREE, bans=bans), constraint=constraint)
    assert await run(made) == []
    assert (made.samples[0].finish, made.samples[0].data) == ("stuck", b"")


async def test_a_half_written_word_is_finished() -> None:
    source, story = ScriptedBackend(), b"The maker went to the ri"
    residue = residue_of(story)
    kept = source.vocabulary.encode(story[: -len(residue)])
    start = DrawingStart(source.vocabulary.prefix + kept, story, residue)
    lines = [Sample(n, most=4) for n in range(8)]
    chain = chain_of(source.vocabulary, FREE)
    made = Drawing(source, chain, start, lines, healer=Healer(source.vocabulary))
    await run(made)
    for line in made.samples:
        written = b"".join(source.vocabulary.token(id).data for id in line.tail)
        assert written == residue + line.data
    assert any(line.data.startswith(b"ver") for line in made.samples)


async def test_an_ideal_length_holds_the_end_back_and_then_urges_it() -> None:
    def lengths(made: Drawing) -> list[int]:
        return [len(line.tail) for line in made.samples if line.finish == "end"]

    story = b"and the cat went to sleep by the lamp"
    source = ScriptedBackend()
    long = drawing(source, replace(FREE, ideal_length=60), 20, story, most=140)
    free = drawing(source, FREE, 20, story, most=140)
    await run(long)
    await run(free)
    assert len(lengths(long)) == 20
    assert min(lengths(long)) > 30
    assert np.std(lengths(long)) < 25
    assert len(lengths(free)) < 20 or np.std(lengths(free)) > 25


async def test_each_line_has_a_mirostat_of_its_own() -> None:
    settings = SamplerSettings(mirostat=2, mirostat_tau=2.0, mirostat_eta=0.3, seed=4)
    made = drawing(ScriptedBackend(), Sampling(settings, None), 4)
    drawn = await run(made)
    for line in made.samples:
        state = Mirostat.start(settings)
        for token in drawn:
            if token.sample is line:
                state = state.after(settings, token.choice.p)
        assert line.mirostat == state
    assert len({line.mirostat for line in made.samples}) > 1


class Top(ScriptedBackend):
    """A server's view: the ten best candidates, no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(full_vocabulary=False, top=10, masks=False)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            found = listed(self._logprobs(query.path.tokens), 10)
            yield Fact(query.path, replace(found, log_z=None, exact=False))


async def test_a_source_of_top_candidates_is_drawn_from_and_said_so() -> None:
    made = drawing(Top(), Sampling(replace(PRESETS["balanced"], seed=1), "balanced"), 3)
    drawn = await run(made)
    assert all(len(one.choice.ladder.ids) == 10 for one in drawn)
    assert made.caveat == UNKNOWN_LOGITS
    plain = drawing(Top(), FREE, 3)
    await run(plain)
    assert plain.caveat == ""


class Short(ScriptedBackend):
    """Cannot see past three tokens."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            if len(query.path.tail) >= 3:
                yield Failed(query.path, LltermError("The context is full"))
            else:
                async for answer in super().ask([query]):
                    yield answer


async def test_a_full_context_ends_the_line_and_says_why() -> None:
    made = drawing(Short(), FREE, 2)
    await run(made)
    for line in made.samples:
        assert (line.finish, len(line.tail)) == ("failed", 3)
        assert line.error is not None
        assert line.error.title == "The context is full"


async def test_more_lines_than_the_model_remembers_wait_for_others_to_end() -> None:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1, context=64))
    cells = backend.capabilities.cells
    assert cells is not None
    made = drawing(backend, Sampling(replace(PRESETS["creative"], seed=9), "creative"), 80, most=28)
    drawn = await run(made)
    assert len(drawn) > cells
    # One for each token, and the prompt; lines that waited are evaluated once more.
    assert backend.spent.tokens <= 2 * len(drawn)
    await backend.close()
