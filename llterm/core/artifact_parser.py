"""A reply of texts and artifacts between tags, cut into them while it comes."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from llterm.core.held_text import begun_size

ARTIFACT_TYPES = ("code", "self_contained_text")
WORDS = """\
Write your whole answer between <answer> and </answer>, as one or more parts. What you say to the \
person is a part <text>…</text>. What could stand alone, such as a program or a document, is a \
part <artifact identifier="short-name" type="code" title="Its title" language="python">…</artifact>\
; its type is code, or self_contained_text without a language. No other tags, comments or CDATA."""
"""What a model is told of it."""
Meta = Mapping[str, str]
TEXT_META: Meta = {"tag_type": "text"}
_OPEN = re.compile(r"<text>|<artifact(?P<attributes>(?:\s+\w+=\"[^\"<>]*\")*)\s*>|</?answer>")
_ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")
_BEGINNINGS = ("<text>", "<artifact ", "<artifact>", "<answer>", "</answer>")
_LONGEST = 512
"""Characters of a tag."""


class ArtifactPart(NamedTuple):
    """More of a part; of a new one where it begins."""

    meta: Meta
    """`tag_type` text or artifact; an artifact's `artifact_type`, `identifier`, `title` and
    `language`."""
    text: str
    begins: bool


class ArtifactParser:
    """Takes a reply piece by piece; its parts are the same however it is cut. What stands outside
    of tags is text."""

    def __init__(self) -> None:
        self._held = ""
        self._over = False
        self._parts: list[ArtifactPart] = []
        self._reading = self._read()
        next(self._reading)

    def add(self, text: str) -> Sequence[ArtifactPart]:
        """What is certain now that this came."""
        self._held += text
        return self._certain()

    def rest(self) -> Sequence[ArtifactPart]:
        """What was held back, now that nothing more comes."""
        self._over = True
        return self._certain()

    def _certain(self) -> Sequence[ArtifactPart]:
        next(self._reading, None)
        parts, self._parts = self._parts, []
        return parts

    def _read(self) -> Generator[None, None, None]:
        while True:
            tag = yield from self._tag()
            if tag is None:
                return
            if tag[0] in ("<answer>", "</answer>"):
                continue
            if tag["attributes"] is None:
                yield from self._inside(TEXT_META, "</text>")
            else:
                yield from self._inside(_meta(tag["attributes"]), "</artifact>")

    def _tag(self) -> Generator[None, None, re.Match[str] | None]:
        """The next tag that opens or ends something; tells what stands before it. None at the
        end."""
        begun = False
        while True:
            tag = _OPEN.search(self._held)
            end = len(self._held) if tag is None else tag.start()
            if tag is None and not self._over:
                end -= self._open_size()
            text = self._held[:end] if begun else self._held[:end].lstrip()
            if said := text.rstrip():
                self._parts.append(ArtifactPart(TEXT_META, said, not begun))
                begun = True
            if tag is not None:
                self._held = self._held[tag.end() :]
                return tag
            # Blanks before a tag are none.
            self._held = text[len(said) :] + self._held[end:]
            if self._over:
                return None
            yield

    def _open_size(self) -> int:
        """Length of what may turn out to be a tag."""
        place = self._held.rfind("<artifact")
        if place >= 0 and ">" not in self._held[place:] and len(self._held) - place < _LONGEST:
            return len(self._held) - place
        return begun_size(self._held, _BEGINNINGS)

    def _inside(self, meta: Meta, end: str) -> Generator[None, None, None]:
        self._parts.append(ArtifactPart(meta, "", True))
        while (place := self._held.find(end)) < 0:
            sure = len(self._held) - (0 if self._over else begun_size(self._held, [end]))
            self._tell(meta, sure)
            if self._over:
                return
            yield
        self._tell(meta, place)
        self._held = self._held[len(end) :]

    def _tell(self, meta: Meta, size: int) -> None:
        if size:
            self._parts.append(ArtifactPart(meta, self._held[:size], False))
        self._held = self._held[size:]


def _meta(attributes: str) -> Meta:
    said = dict(_ATTRIBUTE.findall(attributes))
    kind = said.get("type", "")
    meta = {
        "tag_type": "artifact",
        "artifact_type": kind if kind in ARTIFACT_TYPES else ARTIFACT_TYPES[0],
        "identifier": said.get("identifier", ""),
        "title": said.get("title", ""),
    }
    return meta | ({"language": said["language"]} if "language" in said else {})
