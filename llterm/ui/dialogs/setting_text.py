"""A setting's value as it stands in a field and is typed there: texts have `|` between them."""

from __future__ import annotations

from llterm.config.setting import Setting, Value


def value_text(value: object) -> str:
    """The text for a value; a line break in it is `\\n`, no value is nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "|".join(text.replace("\n", "\\n") for text in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def typed_value(setting: Setting, text: str) -> Value:
    """The value that was typed. Raises ValueError with the reason."""
    if setting.kind == "list of texts":
        return setting.check([part for part in text.replace("\\n", "\n").split("|") if part])
    if not text.strip():
        raise ValueError("nothing is typed")
    return setting.parse(text.strip())
