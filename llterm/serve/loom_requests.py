"""What the routes of looms share: which loom, which node, which revision; answers with theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from llterm.core.loom_tree import ROOT
from llterm.serve.api_errors import ApiError
from llterm.serve.body_reader import read_query
from llterm.serve.loom_folder import LoomFolder
from llterm.serve.served_loom import ServedLoom
from llterm.serve.server_route import send_json
from llterm.serve.server_state import ServerState

_TAG = re.compile(r'(?:W/)?"(\d{1,15})"|(\d{1,15})')
MOST_DIGITS = 9


class LoomRequest:
    """One request at a loom's address."""

    def __init__(self, state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
        assert state.looms is not None
        self.state = state
        self.scope = scope
        self.receive = receive
        self.send = send
        self.folder: LoomFolder = state.looms

    @property
    def title(self) -> str:
        return str(self.scope["path_params"]["loom"])

    @property
    def node(self) -> int:
        """The node's id. Raises ApiError (404)."""
        said = str(self.scope["path_params"]["node"])
        if said == "root":
            return ROOT
        if not (said.isascii() and said.isdecimal() and len(said) <= MOST_DIGITS):
            raise ApiError(404, f"There is no node {said[:40]}", "", "Ids are numbers, or root.",
                           code="node_not_found")  # fmt: skip
        return int(said)

    def query(self, kind: Any) -> Any:
        """What stands after the question mark. Raises ApiError."""
        return read_query(dict(Request(self.scope).query_params), kind)

    async def loom(self) -> ServedLoom:
        """The loom, open. Raises ApiError (404)."""
        return await self.folder.get(self.title)

    def revision(self, *, needed: bool = False) -> int | None:
        """The revision at which the loom is to be still; None: at any. Raises ApiError."""
        said = Headers(scope=self.scope).get("if-match", "").strip()
        if not said and needed:
            raise ApiError(428, "If-Match is missing", "This changes what somebody else may have"
                           " done last.", "Send the loom's revision as If-Match.",
                           param="If-Match", code="revision_required")  # fmt: skip
        if not said or said == "*":
            return None
        match = _TAG.fullmatch(said)
        if match is None:
            raise ApiError(400, "If-Match is no revision", "", 'Write it as "12".',
                           param="If-Match", code="invalid_value")  # fmt: skip
        return int(match[1] or match[2])

    async def answer(self, told: Mapping[str, Any]) -> None:
        """Answer with this, its revision in the head too."""
        revision = told.get("revision")
        headers = () if revision is None else (("ETag", f'"{revision}"'),)
        await send_json(told, self.send, headers=headers)
