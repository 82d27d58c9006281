"""Gradients without their extra; with it: tests/gradients."""

from __future__ import annotations

import sys

import pytest

from llterm.backends import gradients_process
from llterm.backends.gradients_process import GradientProcess
from llterm.core.attribution import Question
from llterm.core.attribution_methods import AttributionSettings
from llterm.errors import CapabilityMissing
from tests.helpers.bundled_model import BUNDLED


async def test_the_hint_is_a_command_that_installs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients_process, "PACKAGES", ("numpy", "surely_not_installed"))
    with pytest.raises(CapabilityMissing) as raised:
        await GradientProcess(BUNDLED).ask(
            Question((0, 1), 1, 2), AttributionSettings("saliency"), lambda _: None
        )
    assert raised.value.exit_code == 5
    assert "missing: surely_not_installed" in raised.value.cause
    assert raised.value.hint.startswith(sys.executable) or sys.executable in raised.value.hint
    assert raised.value.hint.endswith("install numpy surely_not_installed")
