"""Keys by name: which there are, what terminals make of them, and which of them text needs."""

from __future__ import annotations

import re
from difflib import get_close_matches

NEVER = {
    "ctrl+h": "terminals send backspace for it",
    "ctrl+i": "terminals send tab for it",
    "ctrl+m": "terminals send enter for it",
    "ctrl+[": "terminals send escape for it",
    "ctrl+left_square_bracket": "terminals send escape for it",
    "shift+f3": "it looks like a cursor report and is swallowed",
    "alt+f": "terminals send it as ctrl+right",
    "alt+b": "terminals send it as ctrl+left",
    "alt+[": "it begins other keys",
    "alt+left_square_bracket": "it begins other keys",
}
"""Keys that never arrive as themselves, and why."""

_ALIAS = re.compile(
    r"(ctrl|shift|alt)\+enter|ctrl\+(shift\+)?tab|ctrl\+\d|ctrl\+shift\+\w|alt\+shift\+.+|alt\+\d"
    r"|(shift|ctrl)\+space|ctrl\+(?!right_square_bracket|backslash|circumflex_accent|underscore)(\W|[a-z]+_[a-z_]+)"
    r"|alt\+(\W|[a-z]+_[a-z_]+)|(super|hyper|meta)\+.+"
)
"""Keys that some terminals cannot send: fine beside a safe one, never alone."""

BROWSERS_OWN = frozenset(
    {"ctrl+n", "ctrl+t", "ctrl+w", "ctrl+q", "ctrl+shift+n", "ctrl+shift+t", "ctrl+shift+w",
     "ctrl+shift+p", "ctrl+tab", "ctrl+shift+tab", "ctrl+pageup", "ctrl+pagedown", "alt+f4", "f11"}
)  # fmt: skip
"""Keys that browsers keep for windows and tabs: a page never gets them."""

_SPECIAL = {
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete",
    "backspace", "tab", "enter", "escape", "space", "at",
    *(f"f{n}" for n in range(1, 25)),
}  # fmt: skip
_PUNCTUATION = {
    "question_mark", "colon", "semicolon", "comma", "full_stop", "slash", "backslash", "plus",
    "minus", "equals_sign", "underscore", "left_square_bracket", "right_square_bracket",
    "left_curly_bracket", "right_curly_bracket", "left_parenthesis", "right_parenthesis",
    "less_than_sign", "greater_than_sign", "exclamation_mark", "quotation_mark", "apostrophe",
    "number_sign", "dollar_sign", "percent_sign", "ampersand", "asterisk", "circumflex_accent",
    "grave_accent", "vertical_line", "tilde",
}  # fmt: skip
_TEXT = {
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown",
    "delete", "backspace", "enter", "space",
}  # fmt: skip
_NAMES = _SPECIAL | _PUNCTUATION
_MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}


def split_keys(text: str) -> tuple[str, ...]:
    """The keys of a list such as `ctrl+j, f5`."""
    return tuple(key.strip() for key in text.split(",") if key.strip())


def canonical(key: str) -> str:
    """Modifiers in lower case; `ctrl+space` under the name that arrives from most terminals."""
    *modifiers, base = key.split("+") if len(key) > 1 and key[-1] != "+" else [key]
    if modifiers or len(base) > 1:
        base = base.lower()
    return "+".join([*(one.lower() for one in modifiers), base])


def is_key(key: str) -> bool:
    """Whether there is a key of this name."""
    *modifiers, base = _parts(key)
    known = (len(base) == 1 and base.isprintable()) or base in _NAMES
    return known and not set(modifiers) - _MODIFIERS


def nearest(key: str) -> str:
    """The key that may be meant by a name that no key has; empty without any."""
    *modifiers, base = _parts(key)
    wrong = next((one for one in modifiers if one not in _MODIFIERS), base)
    near = get_close_matches(wrong, sorted(_NAMES | _MODIFIERS), 1, 0.5)
    return key.replace(wrong, near[0]) if near else ""


def is_safe(key: str) -> bool:
    """Whether every terminal can send it."""
    return not _ALIAS.fullmatch(key)


def is_text(key: str) -> bool:
    """Whether an editor needs it, to write or to move."""
    return len(key) == 1 or key in _PUNCTUATION or key in _TEXT


def _parts(key: str) -> list[str]:
    return key.split("+") if len(key) > 1 else [key]
