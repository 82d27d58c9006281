"""What suggestions must fit: choices, a pattern, a grammar or a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from llterm.constraints.spec import Constraint, Kind, choices
from llterm.errors import LltermError
from llterm.ui.dialogs.text_dialogs import TextDialog
from llterm.ui.key_gate import AWAITED
from llterm.ui.notices import refusal
from llterm.ui.widgets.fields import Area

_KINDS: dict[Kind, tuple[str, str]] = {
    "choice": ("Choices", "One a line; the space that begins a word is part of it."),
    "regex": (
        "Pattern",
        r"A regular expression for the whole suggestion, such as \ (May|June) \d+",
    ),
    "grammar": ("Grammar", "A Lark grammar with a rule named start."),
    "json-schema": ("JSON schema", "Suggestions are JSON that fits it."),
}


class ConstraintDialog(TextDialog):
    """Gives back its text once that is in force; what is wrong with it is said, and it stays."""

    TITLE = "What suggestions must fit"
    KEYS = "F5 another kind   ^J keep; empty: anything fits   Esc give up"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("f5", "kind", "Another kind", show=False, priority=True)
    ]

    def __init__(
        self,
        constraint: Constraint | None,
        keep: Callable[[Constraint | None], Awaitable[None]],
    ) -> None:
        """`keep` puts what was typed in force, or raises LltermError."""
        super().__init__(written(constraint))
        self._keep = keep
        self._kind: Kind = constraint.kind if constraint is not None else "choice"

    def body(self) -> ComposeResult:
        yield Static(self._note, id="kind", classes="dialog--note", markup=False)
        yield from super().body()
        yield Static("", id="told", classes="setting--note", markup=False)

    @property
    def _note(self) -> str:
        return ". ".join(_KINDS[self._kind])

    def action_kind(self) -> None:
        kinds = list(_KINDS)
        self._kind = kinds[(kinds.index(self._kind) + 1) % len(kinds)]
        self.query_one("#kind", Static).update(self._note)

    def action_done(self) -> None:
        self.run_worker(self._done(self.query_one(Area).text), exclusive=True, group=AWAITED)

    async def _done(self, text: str) -> None:
        try:
            await self._keep(typed(self._kind, text))
        except LltermError as error:
            self.note(refusal(error), wrong=True)
        else:
            self.dismiss(text)


def written(constraint: Constraint | None) -> str:
    """A constraint as it is typed here."""
    if constraint is None:
        return ""
    return (
        "\n".join(json.loads(constraint.text)) if constraint.kind == "choice" else constraint.text
    )


def typed(kind: Kind, text: str) -> Constraint | None:
    """The constraint that was typed; None for an empty text. Raises UsageError."""
    if not text.strip():
        return None
    if kind == "choice":
        return choices(line for line in text.split("\n") if line.strip())
    return Constraint(kind, text)
