"""Opens what writes ahead for a model: a smaller one with the same tokens, or the text itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.binding import StopFlag
from llterm.backends.registry import NO_DRAFT, find_draft, open_model
from llterm.config import Config
from llterm.engine.draft_lines import ROWS, OpenedDraft
from llterm.engine.draft_model import DraftModel
from llterm.engine.prompt_lookup import PromptLookup
from llterm.errors import UsageError

MOST_TEXTS = ROWS // 2
"""Texts that a draft model writes ahead at once; with more, decodes are full without it."""


_PADDING = 1024
"""Tokens without use that a table may have more than another one of its family."""
_CONTEXT = 512
"""Tokens that a draft sees outside its streams, where nothing is asked of it."""


@dataclass(frozen=True, slots=True)
class DraftChoice:
    """What is to write ahead: `lookup`, or another model's name or path, with the settings that it
    has itself; and how many tokens at most."""

    name: str
    tokens: int
    config: Config


def draft_choice(name: str | None, tokens: int, config: Config) -> DraftChoice | None:
    """What a setting asks for; None where it asks for nothing."""
    return None if name in (None, NO_DRAFT) else DraftChoice(str(name), tokens, config)


async def open_draft(
    choice: DraftChoice, backend: LlamaBackend, *, slots: int, cells: int, stop: StopFlag
) -> OpenedDraft:
    """What writes ahead for a model.

    `slots`: texts that are drawn at once; `cells`: most tokens of one; `stop`: what stops it too.
    Raises UsageError where it does not go with the model, ModelError where it cannot be opened.
    """
    _check_states(backend)
    known = find_draft(choice.name, choice.config)
    if known is None:
        return OpenedDraft(PromptLookup(), choice.tokens)
    own = known.settings
    opened = await open_model(choice.name, choice.config, {"context": _CONTEXT, "cache_size": None})
    assert isinstance(opened, LlamaBackend)
    slots = min(slots, MOST_TEXTS)
    sees = min(cells, own.context or cells, (own.cache_size or cells * slots) // slots)
    try:
        _check_states(opened)
        _check_tokens(backend, opened)
        streams = await opened.open_streams(slots, sees, stop)
        try:
            costs = await asyncio.to_thread(streams.measure)
        except BaseException:
            streams.close()
            raise
    except BaseException:
        await opened.close()
        raise
    model = DraftModel(opened, streams, backend.vocabulary.size, costs.token)
    return OpenedDraft(model, choice.tokens)


def _check_states(backend: LlamaBackend) -> None:
    """Raise UsageError for a model that cannot take back what was written in vain."""
    if not backend.capabilities.shares:
        raise UsageError(
            f"{backend.name} goes with no draft",
            "Its layers hold a state that cannot be taken back to an earlier token: what was"
            " written ahead in vain would stay in it.",
            "Leave the draft out.",
        )


def _check_tokens(backend: LlamaBackend, draft: LlamaBackend) -> None:
    """Raise UsageError where the two have not the same tokens. One may have some more at the end:
    tables are filled up to round numbers."""
    own, other = backend.vocabulary, draft.vocabulary
    if own.fingerprint == other.fingerprint:
        return
    both = min(own.size, other.size)
    wrong = next((id for id in range(both) if own.token(id) != other.token(id)), None)
    if wrong is None and max(own.size, other.size) - both <= _PADDING:
        return
    raise UsageError(
        f"{draft.name} has other tokens than {backend.name}",
        f"Token {wrong} is not the same in both."
        if wrong is not None
        else f"It has {other.size:,} of them, and {backend.name} {own.size:,}.",
        "A draft is to be of the model's own family.",
    )
