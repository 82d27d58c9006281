"""Pulling from a stand-in for the hub: what comes, what stays after a fault, what is said."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llterm.backends.caches import unfinished
from llterm.backends.hub import remote_models, search_hub
from llterm.backends.hub_reference import choose_model, read_reference
from llterm.backends.inventory import list_models
from llterm.backends.pull import folder_of, pull
from llterm.backends.registry import MODELS, find_model
from llterm.config import Config
from llterm.errors import BackendUnavailable, LltermError, ModelError, UsageError
from llterm.reports.models_text import list_text
from tests.helpers.fake_hub import Hub
from tests.helpers.program import run

MODEL = (MODELS / "fable-q8_0.gguf").read_bytes()
REPOSITORY = "someone/fable-GGUF"
REFERENCE = f"{REPOSITORY}:Q8_0"
KEY = "hf_planted0key0planted0key"


@pytest.fixture
def hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with one repository; waits between tries take no time."""
    monkeypatch.setattr("llterm.backends.pull.PAUSE", 0.0)
    hub.files[REPOSITORY] = {"fable-Q8_0.gguf": MODEL, "README.md": b"# fable"}
    return hub


def pulled(reference: str = REFERENCE) -> Path:
    """Pull as the command does."""
    wanted = read_reference(reference)
    return pull(choose_model(wanted, remote_models(wanted.repository)))


def part() -> Path:
    """The one part file."""
    (found,) = folder_of(REPOSITORY).rglob("*.part")
    return found


def nothing_left() -> bool:
    return not any(path.is_file() for path in folder_of(REPOSITORY).rglob("*"))


def test_a_pulled_model_is_whole_and_has_a_name_at_once(hub: Hub) -> None:
    path = pulled()
    assert path.read_bytes() == MODEL
    assert [one.name for one in path.parent.iterdir()] == ["fable-Q8_0.gguf"]
    for name in ("fable-Q8_0", f"{REPOSITORY}/fable-Q8_0", REFERENCE):
        assert find_model(name, Config()).path == path
    sent = hub.sent
    assert pulled() == path
    assert hub.sent == sent == len(MODEL)


def test_the_hub_is_asked_for_nothing_else_and_told_little(hub: Hub) -> None:
    pulled()
    assert [path.split("/")[1:3] for path, _ in hub.asked] == [
        ["api", "models"],
        ["someone", "fable-GGUF"],
    ]
    for program in hub.programs:
        assert program.startswith("llterm")
        assert "torch" not in program
        assert "agent" not in program


def test_progress_ends_at_the_whole(hub: Hub) -> None:
    shares: list[tuple[int, int]] = []
    wanted = read_reference(REFERENCE)
    pull(
        choose_model(wanted, remote_models(REPOSITORY)),
        lambda done, total: shares.append((done, total)),
    )
    assert shares[-1] == (len(MODEL), len(MODEL))
    assert shares == sorted(shares)


def test_a_cut_connection_goes_on_where_it_was(hub: Hub) -> None:
    hub.cut = [1_000_000, 2_000_000]
    assert pulled().read_bytes() == MODEL
    assert hub.sent == len(MODEL)
    assert [wanted for path, wanted in hub.asked if "resolve" in path] == [
        "", "bytes=1000000-", "bytes=3000000-",
    ]  # fmt: skip


def test_a_connection_that_stays_cut_leaves_a_part_for_the_next_pull(hub: Hub) -> None:
    hub.cut = [1_000_000] + [0] * 20
    with pytest.raises(BackendUnavailable, match="could not be reached"):
        pulled()
    assert part().stat().st_size == 1_000_000
    listed = list_text(list_models(Config()), unfinished(), "fable")
    assert str(part()) in listed
    assert "stopped pull" in listed
    hub.cut = []
    assert pulled().read_bytes() == MODEL
    assert hub.sent == len(MODEL)
    assert len(list(folder_of(REPOSITORY).iterdir())) == 1


def test_a_hub_that_promises_more_than_it_has_is_given_up(hub: Hub) -> None:
    hub.claimed = {"fable-Q8_0.gguf": len(MODEL) + 1}
    with pytest.raises(BackendUnavailable, match="sends nothing more"):
        pulled()
    hub.claimed = {"fable-Q8_0.gguf": len(MODEL) - 1}
    with pytest.raises(ModelError, match="came damaged"):
        pulled()


def test_a_hub_that_cannot_go_on_sends_it_whole(hub: Hub) -> None:
    hub.cut, hub.ignores_ranges = [1_000_000], True
    assert pulled().read_bytes() == MODEL
    assert hub.sent == len(MODEL) + 1_000_000


def test_a_wrong_checksum_leaves_nothing(hub: Hub) -> None:
    hub.wrong_checksum = True
    with pytest.raises(ModelError, match="came damaged"):
        pulled()
    assert nothing_left()


def test_a_part_that_was_spoilt_is_found_out(hub: Hub) -> None:
    hub.cut = [1_000_000] + [0] * 20
    with pytest.raises(BackendUnavailable):
        pulled()
    with part().open("r+b") as file:
        file.write(b"spoilt")
    hub.cut = []
    with pytest.raises(ModelError, match="came damaged"):
        pulled()
    assert pulled().read_bytes() == MODEL


def test_all_parts_of_a_split_model_come(hub: Hub) -> None:
    names = [f"big-Q4_K_M-0000{n}-of-00002.gguf" for n in (1, 2)]
    hub.files[REPOSITORY] |= {f"Q4_K_M/{name}": MODEL for name in names}
    first = pulled(f"{REPOSITORY}:q4_k_m")
    assert first == folder_of(REPOSITORY) / "Q4_K_M" / names[0]
    assert [one.name for one in sorted(first.parent.iterdir())] == names
    assert find_model("big-Q4_K_M", Config()).path == first


def test_a_disk_that_is_too_small_is_seen_before(hub: Hub) -> None:
    names = [f"big-Q8_0-000{n:02}-of-00040.gguf" for n in range(1, 41)]
    hub.files[REPOSITORY] = dict.fromkeys(names, b"")
    hub.claimed = dict.fromkeys(names, 49 * 10**9)
    with pytest.raises(LltermError, match="no room"):
        pulled()
    hub.claimed[names[0]] = 51 * 10**9
    with pytest.raises(ModelError, match="too large"):
        pulled()
    assert hub.sent == 0


def test_a_disk_that_fills_up_leaves_a_part(hub: Hub, tmp_path: Path) -> None:
    limit = 2_000_000

    def small_disk() -> None:
        """The kernel refuses to write files beyond this."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ran = subprocess.run(
        [sys.executable, "-m", "llterm", "models", "pull", REFERENCE],
        capture_output=True,
        text=True,
        preexec_fn=small_disk,
        check=False,
    )
    assert ran.returncode == 1
    assert "The disk is full" in ran.stderr
    assert "Traceback" not in ran.stderr
    size = part().stat().st_size
    assert 0 < size <= limit
    sent = hub.sent
    assert pulled().read_bytes() == MODEL
    assert hub.sent == sent + len(MODEL) - size


def test_ctrl_c_leaves_a_part_and_says_so(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.holds = [1_000_000], True
    with subprocess.Popen(
        [sys.executable, "-c", _AS_A_SHELL_WOULD, "models", "pull", REFERENCE],
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        until = time.monotonic() + 60
        while not any(one.stat().st_size for one in folder_of(REPOSITORY).rglob("*.part")):
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        said = child.stderr.read()
    assert child.returncode == 130
    assert "The pull was stopped" in said
    assert "Traceback" not in said
    hub.cut, size = [], part().stat().st_size
    assert pulled().read_bytes() == MODEL
    assert hub.sent <= 1_000_000 + len(MODEL) - size


_AS_A_SHELL_WOULD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from llterm.cli import main
main()
"""


def test_a_redirect_to_another_host_goes_without_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)
    hub.redirects = True
    assert pulled().read_bytes() == MODEL
    tokens_by_path = dict(zip([path for path, _ in hub.asked], hub.tokens, strict=True))
    assert tokens_by_path["/elsewhere"] is None
    assert set(tokens_by_path.values()) == {None, f"Bearer {KEY}"}


def test_two_pulls_of_one_file_are_not_at_once(hub: Hub) -> None:
    from llterm.backends.pull import PartFile

    wanted = read_reference(REFERENCE)
    model = choose_model(wanted, remote_models(REPOSITORY))
    target = folder_of(REPOSITORY) / model.files[0].name
    target.parent.mkdir(parents=True)
    with closing(PartFile(target, model.files[0], lambda size: None)) as first:
        first.write(MODEL[:10])
        with pytest.raises(UsageError, match="pulled already"):
            pulled()
    assert pulled().read_bytes() == MODEL


@pytest.mark.parametrize(
    ("fault", "kind", "title"),
    [
        ({"gated": True}, ModelError, "not open to everybody"),
        ({"status": 500}, BackendUnavailable, "refused"),
        ({"status": 429}, BackendUnavailable, "refused"),
        ({"nonsense": True}, LltermError, "could not be read"),
    ],
)
def test_what_the_hub_refuses_has_a_title_and_a_hint(
    hub: Hub, fault: dict[str, object], kind: type[LltermError], title: str
) -> None:
    for name, value in fault.items():
        setattr(hub, name, value)
    with pytest.raises(kind, match=title) as raised:
        pulled()
    assert raised.value.hint
    assert nothing_left()


def test_unknown_names(hub: Hub) -> None:
    with pytest.raises(ModelError, match="There is no someone/else on the hub"):
        pulled("someone/else:Q4_0")
    with pytest.raises(ModelError, match=f"{REPOSITORY} has no Q4_0"):
        pulled(f"{REPOSITORY}:Q4_0")
    with pytest.raises(UsageError, match="is no model on the hub"):
        pulled("fable")
    hub.files["someone/plain"] = {"model.safetensors": b"x"}
    with pytest.raises(ModelError, match="has no GGUF files"):
        pulled("someone/plain")


def test_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(BackendUnavailable, match="could not be reached"):
            pulled()
        with pytest.raises(BackendUnavailable, match="could not be reached"):
            search_hub("fable")


def test_a_repository_is_chosen_from_by_quantisation_name_or_address(hub: Hub) -> None:
    names = [
        "m-Q2_K.gguf",
        "m-Q4_K_M.gguf",
        "m-UD-Q4_K_XL.gguf",
        "mmproj-F16.gguf",
        "../x-F16.gguf",
    ]
    hub.files[REPOSITORY] = dict.fromkeys(names, MODEL)
    models = remote_models(REPOSITORY)
    assert [one.quantisation for one in models] == ["Q2_K", "Q4_K_M", "UD-Q4_K_XL"]
    for text, name in {
        REPOSITORY: "m-Q4_K_M",
        f"{REPOSITORY}:q2_k": "m-Q2_K",
        f"hf.co/{REPOSITORY}:Q4_K_XL": "m-UD-Q4_K_XL",
        f"{REPOSITORY}:m-Q2_K.gguf": "m-Q2_K",
        f"https://huggingface.co/{REPOSITORY}/blob/main/m-Q2_K.gguf": "m-Q2_K",
        f"https://huggingface.co/{REPOSITORY}/resolve/main/m-Q2_K.gguf?download=true": "m-Q2_K",
    }.items():
        assert choose_model(read_reference(text), models).name == name, text
    assert search_hub("m") == [(REPOSITORY, 7)]


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    ran = run(tmp_path, "models", "pull", REFERENCE, HF_TOKEN=KEY)
    assert ran.code == 4
    assert f"Bearer {KEY}" in hub.tokens
    hub.gated = False
    again = run(tmp_path, "models", "pull", REFERENCE, HF_TOKEN=KEY)
    assert again.code == 0
    listed = run(tmp_path, "models", "list", "--hub", REPOSITORY, HF_TOKEN=KEY)
    assert "here already" in listed.out
    for text in (ran.out, ran.err, again.out, again.err, listed.out, listed.err):
        assert KEY not in text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(KEY.encode() in path.read_bytes() for path in written)


def test_the_token_never_goes_over_an_open_line(hub: Hub, tmp_path: Path) -> None:
    there = "http://hub.example"
    ran = run(tmp_path, "models", "pull", REFERENCE, HF_TOKEN=KEY, HF_ENDPOINT=there)
    assert ran.code == 2
    assert "not encrypted" in ran.err
    assert KEY not in ran.err
