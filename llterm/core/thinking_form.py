"""A form in XML that a model fills in before it answers: what stands fast in it, and what is open.

Texts are open, `{…}` in attributes is; an element before a comment may be written again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as XML
from xml.sax.saxutils import escape, quoteattr

MOST_ELEMENTS = 256
DEEPEST = 32
_SLOT = re.compile(r"\{[^{}]*\}")
_DECLARED = re.compile(r"<!(?!--)|<\?")


@dataclass(frozen=True, slots=True)
class FormText:
    """What stands fast."""

    text: str


@dataclass(frozen=True, slots=True)
class FormSlot:
    """What the model writes: a text without tags; within an attribute, without quotes too."""

    quoted: bool = False


@dataclass(frozen=True, slots=True)
class FormRepeat:
    """What may be written once or more often."""

    parts: tuple[FormPart, ...]


FormPart = FormText | FormSlot | FormRepeat


@dataclass(frozen=True, slots=True)
class ThinkingForm:
    """A form, read."""

    root: str
    """The name of its one outermost element, which none in it has."""
    parts: tuple[FormPart, ...]
    text: str
    """As it was given, without blanks around it."""

    @property
    def end(self) -> str:
        """What it ends with."""
        return f"</{self.root}>"

    @property
    def words(self) -> str:
        """What a model is told of it."""
        return (
            "Before you answer, fill in this form: write it with your own words in place of the"
            " texts in it. What stands before a comment may be written several times. Then answer,"
            f" after {self.end}, without speaking of the form.\n{self.text}"
        )


def read_form(text: str) -> ThinkingForm:
    """Read a form. Raises ValueError, with what is wrong, for what is none."""
    text = text.strip()
    if _DECLARED.search(text):
        raise ValueError("it has declarations or instructions")
    builder = XML.TreeBuilder(insert_comments=True)
    try:
        root = XML.fromstring(text, XML.XMLParser(target=builder))
    except (XML.ParseError, ValueError) as error:
        raise ValueError(str(error)) from None
    names = [str(each.tag) for each in root.iter() if isinstance(each.tag, str)]
    if len(names) > MOST_ELEMENTS:
        raise ValueError(f"it has more than {MOST_ELEMENTS} elements")
    if names.count(root.tag) > 1:
        raise ValueError(f"{root.tag} stands within itself")
    if any("{" in name for name in names):
        raise ValueError("it has namespaces")
    return ThinkingForm(root.tag, tuple(_joined(_element(root, 1))), text)


def _element(element: XML.Element, depth: int) -> Iterator[FormPart]:
    if depth > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    yield FormText(f"<{element.tag}")
    for name, value in element.attrib.items():
        yield FormText(f" {name}=")
        yield from _attribute(value)
    yield FormText(">")
    children = list(element)
    end = f"</{element.tag}>"
    if not any(isinstance(child.tag, str) for child in children):
        yield FormSlot()
        yield FormText(end)
        return
    yield from _between(element.text)
    for place, child in enumerate(children):
        if isinstance(child.tag, str):
            parts = [*_element(child, depth + 1), *_between(child.tail)]
            if _comment_follows(children[place:]):
                yield FormRepeat(tuple(_joined(iter(parts))))
            else:
                yield from parts
        elif not _was_blank(children, place):
            yield from _between(child.tail)
    yield FormText(end)


def _comment_follows(children: list[XML.Element]) -> bool:
    """Whether nothing but blanks is between the first of these and a comment."""
    child, *others = children
    blank = not (child.tail or "").strip()
    return blank and bool(others) and not isinstance(others[0].tag, str)


def _was_blank(children: list[XML.Element], place: int) -> bool:
    """Whether what follows a comment is blank: what stood before it stands there already."""
    return place > 0 and not (children[place].tail or "").strip()


def _between(text: str | None) -> Iterator[FormPart]:
    """Text beside elements: blanks stand fast, words are open."""
    if not text:
        return
    yield FormSlot() if text.strip() else FormText(text)


def _attribute(value: str) -> Iterator[FormPart]:
    fixed = _SLOT.split(value)
    if len(fixed) == 1:
        yield FormText(quoteattr(value))
        return
    yield FormText('"')
    for place, part in enumerate(fixed):
        if place:
            yield FormSlot(quoted=True)
        yield FormText(escape(part, {'"': "&quot;"}))
    yield FormText('"')


def _joined(parts: Iterator[FormPart]) -> Iterator[FormPart]:
    """With texts that follow each other in one."""
    held = ""
    for part in parts:
        if isinstance(part, FormText):
            held += part.text
            continue
        if held:
            yield FormText(held)
        held = ""
        yield part
    if held:
        yield FormText(held)
