"""Requests and rows of tables are read the same again, in any order; what is wrong names its
line."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.batch_row import CHATS, COMPLETIONS, BatchInput
from llterm.core.row_template import RowTemplate
from llterm.errors import UsageError
from llterm.formats.request_lines import RequestLines, request_of
from llterm.formats.row_lines import RowFile
from llterm.formats.template_rows import RowTable, TemplateRows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(["custom_id", "method", "url", "body", "prompt", "messages", "other"])
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"))


def requests_of(text: str | bytes) -> RequestLines:
    data = text.encode() if isinstance(text, str) else text
    return RequestLines(RowFile(io.BytesIO(data), "in.jsonl"))


def table_of(text: str | bytes) -> RowTable:
    data = text.encode() if isinstance(text, str) else text
    return RowTable(RowFile(io.BytesIO(data), "rows"))


def assert_read_again(rows: BatchInput) -> None:
    walked = list(rows.walk())
    assert [rows.row(place) for place, _ in reversed(walked)] == [row for _, row in walked[::-1]]


def test_a_line_is_a_whole_request_one_without_an_address_or_a_body_alone() -> None:
    rows = requests_of(
        '\ufeff{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}}\n'
        "\n"
        '{"custom_id": "b", "body": {"messages": []}}\n'
        '{"prompt": [1, 2]}\n'
        '{"custom_id": "d", "prompt": ""}'
    )
    read = [row for _, row in rows.walk()]
    assert [(row.custom_id, row.url) for row in read] == [
        ("a", COMPLETIONS), ("b", CHATS), ("line-4", COMPLETIONS), ("d", COMPLETIONS)
    ]  # fmt: skip
    assert [row.body for row in read[2:]] == [{"prompt": [1, 2]}, {"prompt": ""}]
    assert_read_again(rows)


@given(st.dictionaries(FIELDS, JSON | st.just({"prompt": "x"})))
def test_any_object_is_a_request_or_is_told(line: dict[str, Any]) -> None:
    told = ""
    try:
        row = request_of(line, 7)
    except ValueError as error:
        told = str(error)
    assert told or (row.custom_id and row.url in (COMPLETIONS, CHATS) and row.seed(1) >= 0)
    assert told or isinstance(row.beginning, bytes)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "It is no object"),
        ('{"body": {"prompt": 1e999}}', "1e999 is too large"),
        ('{"body": {"prompt": NaN}}', "NaN is no number"),
        ('{"body": {"input": "x"}}', "neither prompt nor messages"),
        ('{"body": {"prompt": "x"}, "url": "/v1/embeddings"}', "/v1/embeddings is not answered"),
        ('{"body": {"prompt": "x"}, "method": "GET"}', "Its method is not POST"),
        ('{"body": {"prompt": "x"}, "custom_id": ""}', "custom_id is no text"),
        ('{"body": {"prompt": "x"}, "priority": 1}', "Priority is no field"),
        ('{"prompt": ' + "[" * 100 + "]" * 100 + "}", "nested too deep"),
        ('{"prompt": "\udcff"}', ""),
    ],
)
def test_what_is_no_request_is_told_with_its_line(line: str, words: str) -> None:
    rows = requests_of(b'{"prompt": "x"}\n' + line.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as refused:
        list(rows.walk())
    told = f"{refused.value.title} {refused.value.cause}".lower()
    assert words.lower() in told
    assert "line 2 of in.jsonl" in told or "is no text" in told


@given(
    st.lists(CELLS.filter(lambda name: name[:1] not in "{ "), min_size=2, max_size=4, unique=True),
    st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=6),
)
def test_a_table_is_read_as_it_was_written_and_again(
    header: list[str], rows: list[list[str]]
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    cut = [row[: len(header)] for row in rows]
    writer.writerows([header, *cut])
    if not any(header):
        return
    table = table_of(written.getvalue())
    walked = list(table.walk())
    wanted = [dict(zip(header, row, strict=True)) for row in cut]
    assert [columns for _, columns in walked] == wanted
    assert [place.number for place, _ in walked] == list(range(1, len(cut) + 1))
    assert [table.row(place) for place, _ in walked[::-1]] == wanted[::-1]


def test_rows_are_named_by_their_number_or_by_a_column() -> None:
    template = RowTemplate.parse("{a}")
    numbered = TemplateRows(table_of("a\nx\ny\n"), template, 2)
    assert [row.custom_id for _, row in numbered.walk()] == ["1-1", "1-2", "2-1", "2-2"]
    assert_read_again(numbered)
    named = TemplateRows(table_of('{"a": 1, "custom_id": "n"}\n'), template)
    assert [row.custom_id for _, row in named.walk()] == ["n"]
    chat = TemplateRows(table_of("a\nx\n"), template, 1, True, RowTemplate.parse("Be {a}."))
    ((_, row),) = chat.walk()
    assert row.url == CHATS
    assert [said["content"] for said in row.body["messages"]] == ["Be x.", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "rows is empty"),
        ("a,a\n1,2\n", "a stands there twice"),
        ("a,b\n1\n", "It has 1 fields, and there are 2 columns"),
        ('a\n"1\n', "unexpected end of data"),
        ('{"a": 1}\n[]\n', "It is no object"),
        (b"a\n\xff\n", "is no text"),
    ],
)
def test_what_is_no_table_is_told(text: str | bytes, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        list(TemplateRows(table_of(text), RowTemplate.parse("{a}")).walk())
    assert words in f"{refused.value.title}. {refused.value.cause}"
