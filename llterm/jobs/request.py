"""What a command asks of its models, whichever command it is; the story that it goes on from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llterm.config import Config
from llterm.config.sampling_values import BANS, all_changed, value_of
from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint
from llterm.core.chat_messages import Chat
from llterm.core.in_force import FLAG, ban_pieces, in_force_line, memory_piece
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.pieces import Run
from llterm.core.prompt import Prompt, PromptDraft, draft_prompt
from llterm.core.query import Backend, Source
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.prompt_heads import opened_chat
from llterm.engine.weave import check_constraints, sees_less
from llterm.jobs.loom_story import read_story

CONFIGURED = "configuration"
"""Who says what neither a flag nor a loom does."""
_NO_KNOBS = ("bias", "seed", "ideal_length")


@dataclass(frozen=True, slots=True)
class Request:
    """A text, the models that it goes to, and how they are to take it.

    What one command alone has is a record of options beside it.
    """

    config: Config
    models: tuple[str, ...]
    """Names, paths of .gguf files, or addresses of servers."""
    text: bytes = b""
    """The story so far; of a chat, what there is of the reply."""
    runs: Sequence[Run] | None = None
    """The same by author, a model's text in its own tokens, where those are known."""
    backends: tuple[Backend, ...] = ()
    """The models, where they are open already: they stay so. `models` are their names then."""
    loom: Path | None = None
    """A loom whose story is meant, and which is not changed. `text` is empty then."""
    prefix: str | None = None
    """Hidden text before the story; None: what a loom says itself."""
    chat: Chat | None = None
    """What the text is a reply to; None: what a loom says itself."""
    recipe: Recipe | None = None
    """How several models are mixed; None: there is one, or each is for itself."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the models that were typed, by name."""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """Weave settings that were typed, by `WeaveSettings` field: they count more than a loom's."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Sampler settings that were typed, by name: they count more than a loom's own."""
    constraint: Constraint | None = None
    """What every suggestion or continuation must fit."""


@dataclass(frozen=True, slots=True)
class RequestStory:
    """A story up to where it is gone on with; what was typed counts more than what a loom says."""

    runs: Sequence[Run]
    """By author, a model's text in its own tokens."""
    prefix: str
    chat: Chat
    """What the story is a reply to; empty where it is none."""
    rules: WeaveSettings
    sampling: Sampling
    saved_weave: bytes = b""
    """The suggestions that a loom keeps for it."""
    constraint: Constraint | None = None
    """What must be fitted."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Who says prefix, chat, bans, bias, preset and constraint, in words."""
    own_sampling: bool = False
    """Whether the loom has sampler settings; else they are the configuration's."""

    @classmethod
    def of(cls, request: Request, warn: Callable[[str], None]) -> RequestStory:
        """The request's text, or its loom's story up to the cursor; `warn` hears of damage.

        Raises UsageError.
        """
        config = request.config
        if request.loom is None:
            runs = request.runs
            if runs is None:
                runs = [Run(request.text)] if request.text else []
            begun = cls(runs, "", Chat(), config.weave, config.sampling)
        else:
            story = read_story(request.loom)
            if story.damage:
                warn(f"llterm: {story.damage}")
            begun = cls(
                story.runs,
                story.prefix,
                story.chat,
                story.rules,
                story.sampling or config.sampling,
                story.saved_weave,
                story.constraint,
                own_sampling=story.sampling is not None,
            )
        presets = {**PRESETS, **config.presets}
        return replace(
            begun,
            constraint=request.constraint or begun.constraint,
            origins=_origins(request, begun),
            prefix=begun.prefix if request.prefix is None else request.prefix,
            chat=begun.chat if request.chat is None else request.chat,
            rules=replace(begun.rules, **request.rules),
            sampling=all_changed(begun.sampling, request.sampling, presets),
        )

    def in_force(self, hidden: int = 0, *, drawn: bool = False) -> str:
        """What of all that holds here, and who says so, in a line; empty where nothing does.

        `hidden`: tokens of what stands before the story. `drawn`: how tokens are drawn counts too.
        """
        pieces = {
            "prefix": memory_piece(self.prefix, 0 if self.chat else hidden),
            "chat": "chat" if self.chat else "",
            "bans": " · ".join(ban_pieces(replace(self.sampling, bias=()))),
            "bias": " · ".join(ban_pieces(Sampling(bias=self.sampling.bias))) if drawn else "",
            "preset": f"preset {self.sampling.label}" if drawn else "",
            "constraint": self.constraint.kind if self.constraint is not None else "",
        }
        if pieces["preset"] and self.origins.get("preset") == CONFIGURED:
            pieces["preset"] = ""
        return in_force_line(pieces, self.origins)

    @property
    def opened(self) -> Chat:
        """The chat as it is opened, the hidden prefix in it; empty where there is none."""
        return self.chat.with_prefix(self.prefix) if self.chat else Chat()

    @property
    def text(self) -> bytes:
        """The story's bytes."""
        return b"".join(run.data for run in self.runs)

    async def compiled(self, source: Source) -> Compiled | None:
        """What must be fitted, ready for a source's vocabulary. Raises LltermError where it cannot
        be held to any."""
        if self.constraint is None:
            return None
        check_constraints(source)
        return await asyncio.to_thread(compile, self.constraint, source.vocabulary)

    async def draft(self, source: Source, rules: WeaveSettings) -> PromptDraft:
        """What the source is to be given, before its tokens are known. Raises LltermError."""
        chat = await opened_chat(source, self.opened)
        context = source.capabilities.context
        return draft_prompt(self.runs, self.prefix, source.vocabulary, rules, context, chat)

    async def prompt(self, source: Source, rules: WeaveSettings) -> Prompt:
        """What the source is given, as much as its model sees. Raises LltermError."""
        while True:
            prompt = await (await self.draft(source, rules)).prompt(source.vocabulary)
            if not await sees_less(source, prompt):
                return prompt


def _origins(request: Request, before: RequestStory) -> dict[str, str]:
    """Who says each of what may be in force: a flag, the loom, or the configuration. `before`: the
    story without what was typed."""
    loom = request.loom.name if request.loom is not None else CONFIGURED
    sampling = loom if before.own_sampling else CONFIGURED
    typed = request.sampling
    knobs = any(name not in (*BANS, *_NO_KNOBS) for name in typed)
    bans = FLAG if BANS.keys() & typed.keys() else sampling
    if bans == FLAG and any(value_of(before.sampling, name) for name in BANS.keys() - typed.keys()):
        bans = f"{FLAG}, {sampling}"
    return {
        "prefix": loom if request.prefix is None else FLAG,
        "chat": loom if request.chat is None else FLAG,
        "bans": bans,
        "bias": FLAG if "bias" in typed else sampling,
        "preset": FLAG if knobs else sampling,
        "constraint": loom if request.constraint is None else FLAG,
    }
