"""Embeddings by OpenAI's own client against a real `llterm serve`."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def client(program: ServedProgram) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{program.address}/v1", api_key="none") as opened:
        yield opened


def test_what_the_client_decodes_is_what_numbers_say(client: openai.OpenAI) -> None:
    coded = client.embeddings.create(model=ALIAS, input=["A fox", "A boat"])
    floats = client.embeddings.create(
        model=ALIAS, input=["A fox", "A boat"], encoding_format="float"
    )
    assert [each.embedding for each in coded.data] == [each.embedding for each in floats.data]
    assert sum(value**2 for value in coded.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert coded.usage.prompt_tokens == floats.usage.total_tokens
    few = client.embeddings.create(model=ALIAS, input="A fox", dimensions=8)
    assert len(few.data[0].embedding) == 8


def test_a_text_that_does_not_fit_is_raised(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=ALIAS, input="A fox " * 100_000)
