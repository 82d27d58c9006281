"""Decodes of several models wait for each other's threads."""

from __future__ import annotations

import threading

import pytest

from llterm.backends.llamacpp import thread_budget


def test_models_wait_for_cores_and_share_them_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_budget, "_room", 3)
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
