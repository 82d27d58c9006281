"""Sessions on the scripted model."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from llterm.backends.scripted import ScriptedBackend
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.session import Session

TEXT = b"The maker went to the"


class Gate:
    """Holds the model before a given round, until opened."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        self.rounds -= 1
        if self.rounds < 0:
            self.reached.set()
            await self.opened.wait()


def session(
    text: bytes = TEXT, gate: Gate | None = None, rules: WeaveSettings | None = None
) -> Session:
    begun = Session(Document.scratch(text, rules))
    begun.attach(ScriptedBackend(gate))
    return begun


GREEDY = PRESETS["greedy"]


def draw_by(begun: Session, settings: SamplerSettings) -> None:
    begun.set_sampling(begun.sampling.with_settings(settings, PRESETS))


def greedy_session(text: bytes = TEXT) -> Session:
    begun = Session(Document.scratch(text))
    begun.attach(ScriptedBackend())
    draw_by(begun, GREEDY)
    begun.player.speed = math.inf
    return begun


async def stepped(begun: Session, times: int = 1) -> Session:
    for _ in range(times):
        begun.player.step()
    await begun.player.task.wait()
    return begun


SEEDED = replace(PRESETS["neutral"], seed=3)


def all_read(session: Session) -> bool:
    reader = session.reader
    ids = b"".join(place.data for place in reader.places)
    return bool(reader.places) and not reader.waiting and ids.decode() == session.document.text
