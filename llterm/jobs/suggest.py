"""`llterm suggest` as a function: a story and a model in, the most probable suggestions out."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llterm.backends.remote.server_usage import ServerUsage, counted
from llterm.constraints.spec import Constraint
from llterm.core.kernels import KernelKind
from llterm.core.mixing.mix_recipe import Mode
from llterm.core.prompt import Prompt
from llterm.core.query import Backend, Cost, Source
from llterm.core.suggestion_tree import View
from llterm.core.tokens import LearnsTokens, Vocabulary
from llterm.core.weave_settings import WeaveSettings
from llterm.core.windows import SeenStory
from llterm.engine.mixture import Mix
from llterm.engine.weave import rules_for, unhealed, weave
from llterm.jobs.request import Request, RequestStory
from llterm.jobs.runner import SILENCE, Listener, names_of, opened
from llterm.store.saved_weave import SavedWeave, unpack


@dataclass(frozen=True, slots=True)
class MixFormula:
    """How several models decided."""

    mode: Mode
    formula: str
    by_id: bool
    """Token by token; otherwise byte by byte."""
    exact: bool
    unknown: float
    """The most mass that was only estimated."""


@dataclass(frozen=True, slots=True)
class SuggestResult:
    """The suggestions after a story, and what they took."""

    model: str
    story: RequestStory
    view: View
    vocabulary: Vocabulary
    constraint: Constraint | None
    dead_ends: int
    """Paths that the constraint led nowhere."""
    chat_format: str
    """How the model writes chats."""
    mix: MixFormula | None
    counted: tuple[ServerUsage, ...]
    """What went over the wire, of models on servers."""
    cost: Cost
    seconds: float
    sight: SeenStory
    """How much of the story the model sees."""
    context: int
    """Tokens that the model sees at most."""
    kernels: KernelKind | None
    """What the figures were computed with; None where that was elsewhere; of a mix fast
    where those of any model are."""


async def suggest(request: Request, listener: Listener = SILENCE) -> SuggestResult:
    """Weave until done. A loom's own settings and kept suggestions count.

    Raises LltermError.
    """
    (name, *others) = names_of(request)
    begun = RequestStory.of(request, listener.warn)
    async with opened(request, listener) as backend:
        return await _suggest(request, begun, backend, backend.name if others else name, listener)


async def _suggest(
    request: Request, begun: RequestStory, backend: Backend, name: str, listener: Listener
) -> SuggestResult:
    constraint = await begun.compiled(backend)
    rules = rules_for(begun.rules, backend, constrained=constraint is not None)
    if constraint is None and (note := unhealed(begun.rules, backend, begun.runs)):
        listener.warn(note)
    prompt, saved = await _prompt_and_saved(
        begun, backend, rules, constrained=constraint is not None
    )
    start = time.monotonic()
    cost = saved.cost if saved else Cost()

    def spent(more: Cost) -> None:
        nonlocal cost
        cost += more
        listener.say(f"Weaving: {cost.tokens:,} tokens evaluated")

    search = await weave(
        backend,
        prompt,
        rules,
        constraint=constraint,
        bans=begun.sampling.bans,
        facts=saved.facts if saved else None,
        grown=saved.grown if saved else (),
        carried=saved is not None and saved.carried,
        canonical=saved.canonical if saved else (),
        spent=spent,
    )
    return SuggestResult(
        model=name,
        story=begun,
        view=search.view(),
        vocabulary=backend.vocabulary,
        constraint=begun.constraint,
        dead_ends=search.dead_ends,
        chat_format=getattr(backend, "chat_format", ""),
        mix=_formula(backend),
        counted=counted(backend),
        cost=cost,
        seconds=(saved.seconds if saved else 0.0) + time.monotonic() - start,
        sight=prompt.sight,
        context=backend.capabilities.context,
        kernels=backend.capabilities.kernel_kind,
    )


async def _prompt_and_saved(
    begun: RequestStory, source: Source, rules: WeaveSettings, *, constrained: bool
) -> tuple[Prompt, SavedWeave | None]:
    """The prompt, and the weave that the loom keeps where that is of this prompt and model."""
    saved = None if constrained else unpack(begun.saved_weave)
    saved = saved if saved is not None and saved.of(source) else None
    if saved is not None and isinstance(source.vocabulary, LearnsTokens):
        source.vocabulary.learn(saved.names)
    draft = await begun.draft(source, rules)
    kept = saved.prompt(draft, source.vocabulary) if saved is not None else None
    if kept is not None and len(kept.tokens) + rules.depth <= source.capabilities.context:
        return kept, saved
    return await begun.prompt(source, rules), None


def _formula(backend: Backend) -> MixFormula | None:
    if not isinstance(backend, Mix):
        return None
    return MixFormula(
        backend.recipe.mode, backend.formula, backend.by_id, backend.exact, backend.unknown
    )
