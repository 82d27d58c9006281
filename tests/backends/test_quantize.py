"""Every quantisation of the bundled model loads and weaves; a stop or crash leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.llamacpp.quantize import BITS, file_type, quantize
from llterm.backends.registry import MODELS
from llterm.config import Config
from llterm.errors import ModelError, UsageError
from llterm.jobs.request import Request
from llterm.jobs.suggest import suggest

F16 = MODELS / "fable-f16.gguf"
TRIED = ("q8_0", "q6_K", "q5_K_M", "q5_0", "q4_K_M", "q4_0", "q3_K_M", "q2_K")


@pytest.mark.parametrize("kind", TRIED)
def test_each_is_smaller_and_weaves(tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"fable-{kind}.gguf"
    shares: list[float] = []
    quantize(F16, target, kind, progress=shares.append)
    info = inspect_gguf(target)
    assert info.quantisation == kind
    assert info.size * 8 / info.parameters == pytest.approx(BITS[kind], rel=0.2)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(tmp_path.iterdir()) == [target]
    prompt = b"The little fox lived at the edge of"
    woven = asyncio.run(
        suggest(Request(Config(), (str(target),), prompt, rules={"depth": 2, "beams": 3}))
    )
    assert len(woven.view.suggestions) == 3


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "mine.gguf"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        quantize(F16, target, "q4_0")
    assert target.read_bytes() == b"mine"


def test_a_quantised_model_is_quantised_again_only_when_that_is_meant(tmp_path: Path) -> None:
    source, target = MODELS / "fable-q8_0.gguf", tmp_path / "again.gguf"
    with pytest.raises(UsageError, match="quantised already"):
        quantize(source, target, "q4_0")
    quantize(source, target, "q4_0", again=True)
    assert inspect_gguf(target).quantisation == "q4_0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_only_an_error(tmp_path: Path, number: signal.Signals) -> None:
    killed: list[int] = []

    def crash(share: float) -> None:
        if not killed:  # What it wrote before comes in later.
            killed.append(child())
            os.kill(killed[0], number)

    with pytest.raises(ModelError, match="could not be quantised") as raised:
        quantize(F16, tmp_path / "x.gguf", "q2_K", progress=crash)
    assert f"signal {number}" in raised.value.cause
    assert not list(tmp_path.iterdir())


def test_a_stop_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(share: float) -> None:
        seen.append(child())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(F16, tmp_path / "x.gguf", "q2_K", progress=stop)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_a_file_cut_off_is_told(tmp_path: Path) -> None:
    source = tmp_path / "cut.gguf"
    source.write_bytes(F16.read_bytes()[:-1000])
    with pytest.raises(ModelError):
        quantize(source, tmp_path / "x.gguf", "q4_0")
    assert list(tmp_path.iterdir()) == [source]


def test_names_of_quantisations() -> None:
    assert file_type("Q4_K_m") == "q4_K_M"
    with pytest.raises(UsageError, match="There is no quantisation q4_KM") as raised:
        file_type("q4_KM")
    assert "q4_K_M" in raised.value.hint


def child() -> int:
    """The process that quantises."""
    task = Path(f"/proc/{os.getpid()}/task")
    children = [one for tid in task.iterdir() for one in (tid / "children").read_text().split()]
    quantizers = [
        int(one)
        for one in children
        if b"llamacpp.quantize" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]
    (only,) = quantizers
    return only
