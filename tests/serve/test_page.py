"""docs/serve.md has a line for every address, option and field."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from llterm.config.schema import SERVE
from llterm.serve.chat_bodies import ChatBody, MessageBody
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.embedding_bodies import EmbeddingsBody, LlamaCppEmbeddingBody
from llterm.serve.inspection_bodies import AttributionBody, PreviewBody, StepBody
from llterm.serve.llamacpp_bodies import DetokenizeBody, LlamaCppBody, TokenizeBody
from llterm.serve.response_bodies import ResponseBody
from llterm.serve.routes import ROUTES

PAGE = (Path(__file__).parents[2] / "docs/serve.md").read_text("utf-8")
NAMED = set(re.findall(r"[A-Za-z0-9_/{}.-]+", " ".join(re.findall(r"`([^`]*)`", PAGE))))


def test_every_address_option_and_field_is_on_the_page() -> None:
    paths = {path.replace(":path", "") for route in ROUTES for path in route.paths}
    bodies: tuple[type[msgspec.Struct], ...] = (
        CompletionBody, ChatBody, MessageBody, LlamaCppBody, TokenizeBody, DetokenizeBody,
        ResponseBody, EmbeddingsBody, LlamaCppEmbeddingBody, PreviewBody, StepBody, AttributionBody,
        *(route.body for route in ROUTES if route.looms and route.body is not None),
        *(route.query for route in ROUTES if route.query is not None),
    )  # fmt: skip
    fields = {field for body in bodies for field in body.__struct_fields__}
    settings = {row.name for row in SERVE}
    named = NAMED | {word.replace("-", "_") for word in re.findall(r"--([a-z-]+)", PAGE)}
    assert not (paths | fields | settings) - named
