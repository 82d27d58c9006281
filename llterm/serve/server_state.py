"""What all routes work with, and the models that a request uses as long as it needs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Receive

from llterm.serve.llterm_questions import OwnAnchors
from llterm.serve.loom_folder import LoomFolder
from llterm.serve.model_administration import ModelAdministration
from llterm.serve.model_mixes import MIX, ModelMixes, mixed_names
from llterm.serve.model_pool import ModelPool
from llterm.serve.open_requests import OpenRequests
from llterm.serve.pooled_model import PooledModel
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
    looms: LoomFolder | None = None
    """None: none are served."""

    def __post_init__(self) -> None:
        self.open = OpenRequests(self.rules.limits.request_seconds)


def named_models(state: ServerState, name: str | None) -> Sequence[PooledModel]:
    """The model of this name, or those of the mix. Raises ApiError (404)."""
    if name and name.startswith(MIX) and state.models.find(name) is None:
        return [state.models.get(each) for each in mixed_names(name)]
    return [state.models.get(name)]


@asynccontextmanager
async def used(state: ServerState, name: str | None) -> AsyncGenerator[ServedModel]:
    """The model of this name, or the mix, as long as a request needs it; loaded first where it is
    not. Raises LltermError."""
    async with state.models.used(named_models(state, name)) as models:
        if len(models) == 1:
            yield models[0]
            return
        async with state.mixes.held(models, state.models.loaded) as mix:
            yield mix


@asynccontextmanager
async def using(
    state: ServerState, name: str | None, receive: Receive
) -> AsyncGenerator[ServedModel]:
    """The same; who leaves while it is loaded waits no more. Raises ClientGone too."""
    is_ready = all(model.is_ready for model in named_models(state, name))
    async with AsyncExitStack() as stack:
        use = stack.enter_async_context(used(state, name))
        yield await (use if is_ready else state.open.finish(use, receive))
