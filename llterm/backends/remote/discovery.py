"""How dialects look around on a server: what is not there is no error."""

from __future__ import annotations

import asyncio
from typing import Any

from llterm.backends.remote.answer import LARGEST
from llterm.backends.remote.model_choice import OfferedModel, choose_model
from llterm.backends.remote.transport import BadAnswer, RequestRefused, ServerFailed, Transport
from llterm.errors import BackendUnavailable, LltermError

PATIENCE = 5.0
"""Seconds for an address that only tells what kind of server it is."""


def positive_number(value: Any, otherwise: int = 0) -> int:
    """A number that a server says of itself, where it is one that can be meant."""
    return value if type(value) is int and 0 < value <= LARGEST else otherwise


class Discovery:
    """A first look at a server. Each address is asked once, however many dialects look at it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.faults: list[LltermError] = []
        """What was wrong with answers, apart from those that only say there is nothing."""
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def get(self, path: str) -> Any:
        """The JSON there, or None where the server has no such address, or does not answer in time.

        Raises Refused where a key is wanted, and BackendUnavailable.
        """
        if path not in self._asked:
            self._asked[path] = asyncio.create_task(self._get(path))
        return await asyncio.shield(self._asked[path])

    async def table(self, path: str) -> dict[str, Any]:
        """The JSON object there, or an empty one where there is none."""
        found = await self.get(path)
        return found if isinstance(found, dict) else {}

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` lists."""
        listed = (await self.table("/v1/models")).get("data")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    async def models_anew(self) -> list[dict[str, Any]]:
        """As `models`, asked again: what loads a model changes what it says."""
        self._asked.pop("/v1/models", None)
        return await self.models()

    async def chosen_model(self) -> str | None:
        """The model that is meant where the person named none; None where none is listed.

        Raises ModelError where there are several.
        """
        listed = [OfferedModel.of(entry) for entry in await self.models() if "id" in entry]
        return choose_model(listed, self.transport.name)

    async def model_names(self) -> list[str]:
        """The names under which it lists them."""
        return [str(entry["id"]) for entry in await self.models() if "id" in entry]

    @property
    def late(self) -> bool:
        """Whether an address did not answer in time: what takes longer is not asked unless the
        person has named a model."""
        return any(isinstance(fault, BackendUnavailable) for fault in self.faults)

    async def aclose(self) -> None:
        """End what is still being asked."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _get(self, path: str) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                return (await self.transport.get(path)).data
        except RequestRefused as error:
            if error.status == 401:
                raise
            if error.status not in (404, 405, 501):
                self._note(error, path)
        except BadAnswer as error:
            self._note(error, path)
        except ServerFailed as error:
            # An address of its own that breaks (transformers' list of models) is not a server that
            # is away, as behind a gateway.
            if error.status != 500:
                raise
            self._note(error, path)
        except TimeoutError:
            slow = BackendUnavailable(
                f"{self.transport.name} takes too long",
                f"No answer within {PATIENCE:g} s.",
                "Is this a model's server, and has it finished starting?",
            )
            self._note(slow, path)
        return None

    def _note(self, error: LltermError, path: str) -> None:
        self.faults.append(told_of(error, self.transport.name, path))


def told_of(error: LltermError, address: str, path: str) -> LltermError:
    """The error, which says of whom what was asked."""
    error.cause = f"{address} was asked for {path}. {error.cause}"
    return error
