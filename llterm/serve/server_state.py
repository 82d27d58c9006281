"""What all routes work with, and the models that a request uses as long as it needs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive

from llterm.serve.llterm_questions import OwnAnchors
from llterm.serve.model_administration import ModelAdministration
from llterm.serve.model_mixes import MIX, ModelMixes, mixed_names
from llterm.serve.model_pool import ModelPool
from llterm.serve.open_requests import OpenRequests
from llterm.serve.request_counts import RequestCounts
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_attributions import ServedAttributions
from llterm.serve.served_models import ServedModel


@dataclass(slots=True, eq=False)
class ServerState:
    """What all routes work with."""

    models: ModelPool
    rules: RequestRules
    administration: ModelAdministration
    open: OpenRequests = field(init=False)
    counts: RequestCounts = field(default_factory=RequestCounts)
    mixes: ModelMixes = field(default_factory=ModelMixes)
    anchors: OwnAnchors = field(default_factory=OwnAnchors)
    attributions: ServedAttributions = field(default_factory=ServedAttributions)
    metrics: bool = False

    def __post_init__(self) -> None:
        self.open = OpenRequests(self.rules.limits.request_seconds)


Wait = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]


@asynccontextmanager
async def used(state: ServerState, name: str | None, *, wait: Wait) -> AsyncGenerator[ServedModel]:
    """The model of this name, or the mix, as long as a request needs it; `wait` waits for one that
    is not loaded. Raises LltermError."""
    if name and name.startswith(MIX) and state.models.find(name) is None:
        async with AsyncExitStack() as stack:
            members = [
                await stack.enter_async_context(used(state, each, wait=wait))
                for each in mixed_names(name)
            ]
            yield state.mixes.get(members, state.models.loaded)
        return
    model = state.models.get(name)
    while not model.is_ready:
        await wait(state.models.make_ready(model))
    with state.models.held(model) as served:
        yield served


def using(
    state: ServerState, name: str | None, receive: Receive
) -> AbstractAsyncContextManager[ServedModel]:
    """The same; the request waits. Raises ClientGone too."""
    return used(state, name, wait=lambda work: state.open.finish(work, receive))


async def awaited(work: Coroutine[Any, Any, None]) -> None:
    await work


def check_name(state: ServerState, name: str | None) -> None:
    """Raise ApiError (404) for a name of no model and no mix."""
    mixed = name and name.startswith(MIX) and state.models.find(name) is None
    for each in mixed_names(name) if mixed and name else [name]:
        state.models.get(each)
