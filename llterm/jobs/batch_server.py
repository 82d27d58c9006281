"""Rows of a batch on a server: each body is handed on, through the server's pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.backends.remote.llterm_backend import LltermBackend
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.transport import BadAnswer, RequestRefused, ServerFailed
from llterm.core.batch_row import BatchRow
from llterm.errors import LltermError
from llterm.jobs.batch_answers import Body, RowAnswer, RowRefused, choices_of


class ServerAnswers:
    """The server draws, by its own sampler."""

    def __init__(self, backend: RemoteBackend | LltermBackend) -> None:
        self._backend = backend

    @property
    def width(self) -> int:
        """As many as its pool lets out, and as many that wait for their turn."""
        return 2 * self._backend.transport.parallel

    async def answer(self, row: BatchRow, body: Body) -> RowAnswer:
        asked = {**body, "model": self._backend.served_as}
        try:
            reply = await self._backend.transport.post(row.url, asked)
        except RequestRefused as error:
            if error.status in _OF_ALL:
                raise
            raise RowRefused(error.status, _told(error.data, error)) from None
        except ServerFailed as error:
            raise RowRefused(error.status, _told(None, error)) from None
        except BadAnswer as error:
            raise RowRefused(502, _told(None, error)) from None
        if not isinstance(reply.data, Mapping):
            raise RowRefused(502, {"message": "The answer is no object.", "code": "bad_answer"})
        if not reply.data.get("choices"):
            raise RowRefused(502, {"message": "The answer has no choices.", "code": "bad_answer"})
        choices = choices_of(reply.data, echo=bool(body.get("echo")))
        return RowAnswer(reply.data, choices)


_OF_ALL = (401, 403, 404)
"""Refused for the key, the model's name or the address: so are all other rows."""


def _told(data: Any, error: LltermError) -> Mapping[str, Any]:
    """The server's own error object, or its words."""
    own = data.get("error") if isinstance(data, Mapping) else None
    if isinstance(own, Mapping) and isinstance(own.get("message"), str):
        return own
    words = " ".join(part for part in (f"{error.title}.", error.cause) if part)
    return {"message": words, "type": type(error).__name__, "param": None, "code": None}
