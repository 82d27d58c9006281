"""What a session says about itself: frozen, so that faces can compare and keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llterm.core.server_news import Absence
from llterm.core.windows import SeenStory
from llterm.errors import BackendUnavailable, LltermError

State = Literal["no model", "loading", "ready", "weaving", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the model and the weave."""

    state: State = "no model"
    progress: float | None = None
    """Share of the model that is loaded, 0 to 1, while loading."""
    error: LltermError | None = None
    """Why loading or the last weave failed."""
    notice: str = ""
    """Something worth knowing that is no failure."""

    @property
    def no_model(self) -> LltermError:
        """Why there is no model: one failed, or is being loaded, or none was chosen."""
        if self.state == "loading":
            return BackendUnavailable(
                "No model is ready",
                "It is still being loaded.",
                "Wait for it, or choose another one.",
            )
        return self.error or BackendUnavailable(
            "No model is in use", "", "Choose one in the list of models."
        )


@dataclass(frozen=True, slots=True)
class Incoming:
    """A model that is being loaded; the one in use, if there is one, serves meanwhile."""

    name: str
    progress: float
    """Share that is loaded, 0 to 1."""
    absences: tuple[Absence, ...] = ()
    """Its servers that do not answer yet."""

    @property
    def waited_for(self) -> tuple[Absence, ...]:
        """Those that are asked again by themselves."""
        return tuple(one for one in self.absences if one.phase == "waiting")


@dataclass(frozen=True, slots=True)
class Figures:
    """What the weave on show took, and what the model sees. Times in seconds."""

    seconds: float = 0.0
    tokens: int = 0
    """Tokens evaluated, the story's included."""
    prompt_tokens: int = 0
    again: int = 0
    """Tokens evaluated once more, for canonical figures."""
    decodes: int = 0
    requests: int = 0
    sight: SeenStory | None = None
    """How much of the story the model sees; None where that is not known of the present text."""
    context: int = 0
    mark: int = 0
    """Display offset in the story where what the model still sees begins; 0 = sees all."""

    @property
    def tokens_per_second(self) -> float:
        """Of the search."""
        return (self.tokens - self.again) / self.seconds if self.seconds > 0 else 0.0
