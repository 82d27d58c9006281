"""One address of a server: requests out through httpx2, whole answers or their events in.

What the HTTP library raises ends here: its frames hold the request's headers, and with them the
key, where a traceback that prints local variables would show it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit

from llterm.backends.remote import server_faults
from llterm.backends.remote.answer import parse
from llterm.backends.remote.api_keys import Secret, hidden, source_of
from llterm.backends.remote.server_faults import ServerFault
from llterm.backends.remote.transport import BadAnswer, Reply
from llterm.config.server_settings import ServerSettings, is_loopback, is_near
from llterm.core.display_text import label_text
from llterm.errors import BackendUnavailable, UsageError, reason
from llterm.version import __version__

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 32 << 20
"""Of one answer, unpacked; a streamed one may have as much in each of its events."""
_LARGE = 1 << 18
"""Bytes of JSON that take some 5 ms to read, in which the screen would stand still."""
_MOST_ERROR = 1 << 16
_MOST_REDIRECTS = 3


class Replica:
    """The connections to one address."""

    def __init__(self, url: str, settings: ServerSettings, key: Secret | None) -> None:
        """Opens nothing yet. Raises UsageError where `ca_file` cannot be used."""
        self.address = url.rstrip("/")
        self._root = self.address.removesuffix("/v1")
        self._settings = settings
        self._key = key
        self._client = _client(url, settings, key)
        self.bytes_received = 0

    async def ask(self, method: str, path: str, body: bytes | None) -> Reply:
        """One answer, whole. Raises Fault, Refused or BadAnswer."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                async with self._opened(method, path, body) as response:
                    data = await self._whole(response)
                    status, headers = response.status_code, _headers(response)
                    return Reply(status, data, headers, self.address)
        except TimeoutError:
            raise self._slow() from None

    async def events(self, path: str, body: bytes) -> AsyncGenerator[Any]:
        """The parsed `data:` objects of a streamed answer; of one that is not streamed, the whole.

        Raises as `ask`; also in the middle.
        """
        import httpx2

        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._settings.timeout):
                    opened = self._opened("POST", path, body)
                    response = await stack.enter_async_context(opened)
                    streamed = _media_type(response) == "text/event-stream"
                    whole = None if streamed else await self._whole(response)
                if not streamed:
                    yield whole
                    return
                source = cast(
                    "AsyncGenerator[httpx2.ServerSentEvent]",
                    aiter(httpx2.EventSource(response, MOST_BYTES)),
                )
                events = await stack.enter_async_context(aclosing(source))
                while True:
                    # For each event anew: a server that only keeps the line warm is slow too.
                    async with asyncio.timeout(self._settings.timeout):
                        event = await anext(events, None)
                    if event is None or event.data.strip() == "[DONE]":
                        return
                    if event.data.strip():
                        yield self._without_error(self._parsed(event.data.encode()))
        except TimeoutError:
            raise self._slow() from None

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: bytes | None
    ) -> AsyncIterator[httpx2.Response]:
        """A 2xx answer, its body still to be read. Leaving it early closes the connection."""
        import httpx2

        url = self._root + path
        try:
            for _ in range(_MOST_REDIRECTS):
                async with self._client.stream(method, url, content=body) as response:
                    try:
                        url = self._followed(method, url, response)
                        if response.is_redirect:
                            continue
                        self._check_packing(response)
                        await self._check(response)
                        yield response
                        return
                    finally:
                        self.bytes_received += response.num_bytes_downloaded
            raise server_faults.redirected(response.status_code, self._hidden(url), self.address)
        except httpx2.HTTPError as error:
            raise self._explained(error) from None
        except (httpx2.InvalidURL, UnicodeError):
            raise server_faults.redirected(307, self._hidden(url), self.address) from None

    def _followed(self, method: str, url: str, response: httpx2.Response) -> str:
        """Where to go on: at the same address only, and without turning a POST into a GET."""
        if not response.is_redirect:
            return url
        target = response.headers.get("location", "")
        try:
            target = urljoin(url, target) if target else "nowhere: it names no address"
            here, destination = urlsplit(url), urlsplit(target)
        except ValueError:
            raise server_faults.redirected(
                response.status_code, self._hidden(target), self.address
            ) from None
        same = (here.scheme, here.netloc) == (destination.scheme, destination.netloc)
        if same and (method == "GET" or response.status_code in (307, 308)):
            return target
        raise server_faults.redirected(response.status_code, self._hidden(target), self.address)

    async def _check(self, response: httpx2.Response) -> None:
        """Raises Fault or Refused for every status but 2xx."""
        if response.is_success:
            return
        body = await self._read(response, _MOST_ERROR)
        try:
            data = self._hidden(self._parsed(body))
        except (BadAnswer, RecursionError):
            data = self._hidden(server_faults.page_words(body))
        raise self._failure(response.status_code, _headers(response), data)

    def _check_packing(self, response: httpx2.Response) -> None:
        """Raises BadAnswer for one packed in a way that was not offered: each layer unpacks to a
        thousand times as much, before any of it can be counted."""
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("", "identity", "gzip", "deflate"):
            raise BadAnswer(
                f"The answer of {self.address} cannot be read",
                f"It is packed as {label_text(self._hidden(packing[:40]))}.",
                "llterm takes gzip and deflate.",
            )

    async def _whole(self, response: httpx2.Response) -> Any:
        """A complete answer's JSON."""
        body = await self._read(response, MOST_BYTES)
        if len(body) < _LARGE:
            return self._without_error(self._parsed(body))
        return self._without_error(await asyncio.to_thread(self._parsed, body))

    def _parsed(self, body: bytes) -> Any:
        """The body's JSON; None for an empty one."""
        try:
            return parse(body) if body.strip() else None
        except BadAnswer:
            # The error shows a piece of what is wrong: read again without the key in it.
            text = self._hidden(body.decode("utf-8", "surrogateescape"))
            return parse(text.encode("utf-8", "surrogateescape"))

    def _without_error(self, data: Any) -> Any:
        """The data, unless it tells what went wrong after a 200 had gone out."""
        error = data.get("error") if isinstance(data, dict) else None
        if not error:
            return data
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        raise self._failure(status, {}, self._hidden(data))

    def _failure(self, status: int, headers: Mapping[str, str], data: Any) -> Exception:
        fault = server_faults.fault_of(status, headers, data, self.address)
        return fault or server_faults.refusal(status, data, self.address, source_of(self._settings))

    async def _read(self, response: httpx2.Response, most: int) -> bytes:
        """The body, raising BadAnswer for one that is too large; an error's beginning is enough."""
        stated_size = response.headers.get("content-length", "")
        size = 0
        parts: list[bytes] = []
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                too_large = size > most or (stated_size.isdecimal() and int(stated_size) > most)
                if too_large and response.is_success:
                    raise BadAnswer(
                        f"The answer of {self.address} is too large",
                        f"It has more than {most >> 20} MB.",
                        "Ask for fewer candidates or tokens at once.",
                    )
                parts.append(chunk)
                if too_large:
                    break
        return b"".join(parts)[:most]

    def _explained(self, error: httpx2.HTTPError) -> Exception:
        """What the HTTP library raised, as a fault or an error of ours."""
        import httpx2

        words = self._hidden(label_text(_reason(error)))
        if isinstance(error, httpx2.ConnectTimeout):
            seconds = f"{self._settings.connect_timeout:g} s"
            return ServerFault("unreached", self.address, f"No connection within {seconds}")
        if tls := next((one for one in _chain(error) if isinstance(one, ssl.SSLError)), None):
            return self._no_tls(tls)
        if isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
            return ServerFault("unreached", self.address, words)
        if isinstance(error, httpx2.DecodingError | httpx2.SSEError) or "illegal" in words.lower():
            return BadAnswer(
                f"The answer of {self.address} cannot be read",
                f"{words}.",
                "Is base_url in llterm.toml right, with http:// or https://?",
            )
        return ServerFault("cut", self.address, words)

    def _no_tls(self, error: ssl.SSLError) -> BackendUnavailable:
        why = error.reason or str(error)
        hint = "Does the server speak https, or should base_url begin with http://?"
        if isinstance(error, ssl.SSLCertVerificationError):
            why = error.verify_message
            hint = "Name the certificate to trust as ca_file in llterm.toml."
        return BackendUnavailable(f"No safe connection to {self.address}", f"{why}.", hint)

    def _slow(self) -> ServerFault:
        return ServerFault("slow", self.address, f"No answer within {self._settings.timeout:g} s")

    def _hidden(self, value: Any) -> Any:
        return hidden(self._key, value)


def _client(url: str, settings: ServerSettings, key: Secret | None) -> httpx2.AsyncClient:
    import httpx2

    for name in ("httpx2", "httpcore2"):
        # They tell every address that is asked, and at DEBUG every header.
        logging.getLogger(name).setLevel(logging.WARNING)
    verify: ssl.SSLContext | bool = True
    if is_loopback(url) and url.startswith("http://"):
        verify = False  # Nothing to verify without TLS; reading the certificates takes 50 ms.
    elif settings.ca_file is not None:
        try:
            verify = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{settings.ca_file} cannot be used",
                f"{reason(error)}.",
                "ca_file names certificates in PEM form.",
            ) from None
    proxy = None if is_loopback(url) else settings.proxy
    return httpx2.AsyncClient(
        auth=key.sign if key else None,
        headers={
            "User-Agent": f"llterm/{__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip, deflate",
        },
        # A server's cookies are not kept: whatever it wants to know again, it is not told.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        verify=verify,
        # HTTP_PROXY would send even requests to this machine away.
        trust_env=proxy is None and not is_near(url),
        proxy=proxy,
        timeout=httpx2.Timeout(None, connect=settings.connect_timeout),
        # The pool of replicas bounds them; a server closes idle connections after 5 s.
        limits=httpx2.Limits(keepalive_expiry=4.0),
    )


def _headers(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        if isinstance(link, BaseExceptionGroup):
            yield from link.exceptions
        link = link.__cause__ or link.__context__


def _reason(error: BaseException) -> str:
    """The system's own words, where there are some."""
    system = next((one for one in _chain(error) if isinstance(one, OSError) and one.errno), None)
    if isinstance(system, socket.gaierror):
        return system.strerror or "no such host"
    if system is not None and system.errno:
        return os.strerror(system.errno)
    return str(error).rstrip(".") or type(error).__name__
