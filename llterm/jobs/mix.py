"""Goes on with a text by several models, and keeps what each of them said at each token."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llterm.backends.remote.server_usage import ServerUsage, counted
from llterm.config import Config
from llterm.config.sampling_values import make_sampling
from llterm.core.chat_messages import Chat
from llterm.core.kernels import KernelKind
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.query import Cost
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.tokens import Anchor, Path
from llterm.engine.mix_player import MixPlayer, MixTurn
from llterm.engine.mixture import Mix
from llterm.errors import UsageError
from llterm.jobs.request import Request, RequestStory
from llterm.jobs.runner import SILENCE, Listener, names_of, opened


@dataclass(frozen=True, slots=True)
class MixResult:
    """A text made by a mix."""

    recipe: Recipe
    names: tuple[str, ...]
    text: bytes
    """What it goes on with."""
    turns: tuple[MixTurn, ...]
    by_id: bool
    """Tokens are those of the models' one vocabulary; otherwise bytes."""
    exact: bool
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""
    counted: tuple[ServerUsage, ...] = ()
    """What went over the wire, of models on servers."""
    in_force: str = ""
    """What of prefix, bans, preset and constraint holds, and who says so, in a line."""
    dropped: str = ""
    """How much of the text the models do not see, in words; empty where they see it all."""
    kernels: tuple[KernelKind | None, ...] = ()
    """What each model's figures were computed with; None where that was elsewhere."""

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
        return sum(turn.votes[index].choice_p for turn in self.turns) / count if count else 0.0


def mix_sampling(typed: Mapping[str, Any], config: Config) -> Sampling:
    """How tokens are drawn: by the configured preset for mixes, and what was typed.

    Raises UsageError.
    """
    try:
        return make_sampling({"preset": config.mix.preset, **typed}, config.presets)
    except ValueError as wrong:
        raise UsageError("The sampler cannot be set so", f"{wrong}.", "") from wrong


async def mix(request: Request, tokens: int, listener: Listener = SILENCE) -> MixResult:
    """Go on for so many tokens, fewer where the text ends; each model opens a chat in its own way.

    A loom's own prefix, chat, constraint and sampler settings count. The request has a recipe.
    Raises LltermError. Cancelling stops it.
    """
    begun = RequestStory.of(request, listener.warn)
    if not begun.own_sampling:
        begun = replace(begun, sampling=mix_sampling(request.sampling, request.config))
    if not (begun.text or begun.chat or begun.prefix):
        raise UsageError("The text is empty", "", "There is nothing in it to go on with.")
    names_of(request)
    async with opened(request, listener) as source:
        assert isinstance(source, Mix)
        start = time.monotonic()
        constraint = await begun.compiled(source)
        prompt = await begun.prompt(source, replace(begun.rules, heal=False, depth=tokens))
        anchor = Anchor(prompt.tokens)
        source.begin(anchor)
        player = MixPlayer(source, begun.sampling, begun.text, constraint)
        turns: list[MixTurn] = []
        async for turn in player.play(Path(anchor), tokens):
            turns.append(turn)
            listener.say(f"Mixing: {len(turns):,} of {tokens:,} tokens")
        return MixResult(
            recipe=source.recipe,
            names=source.names,
            text=begun.text,
            turns=tuple(turns),
            by_id=source.by_id,
            exact=source.exact,
            cost=source.spent,
            seconds=time.monotonic() - start,
            chat=begun.opened or None,
            counted=counted(source),
            in_force=begun.in_force(prompt.sight.hidden, drawn=True),
            kernels=tuple(each.capabilities.kernel_kind for each in source.sources),
            dropped=prompt.sight.dropping(source.capabilities.context),
        )
