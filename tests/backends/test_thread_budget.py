"""Decodes of several models wait for each other's threads."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.thread_budget import CoreTurns
from llterm.usable_cores import usable_cores


def test_models_wait_for_cores_and_share_them_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_budget, "_turns", CoreTurns(3))
    order: list[str] = []

    def decode(name: str, threads: int) -> None:
        with thread_budget.reserved(threads):
            order.append(name)

    with thread_budget.reserved(2):
        small = threading.Thread(target=decode, args=("beside", 1))
        small.start()
        small.join()
        large = threading.Thread(target=decode, args=("after", 2))
        large.start()
        order.append("first")
    large.join()
    assert order == ["beside", "first", "after"]
    # One that wants more than there is runs alone rather than never.
    decode("alone", 99)
    assert order[-1] == "alone"


@given(st.data(), st.integers(1, 4))
def test_cores_are_had_in_order_of_asking_and_never_more_than_there_are(
    data: st.DataObject, room: int
) -> None:
    turns = CoreTurns(room)
    asked: list[int] = []
    begun: list[int] = []
    running: dict[int, int] = {}
    for place in range(data.draw(st.integers(1, 30))):
        turns.ask(place, data.draw(st.integers(1, 6)))
        asked.append(place)
        for other in data.draw(st.permutations(sorted(set(asked) - set(begun)))):
            if turns.begin(other):
                begun.append(other)
                running[other] = turns.used - sum(running.values())
        assert turns.used <= room or len(running) == 1
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(running) or asked))
            turns.leave(gone)
            running.pop(gone, None)
            if gone not in begun:
                asked.remove(gone)
        assert begun == asked[: len(begun)]
    while left := [place for place in asked if place not in begun]:
        for place in [*running]:
            turns.leave(place)
        running.clear()
        assert turns.begin(left[0])
        begun.append(left[0])
        running[left[0]] = 0


def test_cores_are_those_that_the_process_and_its_group_may_use(tmp_path: Path) -> None:
    groups, hierarchy = tmp_path / "cgroup", tmp_path / "fs"
    all_cores = usable_cores(groups, hierarchy)
    assert all_cores == len(os.sched_getaffinity(0))

    def limited(names: str, **files: str) -> int:
        groups.write_text(names)
        for name, text in files.items():
            path = hierarchy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        cores = usable_cores(groups, hierarchy)
        shutil.rmtree(hierarchy)
        return cores

    assert limited("0::/a/b", **{"a/b/cpu.max": "max 100000"}) == all_cores
    assert limited("0::/a/b", **{"a/b/cpu.max": "100000 100000"}) == 1
    # The group above has a limit too, and a container sees its own group as the top one.
    assert limited("0::/a/b", **{"a/cpu.max": "150000 100000"}) == 1
    assert limited("0::/docker/77", **{"cpu.max": "50000 100000"}) == 1
    old = {"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "100000"}
    assert limited("4:cpu,cpuacct:/x\n3:cpuset:/y", **old) == 1
    assert limited("4:cpu,cpuacct:/x", **{**old, "cpu/x/cpu.cfs_quota_us": "-1"}) == all_cores
    assert limited("0::/a", **{"a/cpu.max": "what"}) == all_cores
