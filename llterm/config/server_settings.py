"""A model on a server: what `[models.NAME]` says of the way there, and what an address may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

DIALECTS = (
    "auto", "llama", "vllm", "sglang", "tabby", "ollama", "kobold", "webui", "completions", "mlx",
    "chat",
)  # fmt: skip
"""What a server may speak; "auto" finds out by asking it.

The names of the registry in `backends/remote/dialects`, in its order: configuration is read without
any backend, so they stand here too, and a test compares them.
"""
KEY_SOURCES = ("key_env", "key_file", "key_command")

_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to get to one model's server."""

    base_url: tuple[str, ...]
    """Several addresses are replicas of one model."""
    dialect: str = "auto"
    model: str | None = None
    """Its name on the server; None: the one that the server has."""
    parallel: int | None = None
    """Most requests in flight, over all addresses together."""
    key_env: str | None = None
    key_file: Path | None = None
    key_command: tuple[str, ...] = ()
    insecure_key: bool = False
    """The key may go over plain http to another machine."""
    timeout: float = 120.0
    """Seconds for one answer; in a streamed one, between two of its parts."""
    connect_timeout: float = 5.0
    proxy: str | None = None
    ca_file: Path | None = None
    chat_template: str | None = None
    """A chat format, where the server does not tell its model's own."""
    chat_template_file: Path | None = None
    """A file with a template in its place."""
    price_prompt: float | None = None
    """Of a million tokens."""
    price_answer: float | None = None
    record: Path | None = None
    """By `--record`: keep what goes over the wire in this new file."""
    replay: Path | None = None
    """By `--replay`: take the answers from such a file, and ask no server."""

    @property
    def has_key(self) -> bool:
        return any(getattr(self, name) for name in KEY_SOURCES)

    def mistakes(self) -> Iterator[tuple[str, str, str]]:
        """What is wrong with them: setting, why, what to do."""
        if not self.base_url:
            yield "base_url", "it names none", 'Write it as "http://127.0.0.1:8080".'
        if len({url.rstrip("/") for url in self.base_url}) < len(self.base_url):
            yield "base_url", "an address stands in it twice", "Replicas are several servers."
        for url in self.base_url:
            if wrong := address_mistake(url):
                yield "base_url", wrong, 'Write it as "http://127.0.0.1:8080" or "https://host/v1".'
        if self.proxy is not None and (wrong := address_mistake(self.proxy)):
            yield "proxy", wrong, 'Write it as "http://proxy.example.org:3128".'
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            yield (
                "key_env",
                "it is not the name of an environment variable",
                "Put the key itself into a variable, and that variable's name here.",
            )
        if any("\0" in one for one in self.key_command):
            yield "key_command", "no program takes a character with the number 0", "Leave it out."
        named = [name for name in KEY_SOURCES if getattr(self, name)]
        if len(named) > 1:
            yield named[1], f"{named[0]} names a key too", "Keep one of them."
        plain = next((url for url in self.base_url if not keeps_secrets(url)), None)
        if self.has_key and plain and not self.insecure_key:
            yield (
                "base_url",
                f"the key would go to {plain} unencrypted, for everyone on the way to read",
                "Use https, or a tunnel to this machine; insecure_key = true sends it anyhow.",
            )


def is_address(name: str) -> bool:
    """Whether a model's name is a server's address."""
    return name.lower().startswith(("http:", "https:"))


def address_mistake(url: str) -> str:
    """Why this cannot be a server's address; empty where it can."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"{error}"
    # The address itself is not shown where it holds what may be a secret.
    if "@" in parts.netloc:
        return "it holds a name or password; keys come from key_env, key_file or key_command"
    if parts.query or parts.fragment:
        return "it ends in ?… or #…; keys come from key_env, key_file or key_command"
    if parts.scheme not in ("http", "https"):
        return f'"{url}" does not begin with http:// or https://'
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        return f'"{url}" names no host'
    return ""


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = _host(urlsplit(url))
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_near(url: str) -> bool:
    """Whether it is this machine, or an address of a private network."""
    try:
        return is_loopback(url) or ip_address(_host(urlsplit(url))).is_private
    except ValueError:
        return False


def keeps_secrets(url: str) -> bool:
    """Whether nobody on the way can read what is sent there."""
    return urlsplit(url).scheme == "https" or is_loopback(url)


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")
