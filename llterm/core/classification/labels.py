"""Labels: what a text may be said to be, each with the ways to say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.errors import UsageError

MOST_LABELS = 1000
MOST_SPELLINGS = 64
"""Of one label."""
MOST_BYTES = 1024
"""Of one spelling: it is written token by token."""


@dataclass(frozen=True, slots=True)
class Label:
    """One of the answers."""

    name: str
    spellings: tuple[str, ...] = ()
    """All ways to say it, whose probabilities add up; none given: its name."""
    description: str = ""
    """What it means, for a template with `{labels}`."""

    def __post_init__(self) -> None:
        if not self.spellings:
            object.__setattr__(self, "spellings", (self.name,))

    @property
    def told(self) -> str:
        """Name and description in a line."""
        return f"{self.name}: {self.description}" if self.description else self.name


YES = Label("yes", ("yes", "Yes"))
NO = Label("no", ("no", "No"))
"""What a label of several is asked about with."""


def typed_label(text: str) -> Label:
    """A label as it is typed: `NAME`, or `NAME=ALIAS|ALIAS`. Raises UsageError."""
    name, equals, aliases = text.partition("=")
    if not name.strip():
        raise UsageError("A label has no name", f"Given: {text!r}.", "Write NAME or NAME=ALIAS.")
    others = [alias for alias in aliases.split("|") if alias]
    if equals and not others:
        raise UsageError(
            f"The label {name} has no alias",
            "Nothing stands after its =.",
            "A label with = in its name belongs in a --labels file of JSON.",
        )
    return Label(name, (name, *others))


def check_labels(labels: Sequence[Label]) -> None:
    """Raise UsageError where these cannot be told apart, or are too many."""
    if len(labels) < 2:
        raise UsageError("There are too few labels", f"Given: {len(labels)}.", "Give two at least.")
    if len(labels) > MOST_LABELS:
        raise UsageError(
            "There are too many labels",
            f"Given: {len(labels):,}.",
            f"{MOST_LABELS:,} are the most.",
        )
    names: set[str] = set()
    owners: dict[str, str] = {}
    for label in labels:
        if label.name in names:
            raise UsageError(f"The label {label.name} is given twice", "", "Name each once.")
        names.add(label.name)
        if len(label.spellings) > MOST_SPELLINGS:
            raise UsageError(
                f"The label {label.name} has too many spellings",
                f"It has {len(label.spellings):,}.", f"{MOST_SPELLINGS} are the most.",
            )  # fmt: skip
        for spelling in label.spellings:
            _check_spelling(label, spelling)
            other = owners.setdefault(spelling.strip(), label.name)
            if other != label.name:
                raise UsageError(
                    f"{other} and {label.name} are spelled alike",
                    f"Both can be {spelling.strip()!r}.",
                    "Each spelling is one label's.",
                )


def _check_spelling(label: Label, spelling: str) -> None:
    if not spelling.strip():
        raise UsageError(
            f"A spelling of {label.name} is empty", "", "A label is a text that can be written."
        )
    size = len(spelling.encode("utf-8", "surrogateescape"))
    if size > MOST_BYTES:
        raise UsageError(
            f"A spelling of {label.name[:40]} is too long",
            f"It has {size:,} bytes; {MOST_BYTES:,} are the most.",
            "A label is a few words.",
        )
