"""A chat format of the person's own: what `[formats.NAME]` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FormatConfig:
    """The text around what each says; names of special tokens in it mean these tokens."""

    begin: str = ""
    """Before everything; the model's own first token needs no mention."""
    system_start: str = ""
    system_end: str = ""
    user_start: str = ""
    user_end: str = ""
    assistant_start: str = ""
    assistant_end: str = ""
    end: tuple[str, ...] = ()
    """Names of tokens that end a reply, besides the model's own."""

    def around(self, role: str) -> tuple[str, str]:
        """What stands before and after what this role says; both empty where it has no part."""
        return getattr(self, f"{role}_start"), getattr(self, f"{role}_end")
