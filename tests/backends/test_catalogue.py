"""Models by short names, and by bits a weight, from a stand-in for the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm import paths
from llterm.backends.catalogue import find_entry, get_entry, read_catalogue
from llterm.backends.hub import RemoteFile, RemoteModel, remote_models
from llterm.backends.hub_reference import (
    HubReference,
    bits_per_weight,
    choose_model,
    find_remote,
    read_reference,
)
from llterm.backends.registry import MODELS, find_model
from llterm.config import Config
from llterm.errors import ConfigError, ModelError, UsageError
from tests.helpers.fake_hub import Hub
from tests.helpers.program import run

MODEL = (MODELS / "fable-q8_0.gguf").read_bytes()
QWEN = "bartowski/Qwen2.5-32B-Instruct-GGUF"


pytestmark = pytest.mark.usefixtures("hub")


def own_list(text: str) -> None:
    """Write the person's own list of models."""
    paths.catalogue_file().parent.mkdir(parents=True, exist_ok=True)
    paths.catalogue_file().write_text(text)


def remote(name: str, size: int, parameters: int = 0) -> RemoteModel:
    return RemoteModel("a/b", "c", name, (RemoteFile(f"{name}.gguf", size, "", ""),), parameters)


def test_the_list_that_comes_along_is_sound() -> None:
    entries = read_catalogue().values()
    assert len(entries) > 40
    for entry in entries:
        assert "gguf" in entry.repository.lower()
        assert entry.billions
        assert entry.context
        assert entry.licence
        assert find_entry(entry.name.upper().replace("-", "_")) == entry
    assert len({entry.repository for entry in entries}) == len(entries)
    assert {entry.kind for entry in entries} == {"chat", "base", "embedding"}


@pytest.mark.parametrize(
    "name",
    ["qwen-2.5-32b", "qwen-2.5-32B", "Qwen2.5 32B", "QWEN_2.5_32b", "Qwen2.5-32B-Instruct"],
)
def test_a_short_name_means_its_repository_however_it_is_written(name: str) -> None:
    assert read_reference(f"{name}:Q4_K_M") == HubReference(QWEN, "Q4_K_M")
    assert read_reference(name) == HubReference(QWEN, "")


def test_an_unknown_name_has_the_nearest_as_hint() -> None:
    with pytest.raises(UsageError, match=r"quen-2\.5-32b is no model on the hub") as raised:
        read_reference("quen-2.5-32b:Q4_K_M")
    assert "Did you mean qwen-2.5-32b?" in raised.value.hint
    assert "--available" in raised.value.hint
    with pytest.raises(UsageError) as raised:
        get_entry("zzzzzz")
    assert "Did you mean" not in raised.value.hint


def test_the_persons_own_list_adds_and_counts_more(hub: Hub) -> None:
    own_list(
        '[mine]\nrepository = "someone/mine-GGUF"\nbillions = 7\n'
        '["qwen-2.5-32b"]\nrepository = "someone/else-GGUF"\n'
    )
    assert read_reference("mine:q8_0") == HubReference("someone/mine-GGUF", "q8_0")
    assert read_reference("Qwen2.5-32B").repository == "someone/else-GGUF"
    assert find_entry("qwen-2.5-7b") is not None


def test_a_strangers_folder_leads_no_name_elsewhere(hub: Hub, tmp_path: Path) -> None:
    evil = '["qwen-2.5-32b"]\nrepository = "evil/evil-GGUF"\n'
    (tmp_path / "models.toml").write_text(evil)  # The working directory of a run.
    ran = run(tmp_path, "models", "list", "--available", "--format", "json")
    assert ran.code == 0
    assert "evil" not in ran.out
    assert QWEN in ran.out


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("mine = 3\n", "it is no table"),
        ("[mine]\nbillions = 3\n", "repository is missing"),
        ('[mine]\nrepository = "no-owner"\n', "repository is missing"),
        ('[mine]\nrepository = "a/b"\ncolour = "red"\n', "colour is not known"),
        ('[mine]\nrepository = "a/b"\nkind = "video"\n', "kind is one of"),
        ('[mine]\nrepository = "a/b"\ncontext = -1\n', "context is not what"),
        ('[mine]\nrepository = "a/b"\nbillions = nan\n', "billions is not what"),
        ('["..."]\nrepository = "a/b"\n', "no letters"),
        ("[mine\n", "line 1"),
    ],
)
def test_a_mistake_in_the_persons_list_is_told_with_its_place(
    hub: Hub, text: str, cause: str
) -> None:
    own_list(text)
    with pytest.raises(ConfigError) as raised:
        read_reference("mine")
    assert cause in raised.value.cause
    assert "line" in raised.value.cause
    assert raised.value.hint


def test_a_short_name_is_pulled_and_opens_then(hub: Hub, tmp_path: Path) -> None:
    hub.files[QWEN] = {f"Qwen2.5-32B-Instruct-{kind}.gguf": MODEL for kind in ("Q4_K_M", "Q8_0")}
    with pytest.raises(ModelError, match="not on this machine") as raised:
        find_model("qwen-2.5-32B:Q4_K_M", Config())
    assert "llterm models pull qwen-2.5-32B:Q4_K_M" in raised.value.hint
    ran = run(tmp_path, "models", "pull", "qwen-2.5-32B:Q4_K_M")
    assert ran.code == 0, ran.err
    path = tmp_path / "data/models" / QWEN / "Qwen2.5-32B-Instruct-Q4_K_M.gguf"
    assert ran.out == f"{path}\n"
    assert path.read_bytes() == MODEL
    for name in ("qwen-2.5-32b", "Qwen 2.5 32B:q4_k_m"):
        assert find_model(name, Config()).path == path
    with pytest.raises(ModelError, match="not on this machine"):
        find_model("qwen-2.5-32b:Q8_0", Config())
    again = run(tmp_path, "models", "pull", "qwen-2.5-32b:q4_k_m")
    assert "on this machine already" in again.err
    assert hub.sent == len(MODEL)
    listed = run(tmp_path, "models", "list", "--available").out.splitlines()
    (row,) = [line for line in listed if line.startswith("qwen-2.5-32b ")]
    assert row.split()[1:3] == ["chat", "32.8B"]
    assert f"here already: {QWEN}" in row
    printed = json.loads(run(tmp_path, "models", "list", "--available", "--format", "json").out)
    rows = {row["name"]: row for row in printed["available"]}
    assert printed["version"] == 1
    assert rows["qwen-2.5-32b"] == {
        "name": "qwen-2.5-32b", "repository": QWEN, "kind": "chat", "parameters": 32_800_000_000,
        "context": 32768, "licence": "Apache-2.0", "here": True,
    }  # fmt: skip
    assert not rows["qwen-2.5-7b"]["here"]


def test_available_goes_with_nothing_else(tmp_path: Path) -> None:
    for other in (("--hub", "words"), ("http://127.0.0.1:9",)):
        ran = run(tmp_path, "models", "list", "--available", *other)
        assert ran.code == 2
        assert "--available" in ran.err


def test_a_number_means_the_nearest_bits_a_weight(hub: Hub) -> None:
    sizes = {"Q2_K": 3.2, "IQ4_XS": 4.3, "Q4_K_M": 4.9, "Q8_0": 8.5, "F16": 16.0}
    hub.files[QWEN] = {f"m-{kind}.gguf": b"x" for kind in sizes}
    hub.claimed = {f"m-{kind}.gguf": int(bits * 1e9 / 8) for kind, bits in sizes.items()}
    for told in (True, False):  # By the hub's count of parameters, and by the names of the types.
        hub.parameters = {QWEN: 10**9} if told else {}
        for wanted, kind in {
            "4.0": "IQ4_XS", "4": "IQ4_XS", "4.7": "Q4_K_M", "1": "Q2_K", "12": "Q8_0", "32": "F16",
        }.items():  # fmt: skip
            assert find_remote(read_reference(f"{QWEN}:{wanted}")).quantisation == kind, wanted
    assert find_remote(read_reference("qwen-2.5-32b:5.0")).quantisation == "Q4_K_M"
    for senseless in ("0", "0.5", "40"):
        with pytest.raises(UsageError, match="bits a weight"):
            find_remote(read_reference(f"{QWEN}:{senseless}"))
    hub.files[QWEN] = {"strange.gguf": b"x", "other.gguf": b"x"}
    with pytest.raises(ModelError, match="not known") as raised:
        find_remote(read_reference(f"{QWEN}:4.0"))
    assert "strange.gguf" in raised.value.hint


def test_bits_are_measured_before_they_are_looked_up() -> None:
    assert bits_per_weight(remote("m-Q4_K_M", 600, 1000)) == 4.8
    assert bits_per_weight(remote("m-Q4_K_M", 600)) == 4.9
    assert bits_per_weight(remote("m-UD-IQ2_XXS", 600)) == 2.1
    assert bits_per_weight(remote("m-Q4_K_M", 10**9, 1000)) == 4.9  # Counted for another file.
    assert bits_per_weight(remote("m", 600)) is None
    equal = [remote("m-Q4_1", 630, 1000), remote("m-Q4_0", 570, 1000)]
    assert choose_model(HubReference("a/b", "4.8"), equal).name == "m-Q4_0"


def test_a_repository_without_gguf_names_some_with_it(hub: Hub) -> None:
    plain, quantised, named = "Qwen/Qwen9-9B", "someone/Q9-quantised", "other/Qwen9-9B-GGUF"
    hub.files = {
        plain: {"model.safetensors": b"x"},
        quantised: {"q-Q4_K_M.gguf": b"x"},
        named: {"qwen9-9b-Q4_K_M.gguf": b"x"},
    }
    hub.bases = {quantised: plain}
    with pytest.raises(ModelError, match=f"{plain} has no GGUF files") as raised:
        find_remote(read_reference(f"{plain}:Q4_K_M"))
    assert quantised in raised.value.cause
    assert named not in raised.value.cause
    assert raised.value.hint == f"For example: llterm models pull {quantised}:Q4_K_M"
    hub.bases = {}
    with pytest.raises(ModelError) as raised:
        find_remote(read_reference(plain))
    assert named in raised.value.cause
    assert quantised not in raised.value.cause
    del hub.files[named]
    with pytest.raises(ModelError) as raised:
        find_remote(read_reference(plain))
    assert "models list --hub" in raised.value.hint
    assert remote_models(quantised)[0].parameters == 0
