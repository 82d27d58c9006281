"""A text made by several models, without a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from llterm.backends.registry import find_model
from llterm.backends.served import Counted, counted
from llterm.config import Config
from llterm.core.chat_messages import Chat
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.query import Cost
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Anchor, Path
from llterm.engine.heads import head_of
from llterm.engine.mixture import Mix
from llterm.engine.opening import open_mix
from llterm.engine.playing import GREEDY, Player, Turn
from llterm.jobs.runner import absences, load_progress
from llterm.progress_line import ProgressLine


@dataclass(frozen=True, slots=True)
class MixJob:
    """What to go on with, and how."""

    recipe: Recipe
    models: tuple[str, ...]
    text: bytes
    tokens: int
    """How many tokens the text goes on for."""
    config: Config
    overrides: Mapping[str, int]
    sampling: Sampling = GREEDY
    chat: Chat | None = None
    """What the text is a reply to; each model reads it by its own template."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a job gave."""

    recipe: Recipe
    names: tuple[str, ...]
    text: bytes
    """What it goes on with."""
    turns: tuple[Turn, ...]
    by_id: bool
    """Tokens are those of the models' one vocabulary; otherwise bytes."""
    exact: bool
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""
    counted: tuple[Counted, ...] = ()
    """What went over the wire, of models on servers."""

    @property
    def data(self) -> bytes:
        """The text that was made."""
        return b"".join(turn.token.data for turn in self.turns if not turn.token.special)

    @property
    def unknown(self) -> float:
        """The most mass that was only estimated at any place."""
        return max((turn.unknown for turn in self.turns), default=0.0)

    def determinism(self, index: int) -> float:
        """Mean probability of a model's own first choice; 1 less it is VisuaLL's creativity."""
        count = len(self.turns)
        return sum(turn.says[index].choice_p for turn in self.turns) / count if count else 0.0


def run(job: MixJob) -> Played:
    """Do it all. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    for name in job.models:
        find_model(name, job.config)
    return asyncio.run(_run(job))


async def _run(job: MixJob) -> Played:
    line = ProgressLine()
    try:
        telling, away = load_progress(line, " and ".join(job.models)), absences(line)
        mix = await open_mix(job.models, job.recipe, job.config, job.overrides, telling, away)
        try:
            return await _play(job, mix, line)
        finally:
            await mix.close()
    finally:
        line.clear()


async def _play(job: MixJob, mix: Mix, line: ProgressLine) -> Played:
    start = time.monotonic()
    head = await asyncio.to_thread(head_of, mix, job.chat)
    anchor = Anchor(head + mix.vocabulary.encode(job.text))
    mix.begin(anchor)
    turns: list[Turn] = []
    async for turn in Player(mix, job.sampling, job.text).play(Path(anchor), job.tokens):
        turns.append(turn)
        line.say(f"Mixing: {len(turns):,} of {job.tokens:,} tokens")
    return Played(
        recipe=job.recipe,
        names=mix.names,
        text=job.text,
        turns=tuple(turns),
        by_id=mix.by_id,
        exact=mix.exact,
        cost=mix.spent,
        seconds=time.monotonic() - start,
        chat=job.chat,
        counted=counted(mix),
    )
