"""Files of labels: a line each as they are typed, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llterm.core.classification.labels import Label, typed_label
from llterm.core.display_text import label_text
from llterm.core.json_text import parsed
from llterm.errors import UsageError

_FIELDS = ("label", "spellings", "aliases", "description")
_HINT = (
    'Write a label a line, or JSON: a list of labels, or of objects {"label", "aliases",'
    ' "description"}.'
)


def read_labels(data: bytes, name: str) -> tuple[Label, ...]:
    """The labels of a file's text; `name` is for people. Raises UsageError."""
    text = data.decode("utf-8", "replace")
    if text.lstrip()[:1] in ("[", "{"):
        try:
            value = parsed(text)
        except ValueError as error:
            raise UsageError(f"{name} cannot be read", f"It is no JSON: {error}.", _HINT) from error
        labels = tuple(_from_json(value, name))
    else:
        lines = (line.strip() for line in text.splitlines())
        labels = tuple(typed_label(line) for line in lines if line and not line.startswith("#"))
    if not labels:
        raise UsageError(f"{name} has no labels", "", _HINT)
    return labels


def _from_json(value: Any, name: str) -> Iterator[Label]:
    """Of a list, or of an object with a list of aliases for each label."""
    if isinstance(value, dict):
        value = [{"label": label, "aliases": aliases} for label, aliases in value.items()]
    for place, entry in enumerate(value if isinstance(value, list) else [None]):
        label = {"label": entry} if isinstance(entry, str) else entry
        try:
            yield _label(label)
        except ValueError as error:
            where = f"Entry {place} is {label_text(str(entry))[:60]}: {error}."
            raise UsageError(f"A label of {name} cannot be read", where, _HINT) from error


def _label(entry: Any) -> Label:
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise ValueError("no label")
    unknown = [key for key in entry if key not in _FIELDS]
    if unknown:
        raise ValueError(f"it has {unknown[0]!r}")
    name, description = entry["label"], entry.get("description", "")
    if not isinstance(description, str):
        raise ValueError("its description is no text")
    if "spellings" in entry:
        return Label(name, _texts(entry["spellings"]), description)
    return Label(name, (name, *_texts(entry.get("aliases", []))), description)


def _texts(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError("its spellings are no texts")
    return tuple(values)
