"""The Hugging Face hub: its repositories with GGUF models, and the models of one.

Speaks through huggingface_hub, which knows the person's token; llterm never reads or shows it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import ModuleType
from urllib.parse import urlsplit

from llterm.backends.caches import ASIDE, model_name, parts_of, quantisation_of
from llterm.errors import BackendUnavailable, LltermError, ModelError, UsageError

HUB = "https://huggingface.co"
PATIENCE = 20.0
"""Seconds that the hub has for an answer."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    size: int
    sha256: str
    """Of its contents; empty where the hub doesn't say."""
    blob: str
    """Its git id, the other checksum that the hub may give."""


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """One GGUF model of a repository."""

    repository: str
    commit: str
    name: str
    files: tuple[RemoteFile, ...]
    """Its parts in order; mostly one."""

    parameters: int = 0
    """Of the repository's model, as the hub counts them; 0 where it does not say."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def quantisation(self) -> str:
        return quantisation_of(self.name)

    @property
    def reference(self) -> str:
        """What to type to pull it."""
        return f"{self.repository}:{self.quantisation or self.files[0].name}"


def endpoint() -> str:
    """The hub's address. Raises UsageError where the token would go over an open line."""
    address = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and library().get_token():
        raise UsageError(
            "The hub's address is not encrypted",
            f"HF_ENDPOINT is {address}: your token would be sent for anybody to read.",
            "Use an https address, or unset HF_TOKEN.",
        )
    return address


def remote_models(repository: str) -> list[RemoteModel]:
    """The GGUF models of a repository, by name. Raises LltermError."""
    with hub_errors(repository):
        api = library().HfApi(endpoint=endpoint(), library_name="llterm")
        info = api.model_info(repository, files_metadata=True, timeout=PATIENCE)
    files = {}
    for sibling in info.siblings or ():
        name, lfs = sibling.rfilename, sibling.lfs
        if name.lower().endswith(".gguf") and _safe(name):
            files[name] = RemoteFile(
                name, sibling.size or 0, lfs.sha256 if lfs else "", sibling.blob_id or ""
            )
    counted = (info.gguf or {}).get("total")
    parameters = counted if isinstance(counted, int) else 0
    return list(_models(repository, info.sha or "main", files, parameters))


def search_hub(words: str, limit: int = 20, *, base: str = "") -> list[tuple[str, int]]:
    """Repositories with GGUF files, most downloaded first, and how often. Raises LltermError.

    `base`: only those that say that they are quantised from this repository's model.
    """
    filters = ["gguf", f"base_model:quantized:{base}"] if base else ["gguf"]
    with hub_errors(words or base):
        utils = library().utils
        # Not `HfApi.list_models`: without a network that tries for half a minute.
        answer = utils.get_session().get(
            f"{endpoint()}/api/models",
            params={"search": words, "filter": filters, "sort": "downloads", "limit": limit},
            headers=utils.build_hf_headers(library_name="llterm"),
            timeout=PATIENCE,
        )
        utils.hf_raise_for_status(answer)
        return [(str(found["id"]), int(found.get("downloads", 0))) for found in answer.json()]


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the hub, told in llterm's words."""
    errors = library().errors
    import httpx2  # The client that huggingface_hub speaks through.

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{what} is not open to everybody",
            "Its owner wants its terms accepted first, or your token has no access.",
            f"Accept them on {HUB}/{what}, then set HF_TOKEN to a token of yours.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no {what} on the hub",
            "The hub says the same of private repositories.",
            "Check its name; for a private one set HF_TOKEN.",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise BackendUnavailable(
            "The hub may not be asked", "HF_HUB_OFFLINE is set.", "Unset it to pull models."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        words = "Wait a little, then try again." if status in (408, 429) or status >= 500 else ""
        raise BackendUnavailable(
            f"The hub refused {what}", f"It answered {status}.", words
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{what} is no name of a repository", "", "Check it.") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LltermError(
            "The hub's answer could not be read",
            f"{urlsplit(endpoint()).hostname} may be no hub, or something stands between.",
            "Check HF_ENDPOINT, proxies and your network's login page.",
        ) from error


def _unreachable(error: Exception) -> BackendUnavailable:
    return BackendUnavailable(
        "The hub could not be reached",
        f"{urlsplit(endpoint()).hostname}: {type(error).__name__}.",
        "Check the network and proxies, then give the same command: a pull goes on where it was.",
    )


def library() -> ModuleType:
    """The huggingface_hub module, made ready on first use: quiet, and telling nobody anything."""
    # Without this it names the person's installed packages, and asks the hub for a list of
    # programs to look for. It must be in the environment before the module is loaded.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    import huggingface_hub.errors
    import huggingface_hub.utils

    # llterm draws its own progress, and says once and in its own words what failed.
    huggingface_hub.utils.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return huggingface_hub


def _safe(name: str) -> bool:
    """Whether a file of the hub may have this name on disk too."""
    path = PurePosixPath(name)
    odd = any(part.startswith(".") for part in path.parts) or "\\" in name or "\0" in name
    return not path.is_absolute() and not odd and name.isprintable()


def _models(
    repository: str, commit: str, files: dict[str, RemoteFile], parameters: int
) -> Iterator[RemoteModel]:
    """Files that belong together as models. A model that lacks a part is left out."""
    for name in sorted(files):
        path = PurePosixPath(name)
        if any(word in path.name.lower() for word in ASIDE):
            continue
        parts = [one.as_posix() for one in parts_of(path)]
        if parts[0] == name and all(part in files for part in parts):
            together = tuple(files[part] for part in parts)
            yield RemoteModel(repository, commit, model_name(path), together, parameters)
