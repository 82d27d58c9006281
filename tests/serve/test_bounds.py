"""Whatever stands in a body has a bound, and what is beyond it goes no further.

Found by walking the types of all bodies, so that a new field without one fails.
"""

from __future__ import annotations

import json
import math
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from msgspec import inspect

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.remote.api_keys import Secret
from llterm.serve.api_errors import ApiError
from llterm.serve.application import Access
from llterm.serve.body_reader import read_body
from llterm.serve.loom_folder import LoomFolder
from llterm.serve.routes import ROUTES
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.server_route import ServerRoute
from llterm.session.document import Document
from tests.helpers.body_walk import BodyPlace, places
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import ServedApi, served

TAKING = [route for route in ROUTES if route.body is not None]
IDS = [route.paths[0] for route in TAKING]
UNBOUNDED = {
    "prompt.prompt_string": "as `prompt`",
    "prompt": "as long as the body; what does not fit is refused before it is cut into tokens",
    "content": "as long as the body",
    "tokens": "as long as the body; no model sees them",
    "leading_prompt": "as `prompt`",
    "suffix": "refused",
    "model": "only looked up",
    "response_format.json_schema.name": "passed over",
    "response_format.json_schema.description": "passed over",
    "response_format.json_schema.schema": "bounded as text",
    "response_format.schema": "bounded as text",
    "structured_outputs.json": "bounded as text",
    "json_schema": "bounded as text",
    "messages.content": "as `prompt`; what a template writes of it is bounded",
    "messages.content.text": "as `messages.content`",
    "messages.content.refusal": "as `messages.content`",
    "messages.reasoning_content": "as `messages.content`",
    "messages.reasoning": "as `messages.content`",
    "messages.tool_calls.function.arguments": "as `messages.content`",
    "tools.function.description": "as `messages.content`",
    "tools.function.parameters": "as `messages.content`",
    "input": "as `messages.content`",
    "input.content": "as `messages.content`",
    "input.content.text": "as `messages.content`",
    "input.content.refusal": "as `messages.content`",
    "input.arguments": "as `messages.content`",
    "input.output": "as `messages.content`",
    "input.output.text": "as `messages.content`",
    "input.output.refusal": "as `messages.content`",
    "input.summary.text": "as `messages.content`",
    "input.summary.refusal": "as `messages.content`",
    "instructions": "as `messages.content`",
    "text.format.schema": "bounded as text",
    "text.format.name": "passed over",
    "text.format.description": "passed over",
    "tools.description": "as `messages.content`",
    "tools.parameters": "as `messages.content`",
    "tool_choice": "read whole, or refused",
}
"""The only places without a bound of their own, and why."""
NUMBERS = (
    "-1", "-2147483649", "2147483647", "2147483648", "9223372036854775807", "1e30", "0.5",
    "9223372036854775808", "-9223372036854775809", "1e400", "-1e400",
)  # fmt: skip
"""As they stand in JSON."""
NO_NUMBERS = ("NaN", "Infinity", '"NaN"', '"1"', "true", "false", "null", "[]", "{}")
MARK = "MARK-OF-A-FILE"
WATCHED = ("open", "os.listdir", "os.scandir", "glob.glob", "subprocess.Popen", "os.system",
           "socket.connect", "socket.getaddrinfo", "urllib.Request", "import")  # fmt: skip
"""Events of Python's audit."""
_HERE = "\x00here\x00"


def of_route(route: ServerRoute) -> Sequence[BodyPlace]:
    assert route.body is not None
    return list(places(route.body))


def bounded(kind: inspect.Type) -> bool:
    match kind:
        case inspect.StrType() | inspect.ListType() | inspect.VarTupleType() | inspect.DictType():
            return kind.max_length is not None
        case inspect.IntType() | inspect.FloatType():
            low, high = (kind.ge, kind.gt), (kind.le, kind.lt)
            return any(each is not None for each in low) and any(each is not None for each in high)
    return True


@pytest.mark.parametrize("route", TAKING, ids=IDS)
def test_every_place_of_every_body_has_a_bound_or_a_reason(route: ServerRoute) -> None:
    without = {
        re.sub(r"\[\]|\{.*\}", "", place.path)
        for place in of_route(route)
        if not bounded(place.kind)
    }
    assert without <= UNBOUNDED.keys()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApi]:
    folder = tmp_path_factory.mktemp("looms")
    Document.create(folder / "a.loom", b"The fox").close()
    bundled = await open_llama(
        BUNDLED, LlamaSettings(threads=1, chat_template="plain"), name="fable"
    )
    limits = ServeLimits(slot_context=64, choices=16, drain_seconds=0)
    access = Access(admin_keys=(Secret("k"),))
    access = replace(access, loom_keys=(Secret("k"),))
    async with served(
        bundled, limits=limits, access=access, headers={"X-Api-Key": "k"}, looms=LoomFolder(folder)
    ) as opened:
        yield opened
    await bundled.close()


def written(place: BodyPlace, value: str) -> bytes:
    """The body whose place holds this JSON."""
    return json.dumps(place.body(_HERE)).replace(json.dumps(_HERE), value).encode()


def takes(kind: inspect.Type, value: str) -> bool:
    """Whether a place of this kind takes this JSON, which is no text but of a number's name."""
    parsed: object = json.loads(value)
    match kind:
        case inspect.IntType() | inspect.FloatType():
            return (
                isinstance(parsed, int | float)
                and not isinstance(parsed, bool)
                and is_within(kind, parsed)
            )
        case inspect.AnyType():
            return parsed is None or not isinstance(parsed, float) or math.isfinite(parsed)
        case inspect.BoolType():
            return isinstance(parsed, bool)
        case inspect.StrType():
            return isinstance(parsed, str)
        case inspect.NoneType():
            return parsed is None
        case inspect.ListType() | inspect.VarTupleType():
            return parsed == [] and not kind.min_length
        case inspect.DictType():
            return parsed == {}
    return False


def is_within(kind: inspect.IntType | inspect.FloatType, number: float) -> bool:
    if isinstance(kind, inspect.IntType) and (math.isinf(number) or number % 1):
        return False
    return bool(
        (kind.ge is None or number >= kind.ge)
        and (kind.gt is None or number > kind.gt)
        and (kind.le is None or number <= kind.le)
        and (kind.lt is None or number < kind.lt)
    )


def numbers(route: ServerRoute, others: Sequence[str] = ()) -> Iterator[tuple[bytes, bool]]:
    """Bodies with hostile numbers, and others, wherever a number may stand, and whether their form
    lets them in."""
    kinds: dict[str, list[inspect.Type]] = {}
    for place in of_route(route):
        kinds.setdefault(place.path, []).append(place.kind)
    for place in of_route(route):
        if isinstance(place.kind, inspect.IntType | inspect.FloatType):
            edges = (place.kind.ge, place.kind.le, place.kind.lt and place.kind.lt - 1)
            for value in (*NUMBERS, *others, *(str(edge) for edge in edges if edge is not None)):
                yield written(place, value), any(takes(kind, value) for kind in kinds[place.path])


@pytest.mark.parametrize("route", TAKING, ids=IDS)
def test_a_number_out_of_its_range_is_refused_by_its_form(route: ServerRoute) -> None:
    assert route.body is not None
    for data, taken in numbers(route, NO_NUMBERS):
        if taken:
            read_body(data, route.body)
        else:
            with pytest.raises(ApiError) as error:
                read_body(data, route.body)
            assert error.value.status == 400


@pytest.mark.asyncio(loop_scope="module")
async def test_numbers_within_their_ranges_are_obeyed_or_refused_by_a_real_model(
    fable: ServedApi,
) -> None:
    for route in TAKING:
        for data, taken in numbers(route):
            if taken:
                answer = await ask(fable, route, json.loads(data))
                # An operator's may name a model that there is not; looms and nodes come and go.
                allowed = (200, 400, 404, 409) if route.admin or route.looms else (200, 400)
                assert answer.status_code in allowed, (data, answer.text)
    assert fable.state.counts.requests > 100


async def ask(api: ServedApi, route: ServerRoute, body: Any) -> httpx2.Response:
    """A body at a route; what draws does not go on for long."""
    assert route.body is not None
    fields = getattr(route.body, "__struct_fields__", ())
    few = {name: 1 for name in ("max_tokens", "max_output_tokens") if name in fields}
    # What a model would have to go on with is not there: what is read is all that counts.
    node = "99" if "model" in fields else "2"
    path = route.paths[0].replace("{loom}", "a").replace("{node}", node)
    body = {**few, **body} if few else body
    return await api.client.request(route.method, path, json=body, headers={"If-Match": "*"})


class Canary:
    """A file, and an address at which something listens: who opens either is seen."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canary.gguf"
        self.file.write_text(MARK)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.opened: list[str] = []

    def words(self) -> Iterator[str]:
        address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        yield from (str(self.file), f"file://{self.file}", f"@{self.file}", f"../{self.file.name}")
        yield from (f"http://{address}/canary", f"https://{address}/canary", f"{self.file.parent}/")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what this process opens, starts and connects to."""
        watching = True

        def note(event: str, arguments: tuple[Any, ...]) -> None:
            if watching and event in WATCHED and "canary" in repr(arguments):
                self.opened.append(f"{event} {arguments}")

        sys.addaudithook(note)
        try:
            yield
        finally:
            watching = False

    def is_called(self) -> bool:
        """Whether somebody connected."""
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.mark.asyncio(loop_scope="module")
async def test_no_text_of_a_body_is_opened_as_a_file_or_asked_at_as_an_address(
    fable: ServedApi, tmp_path: Path
) -> None:
    canary = Canary(tmp_path)
    with canary.watching():
        canary.file.read_text()
        assert canary.opened.pop()
        for route in TAKING:
            for place in of_route(route):
                if isinstance(place.kind, inspect.StrType | inspect.AnyType):
                    for word in canary.words():
                        answer = await ask(fable, route, place.body(word))
                        assert answer.status_code in (200, 400, 404, 409), (place.path, answer.text)
                        assert MARK not in answer.text
        for word in canary.words():
            answer = await fable.client.get(f"/v1/models/{word}")
            assert MARK not in answer.text
    assert (canary.opened, canary.is_called()) == ([], False)
    canary.listener.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_templates_of_clients_are_refused_by_name(fable: ServedApi) -> None:
    for field in ("chat_template", "chat_template_kwargs", "template"):
        status, error = await fable.refused("/v1/completions", prompt="a", **{field: "{{ 1 }}"})
        assert (status, error["param"], error["code"]) == (400, field, "unknown_parameter")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_text_that_cannot_fit_is_refused_before_it_is_cut(fable: ServedApi) -> None:
    model = fable.state.models.loaded[0]
    vocabulary = model.vocabulary
    longest = max(len(vocabulary.token(id).data) for id in range(vocabulary.size))
    for route, field in (("/v1/completions", "prompt"), ("/completion", "prompt"),
                         ("/v1/completions", "leading_prompt")):  # fmt: skip
        for text, known in (("a" * (longest * model.room), False), ("a b " * model.room, True)):
            body = {"prompt": "a", field: text}
            status, error = await fable.refused(route, **body)
            assert (status, error["code"]) == (400, "context_length_exceeded")
            assert ("or more" in error["message"]) is not known
            message = {"role": "user", "content": text}
            status, error = await fable.refused("/v1/chat/completions", messages=[message])
            assert (status, error["code"]) == (400, "context_length_exceeded")


@pytest.mark.asyncio(loop_scope="module")
async def test_of_a_models_file_its_name_is_told_and_no_path(fable: ServedApi) -> None:
    told = {
        route.paths[0]: (await fable.client.get(route.paths[0].replace("{id:path}", "fable"))).text
        for route in ROUTES
        if route.method == "GET"
    }
    assert json.loads(told["/props"])["model_path"] == BUNDLED.name
    assert not [path for path, text in told.items() if str(BUNDLED.parent) in text]
