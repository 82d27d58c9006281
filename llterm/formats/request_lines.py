"""OpenAI's batch files: a request a line, as JSON; also the body alone, as other services take it.

{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Once"}}
{"custom_id": "a", "body": {"prompt": "Once"}}
{"prompt": "Once"}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llterm.core.batch_row import CHATS, COMPLETIONS, BatchRow, RowPlace
from llterm.core.display_text import label_text
from llterm.errors import UsageError
from llterm.formats.row_lines import RowFile, json_object

LONGEST_ID = 512
"""Characters, as OpenAI has it."""
_FIELDS = {"custom_id", "method", "url", "body"}
_FORM = 'A line is {"custom_id": …, "method": "POST", "url": "/v1/completions", "body": {…}}.'


class RequestLines:
    """A `BatchInput` of such a file."""

    def __init__(self, file: RowFile) -> None:
        self._file = file

    @property
    def name(self) -> str:
        return self._file.name

    def digest(self) -> str:
        return self._file.digest()

    def walk(self) -> Iterator[tuple[RowPlace, BatchRow]]:
        for number, (offset, line) in enumerate(self._file.lines(), 1):
            if line.strip():
                yield RowPlace(offset, number), self._row(line, number)

    def row(self, place: RowPlace) -> BatchRow:
        return self._row(self._file.line(place.offset), place.number)

    def _row(self, line: str, number: int) -> BatchRow:
        try:
            return request_of(json_object(line), number)
        except UsageError:
            raise
        except ValueError as error:
            cause = f"{str(error)[:1].upper()}{str(error)[1:]}."
            raise self._file.wrong(number, cause, _FORM) from error


def request_of(line: Mapping[str, Any], number: int) -> BatchRow:
    """The request of a line, which is named by its number where it has no id. Raises ValueError."""
    whole = "body" in line
    custom_id = line.get("custom_id")
    body = line.get("body") if whole else {k: v for k, v in line.items() if k != "custom_id"}
    if whole and (other := set(line) - _FIELDS):
        raise ValueError(f"{label_text(sorted(other)[0])} is no field of it")
    if not isinstance(body, dict):
        raise ValueError("its body is no object")
    if not {"prompt", "messages"} & body.keys():
        raise ValueError("its body has neither prompt nor messages")
    url = line.get("url") if whole else None
    url = (CHATS if "messages" in body else COMPLETIONS) if url is None else url
    if url not in (COMPLETIONS, CHATS):
        raise ValueError(f"{label_text(str(url))} is not answered here")
    if whole and str(line.get("method") or "POST").upper() != "POST":
        raise ValueError("its method is not POST")
    custom_id = f"line-{number}" if custom_id is None else custom_id
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        raise ValueError(f"its custom_id is no text of 1 to {LONGEST_ID} characters")
    return BatchRow(custom_id, url, body)
